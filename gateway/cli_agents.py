"""`naru agent`: the agents of the running service."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Agents: what is asked.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name.")]


@app.command("list")
def list_agents() -> None:
    """List the agents with their current versions."""
    from gateway.commands import agents
    from gateway.credentials import credentials_here

    for agent in asyncio.run(agents.list_agents(credentials_here())):
        about = f"version {agent['version']}  {agent['model']}  from {agent['source']}"
        typer.echo(f"{agent['name']}  {about}  {agent['description']}".rstrip())


@app.command("get")
def get(
    address: Annotated[str, typer.Argument(metavar="NAME[@VERSION|@ALIAS]", help="Which one.")],
) -> None:
    """Print an agent's definition as JSON."""
    import json

    from gateway.commands import agents
    from gateway.credentials import credentials_here

    agent = asyncio.run(agents.get_agent(credentials_here(), address))
    typer.echo(json.dumps(agent, ensure_ascii=False, indent=2))


@app.command("apply")
def apply(
    file: Annotated[Path, typer.Argument(help="YAML; vector stores by id or name.")],
) -> None:
    """Make the agent of a file, or make it this, and print its version."""
    from gateway.commands import agents
    from gateway.credentials import credentials_here

    agent = asyncio.run(agents.apply(credentials_here(), file))
    typer.echo(f"{agent['name']}@{agent['version']}")


@app.command("versions")
def versions(name: Name) -> None:
    """List an agent's versions, the newest first."""
    import datetime as dt

    from gateway.commands import agents
    from gateway.credentials import credentials_here

    for agent in asyncio.run(agents.list_versions(credentials_here(), name)):
        made = dt.datetime.fromtimestamp(agent["version_created"], dt.UTC)
        by = agent["created_by"] or agent["source"]
        typer.echo(f"{name}@{agent['version']}  {made:%Y-%m-%d %H:%M:%S}  {by}")


@app.command("rollback")
def roll_back(
    name: Name,
    version: Annotated[int | None, typer.Argument(help="Default the one before.")] = None,
) -> None:
    """Let the plain name mean an earlier version again."""
    from gateway.commands import agents
    from gateway.credentials import credentials_here

    agent = asyncio.run(agents.roll_back(credentials_here(), name, version))
    typer.echo(f"{agent['name']}@{agent['version']}")


@app.command("alias")
def alias(
    name: Name,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as `prod`.")],
    targets: Annotated[list[str], typer.Argument(metavar="VERSION[:WEIGHT]...")],
) -> None:
    """Let an alias point at a version, or at several by weight."""
    from gateway.commands import agents
    from gateway.credentials import credentials_here

    asyncio.run(agents.point(credentials_here(), name, alias, targets))


@app.command("delete")
def delete(name: Name) -> None:
    """Delete an agent with its versions and aliases."""
    from gateway.commands import agents
    from gateway.credentials import credentials_here

    asyncio.run(agents.delete_agent(credentials_here(), name))


@app.command("compare")
def compare(name: Name) -> None:
    """Compare the versions by what users think of their answers (scope `admin`)."""
    from gateway.commands.feedback import compared, table
    from gateway.credentials import credentials_here

    for line in table(asyncio.run(compared(credentials_here(), name))):
        typer.echo(line)
