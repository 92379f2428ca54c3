"""The command line, `naru`. What is heavy is imported by the command that needs it."""

import asyncio
import importlib.metadata
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from config.errors import ConfigError
from gateway import (
    cli_agents,
    cli_audit,
    cli_budgets,
    cli_clients,
    cli_feedback,
    cli_identity,
    cli_limits,
    cli_stores,
    cli_sync,
    cli_usage,
)

if TYPE_CHECKING:
    from gateway.credentials import Credentials

_T = TypeVar("_T")

app = typer.Typer(
    name="naru",
    help="One gateway in front of every language model you run or rent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(cli_identity.tenant_app, name="tenant")
app.add_typer(cli_clients.app, name="client")
app.add_typer(cli_budgets.app, name="budget")
app.add_typer(cli_identity.key_app, name="key")
app.add_typer(cli_identity.keys_app, name="keys")
app.add_typer(cli_agents.app, name="agent")
app.add_typer(cli_agents.app, name="agents", hidden=True)
app.add_typer(cli_stores.app, name="store")
app.add_typer(cli_sync.app, name="sync")
app.add_typer(cli_usage.app, name="usage")
app.add_typer(cli_limits.app, name="limits")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_feedback.app, name="feedback")

Config = Annotated[Path | None, typer.Option(help="Settings file; default naru.yaml.")]


@app.command()
def serve(
    *,
    demo: Annotated[bool, typer.Option(help="Load the demo handbook and its agent.")] = False,
    config: Config = None,
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="Stop when the starting process is gone.")
    ] = False,
) -> None:
    """Start the service and everything it needs; Ctrl-C stops it."""
    parent = os.getppid() if exit_with_parent else None
    from gateway.commands.serve import run

    raise typer.Exit(run(config, demo=demo, parent=parent))


@app.command()
def reload(config: Config = None) -> None:
    """Let the running service take the settings file as it is now; a bad one changes nothing."""
    from config.load import load_settings
    from gateway.reload import reload_running

    reload_running(load_settings(config).data_dir)
    typer.echo("the service has the new settings")


@app.command()
def migrate(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what there is.")] = False,
    config: Config = None,
) -> None:
    """Bring the database up to this version, as every start does."""
    from config.load import load_settings
    from gateway.commands import migrate as command

    for line in command.run(load_settings(config), dry_run=dry_run):
        typer.echo(line)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Written whole or not at all, with mode 600.")],
    *,
    key: Annotated[bool, typer.Option(help="Put the secret key into it.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    config: Config = None,
) -> None:
    """Write the database, and the key that it is sealed with, into a file."""
    from config.load import load_settings
    from gateway.commands.backup import back_up

    for line in back_up(load_settings(config), file, with_key=key, force=force):
        typer.echo(line)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="Made by `naru backup`.")],
    config: Config = None,
) -> None:
    """Fill an empty database from a backup; the service must not run."""
    from config.load import load_settings
    from gateway.commands.backup import restore as run

    # The file of the secret key may be missing: it is in the backup.
    for line in run(load_settings(config, look_at_files=False), file):
        typer.echo(line)


@app.command()
def doctor(config: Config = None) -> None:
    """Show what was found, what is embedded and what is missing."""
    from config.load import load_settings
    from gateway.doctor import examine

    findings = _run(examine(load_settings(config), config))
    for finding in findings:
        mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("MISS", fg="red")
        typer.echo(f"{mark} {finding.subject:<12} {finding.text}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def token(
    scope: Annotated[list[str] | None, typer.Option(help="Repeat for several.")] = None,
) -> None:
    """Print an access token for the client of demo.env or of NARU_CLIENT_ID and _SECRET."""
    from gateway.commands.remote import fetch_token

    typer.echo(_run(fetch_token(_credentials(), scope or [])))


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders that are walked.")],
    store: Annotated[
        str | None, typer.Option(help="Its id or its name; default the demo's.")
    ] = None,
) -> None:
    """Add documents (PDF, Office, HWPX, HTML, text, tables) to the service and wait for them.

    None replaces another: a changed file that is sent again stands beside the one before.
    """
    from gateway.commands.ingest import ingest_files

    raise typer.Exit(1 if _run(ingest_files(_credentials(), files, store)) else 0)


@app.command(name="eval")
def evaluate(
    path: Annotated[Path, typer.Argument(metavar="SET", help="A set: file or folder.")],
    form: Annotated[
        str | None, typer.Option("--format", help="jsonl, squad, beir, code, mtrag.")
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="Vector store; default one of the set's documents.")
    ] = None,
    floors: Annotated[
        list[str] | None, typer.Option("--min", help="Fail below, as ndcg@10=0.94; repeatable.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="JSON of an earlier run: fail where a metric dropped.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="How much less is no drop yet.")] = 0.005,
    *,
    fit: Annotated[bool, typer.Option("--fit", help="Fit the embedding's share.")] = False,
    fit_abstention: Annotated[
        bool, typer.Option(help="Fit when to say that there is no answer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Measure the search of the running service on a set of questions."""
    from gateway.commands.eval import Options
    from gateway.commands.eval import evaluate as run

    options = Options(form, store, floors or (), baseline, tolerance, fit, fit_abstention, as_json)
    raise typer.Exit(run(_credentials(), path, options))


@app.command()
def replay(
    session: Annotated[str, typer.Argument(help="A session's id.")],
    message: Annotated[str, typer.Argument(help="The id of an answer in it.")],
    agent: Annotated[str, typer.Option(help="NAME, NAME@VERSION or NAME@ALIAS.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not columns.")] = False,
) -> None:
    """Ask a question again, with the same history, of another version; nothing is stored."""
    import json

    from gateway.commands import replay as command

    told = _run(command.replay(_credentials(), session, message, agent))
    typer.echo(
        json.dumps(told, ensure_ascii=False) if as_json else "\n".join(command.side_by_side(told))
    )


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(importlib.metadata.version("naru-gateway"))


def main() -> None:
    """Run the command line. A fault the user can mend is one line on standard error, status 2."""
    try:
        app()
    except ConfigError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(message: str) -> NoReturn:
    typer.echo(f"naru: {message}", err=True)
    sys.exit(2)


def _run(work: Coroutine[object, object, _T]) -> _T:
    return asyncio.run(work)


def _credentials() -> "Credentials":
    from gateway.credentials import credentials_here

    return credentials_here()
