"""`naru feedback`: what users think of answers."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="What users think of answers.", no_args_is_help=True)


@app.callback()
def feedback() -> None:
    """What users think of answers."""


@app.command()
def export(
    agent: Annotated[str | None, typer.Option(help="Of this one alone.")] = None,
    form: Annotated[
        str,
        typer.Option(
            help="full; eval, a set for `naru eval`; or chat, OpenAI's format for fine-tuning."
        ),
    ] = "full",
) -> None:
    """Print the tenant's feedback as JSON, one a line (scope `admin`)."""
    from gateway.commands.feedback import export as run
    from gateway.credentials import credentials_here

    asyncio.run(run(credentials_here(), agent, form, typer.echo))
