"""`naru client`: OAuth clients and their secrets, in the service's database itself."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="OAuth clients and their secrets.", no_args_is_help=True)

_Names = list[str] | None
Client = Annotated[str, typer.Argument(metavar="CLIENT")]
Name = Annotated[str | None, typer.Option(help="For people.")]
Role = Annotated[str | None, typer.Option(help="viewer, editor, admin or operator.")]
Scopes = Annotated[_Names, typer.Option("--scope", help="Repeat for several.")]
DefaultScopes = Annotated[
    _Names, typer.Option("--default-scope", help="What requests that name none get; repeat.")
]
Methods = Annotated[
    _Names,
    typer.Option(
        "--auth-method", help="client_secret_basic, client_secret_post, private_key_jwt; repeat."
    ),
]
Jwks = Annotated[Path | None, typer.Option(help="File with its public keys, a JWK Set.")]
Algorithms = Annotated[
    _Names, typer.Option("--assertion-algorithm", help="What its keys may sign with; repeat.")
]
Dpop = Annotated[bool | None, typer.Option(help="Tokens only with DPoP proofs.")]
Agents = Annotated[_Names, typer.Option("--agent", help="Allow this one; repeat. Default all.")]
Models = Annotated[_Names, typer.Option("--model", help="Allow this one; repeat. Default all.")]
Stores = Annotated[_Names, typer.Option("--store", help="Allow this one; repeat. Default all.")]
EndUser = Annotated[
    str | None, typer.Option(help="Whether it names end users: forbidden, optional, required.")
]
Where = Annotated[str | None, typer.Option(help="Where its prompts may go: any or local.")]


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option(help="For people.")],
    tenant: Annotated[str, typer.Option(help="Made when it does not exist.")] = "demo",
    client_id: Annotated[str | None, typer.Option("--id", help="Default a random one.")] = None,
    role: Role = None,
    scope: Scopes = None,
    default_scope: DefaultScopes = None,
    auth_method: Methods = None,
    jwks: Jwks = None,
    assertion_algorithm: Algorithms = None,
    dpop: Dpop = None,
    agent: Agents = None,
    model: Models = None,
    store: Stores = None,
    end_user: EndUser = None,
    residency: Where = None,
) -> None:
    """Make a client and print its id and secret, which is never shown again."""
    from gateway.commands.identity import administer, create_client

    options = _options(
        client_id=client_id,
        role=role,
        scopes=scope,
        default_scopes=default_scope,
        auth_methods=auth_method,
        jwks=jwks,
        assertion_algorithms=assertion_algorithm,
        dpop=dpop,
        allowed_agents=agent,
        allowed_models=model,
        allowed_vector_stores=store,
        end_user=end_user,
        residency=residency,
    )
    made = administer(create_client, tenant, name=name, **options)
    typer.echo(f"NARU_CLIENT_ID={made.client.id}")
    if made.secret:
        typer.echo(f"NARU_CLIENT_SECRET={made.secret}")


@app.command("update")
def update(
    client: Client,
    *,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    role: Role = None,
    scope: Scopes = None,
    default_scope: DefaultScopes = None,
    auth_method: Methods = None,
    jwks: Jwks = None,
    assertion_algorithm: Algorithms = None,
    dpop: Dpop = None,
    agent: Agents = None,
    model: Models = None,
    store: Stores = None,
    all_agents: Annotated[bool, typer.Option("--all-agents", help="Lift the limit.")] = False,
    all_models: Annotated[bool, typer.Option("--all-models", help="Lift the limit.")] = False,
    all_stores: Annotated[bool, typer.Option("--all-stores", help="Lift the limit.")] = False,
    end_user: EndUser = None,
    residency: Where = None,
) -> None:
    """Change a client: what is not named stays. Whatever takes a right away ends its tokens."""
    changes = _options(
        name=name,
        role=role,
        scopes=scope,
        default_scopes=default_scope,
        auth_methods=auth_method,
        jwks=jwks,
        assertion_algorithms=assertion_algorithm,
        dpop=dpop,
        allowed_agents=agent,
        allowed_models=model,
        allowed_vector_stores=store,
        end_user=end_user,
        residency=residency,
    )
    lifted = {"agents": all_agents, "models": all_models, "vector_stores": all_stores}
    _change(client, changes | {f"allowed_{name}": None for name, all_ in lifted.items() if all_})


@app.command("disable")
def disable(client: Client) -> None:
    """Refuse a client and its keys, and end its tokens; nothing is deleted."""
    _change(client, {"disabled": True})


@app.command("enable")
def enable(client: Client) -> None:
    """Let a client and its keys in again."""
    _change(client, {"disabled": False})


@app.command("list")
def list_all(
    tenant: Annotated[str | None, typer.Option(help="Whose clients; default all.")] = None,
) -> None:
    """List the clients, the oldest first."""
    from gateway.commands.identity import administer, clients

    for client in administer(clients.list_clients, tenant=tenant):
        state = "  disabled" if client.disabled_at else ""
        scopes = " ".join(sorted(client.scopes))
        typer.echo(f"{client.id}  {client.tenant}  {client.name}  {client.role}  {scopes}{state}")


@app.command("show")
def show(client: Client) -> None:
    """Print what a client is, and its valid secrets by their ids."""
    from gateway.commands.identity import administer, client_secrets, clients

    found = administer(clients.get_client, client)
    for field in fields(found):
        typer.echo(f"{field.name}: {_shown(getattr(found, field.name))}")
    for secret in administer(client_secrets.list_secrets, client):
        end = f", until {secret.expires_at:%F %R} UTC" if secret.expires_at else ""
        typer.echo(f"{secret.id}: made {secret.created_at:%F %R} UTC{end}")


@app.command("rotate-secret")
def rotate_secret(
    client: Client,
    overlap: Annotated[
        int, typer.Option(help="Seconds old ones stay valid; 0 ends them and all tokens.")
    ] = 86_400,
) -> None:
    """Make a new secret and print it; it is never shown again."""
    from gateway.commands.identity import administer, client_secrets

    made = administer(client_secrets.rotate_secret, client, overlap_s=overlap)
    typer.echo(f"NARU_CLIENT_SECRET={made.secret}")


@app.command("retire-secret")
def retire_secret(
    client: Client, secret: Annotated[str, typer.Argument(help="Its id, from `show`.")]
) -> None:
    """End one secret of a client, and the client's tokens."""
    from gateway.commands.identity import administer, client_secrets

    administer(client_secrets.retire_secret, client, secret)


def _options(**given: Any) -> dict[str, Any]:  # noqa: ANN401 - as various as the options
    from gateway.commands.identity import read_jwks

    named = {name: value for name, value in given.items() if value not in (None, [])}
    return named | {"jwks": read_jwks(named["jwks"])} if "jwks" in named else named


def _change(client: str, changes: dict[str, Any]) -> None:
    from gateway.commands.identity import administer, clients

    administer(clients.update_client, client, **changes)


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return " ".join(sorted(value)) or "none"
    return str(value)
