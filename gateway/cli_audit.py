"""`naru audit`: who did what, read from the service's database itself."""

from typing import Annotated

import typer

app = typer.Typer(help="Who did what; and whether the record of it was changed.")

Tenant = Annotated[str | None, typer.Option(help="Its chain; `@system` is nobody's. Default all.")]


@app.command()
def export(
    tenant: Tenant = None,
    since: Annotated[int | None, typer.Option(help="Seconds since 1970.")] = None,
    until: Annotated[int | None, typer.Option(help="Seconds since 1970.")] = None,
) -> None:
    """Print the records as JSON, one a line, each chain from its newest record on."""
    from gateway.commands.audit import exported, with_audit

    with_audit(exported, tenant, since, until, typer.echo)


@app.command()
def verify(
    tenant: Tenant = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option(help="TENANT:SEQ:HASH as an earlier run printed it; repeat for several."),
    ] = None,
) -> None:
    """Check every chain; status 1 where a record was changed, moved, added or left out.

    That the newest records of a chain were cut off shows only against an anchor: keep what this
    prints somewhere else.
    """
    from gateway.commands.audit import verified, with_audit

    raise typer.Exit(0 if with_audit(verified, tenant, anchor or (), typer.echo) else 1)


@app.command()
def prune(
    days: Annotated[float, typer.Option(help="Delete what is older.")],
    tenant: Tenant = None,
) -> None:
    """Delete old records; each chain says from then on what is gone."""
    from gateway.commands.audit import pruned, with_audit

    with_audit(pruned, tenant, days, typer.echo)
