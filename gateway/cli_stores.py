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
