"""`naru tenant`, `naru key` and `naru keys`, in the service's database itself."""

import datetime as dt
from typing import Annotated

import typer

tenant_app = typer.Typer(help="Tenants.", no_args_is_help=True)
key_app = typer.Typer(help="API keys.", no_args_is_help=True)
keys_app = typer.Typer(help="The keys that sign tokens.", no_args_is_help=True)

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="Its id.")]


@tenant_app.command("create")
def create_tenant(
    tenant: Tenant,
    name: Annotated[str | None, typer.Option(help="For people; default its id.")] = None,
) -> None:
    """Make a tenant."""
    from gateway.commands.identity import administer, tenants

    administer(tenants.create_tenant, tenant, tenant if name is None else name)


@tenant_app.command("list")
def list_tenants() -> None:
    """List the tenants, the oldest first."""
    from gateway.commands.identity import administer, tenants

    for tenant in administer(tenants.list_tenants):
        typer.echo(f"{tenant.id}  {tenant.name}{_state(tenant.disabled_at)}")


@tenant_app.command("disable")
def disable_tenant(tenant: Tenant) -> None:
    """Refuse all clients and keys of a tenant, and end their tokens; nothing is deleted."""
    from gateway.commands.identity import administer, tenants

    administer(tenants.update_tenant, tenant, disabled=True)


@tenant_app.command("enable")
def enable_tenant(tenant: Tenant) -> None:
    """Let a tenant's clients and keys in again."""
    from gateway.commands.identity import administer, tenants

    administer(tenants.update_tenant, tenant, disabled=False)


@key_app.command("create")
def create_key(
    client: Annotated[str | None, typer.Option(help="Client id; default the demo's.")] = None,
    name: Annotated[str, typer.Option(help="For people.")] = "",
    scope: Annotated[list[str] | None, typer.Option("--scope", help="Repeat for several.")] = None,
) -> None:
    """Make an API key of a client and print it; it is never shown again."""
    from gateway.commands.identity import administer, api_keys, demo_client

    client_id = client or demo_client()
    made = administer(api_keys.create_key, client_id, name=name, scopes=scope or None)
    typer.echo(made.key)


@key_app.command("list")
def list_keys(
    client: Annotated[str | None, typer.Option(help="Whose keys; default all.")] = None,
) -> None:
    """List API keys by their ids, the oldest first."""
    from gateway.commands.identity import administer, api_keys

    for key in administer(api_keys.list_keys, client_id=client):
        scopes = "all scopes" if key.scopes is None else " ".join(key.scopes)
        state = _state(key.disabled_at)
        typer.echo(f"{key.id}  {key.client}  {key.name or '-'}  {scopes}{state}")


@key_app.command("disable")
def disable_key(key: Annotated[str, typer.Argument(help="Its id, from `list`.")]) -> None:
    """End an API key for good."""
    from gateway.commands.identity import administer, api_keys

    administer(api_keys.disable_key, key)


@keys_app.command("list")
def list_signing_keys() -> None:
    """List the keys that sign tokens, will, or did."""
    from gateway.commands.identity import administer, signing_keys

    for key in administer(signing_keys.list_signing_keys):
        typer.echo(f"{key.kid}  {key.algorithm}  {key.state}  from {key.signs_from:%F %R} UTC")


@keys_app.command("rotate")
def rotate_signing_key(
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Sign with it before verifiers elsewhere know it.")
    ] = False,
) -> None:
    """Make the next signing key and print its id."""
    from gateway.commands.identity import administer, signing_keys

    typer.echo(administer(signing_keys.rotate_signing_key, now=now).kid)


@keys_app.command("remove")
def remove_signing_key(
    kid: Annotated[str, typer.Argument(help="Its id, from `list`.")],
) -> None:
    """Remove a signing key that leaked: its tokens die at once, and another key signs."""
    from gateway.commands.identity import administer, signing_keys

    administer(signing_keys.remove_signing_key, kid)


def _state(disabled_at: dt.datetime | None) -> str:
    return "  disabled" if disabled_at else ""
