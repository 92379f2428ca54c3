"""`naru usage`: what was used, read from the service's database itself."""

from typing import Annotated

import typer

app = typer.Typer(help="What was used, by whom, and what it cost.", no_args_is_help=True)

Tenant = Annotated[str | None, typer.Option(help="Its id; default all.")]
Since = Annotated[str | None, typer.Option("--from", help="A day or a moment; default 30 days.")]
Until = Annotated[str | None, typer.Option("--to", help="A day or a moment, not included.")]
Zone = Annotated[str, typer.Option(help="Whose days: Asia/Seoul, UTC …")]
Only = Annotated[str | None, typer.Option(help="Of this one alone.")]


@app.command()
def show(
    by: Annotated[
        str,
        typer.Option(
            help="day, client, kind, model, agent, agent_version, target, end_user, ending."
        ),
    ] = "day",
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    tenant: Tenant = None,
    *,
    client: Only = None,
    model: Only = None,
    target: Only = None,
    end_user: Only = None,
    ending: Only = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, not CSV.")] = False,
) -> None:
    """Print requests, tokens and cost by groups, such as `--by day,model`."""
    from gateway.commands.usage import Which, grouped, with_usage

    which = Which(since, until, timezone, client, model, target, end_user, ending)
    with_usage(grouped, tenant, which, by, as_json, typer.echo)


@app.command()
def export(
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    tenant: Tenant = None,
    *,
    client: Only = None,
    model: Only = None,
    target: Only = None,
    end_user: Only = None,
    ending: Only = None,
) -> None:
    """Print the records as JSON, one a line, the oldest first."""
    from gateway.commands.usage import Which, exported, with_usage

    which = Which(since, until, timezone, client, model, target, end_user, ending)
    with_usage(exported, tenant, which, typer.echo)


@app.command("break-even")
def break_even(
    gpu_hour: Annotated[
        float | None, typer.Option(help="US dollars; default `ledger.gpu_hour_usd`.")
    ] = None,
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    tenant: Tenant = None,
    *,
    client: Only = None,
    model: Only = None,
    target: Only = None,
    end_user: Only = None,
    ending: Only = None,
    everything: Annotated[
        bool, typer.Option("--all", help="What hosted models answered too.")
    ] = False,
) -> None:
    """Print what the engines' tokens would have cost at hosted models."""
    from gateway.commands.usage import Which, compared, with_usage

    which = Which(since, until, timezone, client, model, target, end_user, ending)
    with_usage(compared, tenant, which, gpu_hour, not everything, typer.echo)
