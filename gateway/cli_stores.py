"""`naru store`: the vector stores of the running service."""

import asyncio
from typing import Annotated

import typer

app = typer.Typer(help="Vector stores: what agents search.", no_args_is_help=True)

Store = Annotated[str, typer.Argument(metavar="STORE", help="Its id, or its name.")]


@app.command("list")
def list_stores() -> None:
    """List the stores with their files and bytes of text, the newest first."""
    from gateway.commands import stores
    from gateway.credentials import credentials_here

    for store in asyncio.run(stores.list_stores(credentials_here())):
        files = store["file_counts"]["total"]
        about = f"{store['status']}  {files} files  {store['usage_bytes']:,} bytes"
        typer.echo(f"{store['id']}  {store['name'] or '-'}  {about}")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="For people.")],
    expires_after_days: Annotated[
        int | None, typer.Option(help="After how many days without use; default never.")
    ] = None,
) -> None:
    """Make a store and print its id."""
    from gateway.commands import stores
    from gateway.credentials import credentials_here

    typer.echo(asyncio.run(stores.create_store(credentials_here(), name, expires_after_days)))


@app.command("delete")
def delete(store: Store) -> None:
    """Delete a store and what was read into it; its files stay."""
    from gateway.commands import stores
    from gateway.credentials import credentials_here

    asyncio.run(stores.delete_store(credentials_here(), store))


@app.command("reindex")
def reindex(
    store: Store,
    model: Annotated[
        str | None, typer.Option(help="Embedding model, as the settings name it; default its own.")
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Tokens in a chunk; default as it is.")
    ] = None,
    overlap: Annotated[
        int | None, typer.Option(help="Tokens that chunks share; default 0.")
    ] = None,
    *,
    wait: Annotated[bool, typer.Option(help="Until it is done, or has failed.")] = True,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up what is under way.")] = False,
) -> None:
    """Read a store again with another model or chunking; it is searched as before meanwhile."""
    from gateway.commands import reindex as command
    from gateway.credentials import credentials_here

    if cancel:
        return asyncio.run(command.cancel_reindex(credentials_here(), store))
    body = command.body_of(model, chunk_tokens, overlap)
    line, well = asyncio.run(command.reindex(credentials_here(), store, body, wait=wait))
    typer.echo(line)
    raise typer.Exit(0 if well else 1)
