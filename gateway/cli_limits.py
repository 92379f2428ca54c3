"""`naru limits`: what callers of the running service may take."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(
    help="What callers may take; needs a client with the scope admin.", no_args_is_help=True
)

_Most = int | None
Kind = Annotated[str, typer.Argument(metavar="PER", help="tenant, client, key, end_user or model.")]
Subject = Annotated[str, typer.Argument(metavar="[SUBJECT]", help="Which one; default each.")]
Tenant = Annotated[str | None, typer.Option(help="For operators; default the caller's.")]


@app.command("set")
def set_limit(
    per: Kind,
    subject: Subject = "",
    *,
    requests_per_minute: Annotated[_Most, typer.Option()] = None,
    tokens_per_minute: Annotated[_Most, typer.Option()] = None,
    tokens_per_day: Annotated[_Most, typer.Option()] = None,
    concurrent_requests: Annotated[_Most, typer.Option()] = None,
    concurrent_streams: Annotated[_Most, typer.Option()] = None,
    tenant: Tenant = None,
) -> None:
    """Make a rule and print its id; what is left out is not limited."""
    from gateway.commands.limits import make_limit
    from gateway.credentials import credentials_here

    rule = {
        "per": per,
        "subject": subject,
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "concurrent_requests": concurrent_requests,
        "concurrent_streams": concurrent_streams,
        "tenant": tenant,
    }
    typer.echo(asyncio.run(make_limit(credentials_here(), rule)))


@app.command("list")
def list_all(tenant: Tenant = None) -> None:
    """List the rules, the oldest first; an operator's are every tenant's."""
    from gateway.commands.limits import list_limits
    from gateway.credentials import credentials_here

    for line in asyncio.run(list_limits(credentials_here(), tenant)):
        typer.echo(line)


@app.command()
def remove(limit: Annotated[str, typer.Argument(help="Its id, from `list`.")]) -> None:
    """Remove a rule; what is more general applies again."""
    from gateway.commands.limits import remove_limit
    from gateway.credentials import credentials_here

    asyncio.run(remove_limit(credentials_here(), limit))
