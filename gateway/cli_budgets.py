"""`naru budget`: what may be spent, over the running service's own API."""

import asyncio
from typing import Annotated, Literal

import typer

app = typer.Typer(
    help="Budgets in money; needs a client with the scope admin.", no_args_is_help=True
)

Budget = Annotated[str, typer.Argument(metavar="BUDGET", help="Its id, from `list`.")]
Amount = Annotated[str, typer.Argument(metavar="USD", help="US dollars, such as 12.50.")]
Tenant = Annotated[str | None, typer.Option(help="Whose; default the caller's own.")]


@app.command()
def create(
    amount: Amount,
    period: Annotated[Literal["day", "month"], typer.Option(help="In UTC.")] = "month",
    client: Annotated[str | None, typer.Option(help="One client's, or * for each.")] = None,
    end_user: Annotated[str | None, typer.Option(help="One end user's, or * for each.")] = None,
    tenant: Tenant = None,
) -> None:
    """Make a budget and print its id; without --client it is the whole tenant's."""
    from gateway.commands.budgets import make_budget
    from gateway.credentials import credentials_here

    subject = {"client": client, "end_user": end_user, "tenant": tenant}
    body = {"amount_usd": amount, "period": period, **subject}
    typer.echo(asyncio.run(make_budget(credentials_here(), body)))


@app.command("list")
def list_all(tenant: Tenant = None) -> None:
    """List budgets, what is spent of each, and what is left."""
    from gateway.commands.budgets import list_budgets
    from gateway.credentials import credentials_here

    for line in asyncio.run(list_budgets(credentials_here(), tenant)):
        typer.echo(line)


@app.command()
def show(budget: Budget) -> None:
    """Print what a budget is, and what is left of it."""
    for name, value in _ask("GET", budget).items():
        typer.echo(f"{name}: {value}")


@app.command("set")
def change(budget: Budget, amount: Amount) -> None:
    """Raise or lower a budget."""
    _ask("PATCH", budget, {"amount_usd": amount})


@app.command()
def delete(budget: Budget) -> None:
    """Lift a budget."""
    _ask("DELETE", budget)


def _ask(method: str, budget: str, body: object = None) -> dict[str, object]:
    from gateway.commands.budgets import at_budget
    from gateway.credentials import credentials_here

    return asyncio.run(at_budget(credentials_here(), method, budget, body))
