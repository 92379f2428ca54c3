"""What requests cost, and what their callers may spend."""

from dataclasses import dataclass, field

from config.budgets import BudgetSettings
from gateway.govern.budgets import Budgets
from gateway.govern.prices import Rates


@dataclass(frozen=True, slots=True)
class Money:
    """Prices and budgets of one process; without any, as long as nothing else is said."""

    rates: Rates = field(default_factory=lambda: Rates({}, {}))
    budgets: Budgets = field(default_factory=Budgets)
    assumed: BudgetSettings = field(default_factory=BudgetSettings)
