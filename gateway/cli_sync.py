"""`naru sync`: keep a vector store of the running service in step with a folder, bucket or URLs."""

import asyncio
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="Keep a vector store in step with a folder, a bucket or URLs.", no_args_is_help=True
)

Store = Annotated[str | None, typer.Option(help="Vector store; default the demo's.")]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Its id, from `list`.")]


@app.command()
def add(
    folder: Annotated[str | None, typer.Option(help="NAME of sync.folders, or NAME/PATH.")] = None,
    bucket: Annotated[
        str | None, typer.Option(help="NAME of sync.buckets, or NAME/PREFIX.")
    ] = None,
    url: Annotated[list[str] | None, typer.Option(help="Repeat for several.")] = None,
    schedule: Annotated[
        Literal["hourly", "daily", "weekly"] | None, typer.Option(help="Default: by hand.")
    ] = None,
    store: Store = None,
) -> None:
    """Give the store a source and print its id; one with a schedule is read at once."""
    from gateway.commands.sync import add_source, origin_of
    from gateway.credentials import credentials_here

    origin = origin_of(folder, bucket, url or [])
    typer.echo(asyncio.run(add_source(credentials_here(), store, origin, schedule)))


@app.command("list")
def list_all(store: Store = None) -> None:
    """List the store's sources, and how their last runs went."""
    from gateway.commands.sync import list_sources
    from gateway.credentials import credentials_here

    for line in asyncio.run(list_sources(credentials_here(), store)):
        typer.echo(line)


@app.command()
def run(source: Source, store: Store = None) -> None:
    """Read a source now and wait for it; status 1 where something of it could not be read."""
    from gateway.commands.sync import run_source
    from gateway.credentials import credentials_here

    raise typer.Exit(0 if asyncio.run(run_source(credentials_here(), store, source)) else 1)


@app.command()
def remove(
    source: Source,
    *,
    with_files: Annotated[
        bool, typer.Option("--with-files", help="Take out what was read from it, too.")
    ] = False,
    store: Store = None,
) -> None:
    """Delete a source; what was read from it stays in the store, unless --with-files."""
    from gateway.commands.sync import remove_source
    from gateway.credentials import credentials_here

    asyncio.run(remove_source(credentials_here(), store, source, with_files=with_files))
