"""What becomes of each kind of personal data at a boundary."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from config.masking import (
    BoundarySettings,
    EgressAction,
    HidingAction,
    MaskingSettings,
    RuleKind,
)
from gateway.govern.masking.kinds import Kind

Boundary = Literal["egress", "storage", "answer"]


class Action(IntEnum):
    """What becomes of it, the strictest last."""

    ALLOW = 0
    PSEUDONYM = 1
    MASK = 2
    BLOCK = 3


@dataclass(frozen=True, slots=True)
class Policy:
    """An action for each kind."""

    actions: tuple[Action, ...] = (Action.ALLOW,) * len(Kind)

    @classmethod
    def of(cls, rules: Mapping[RuleKind, HidingAction | EgressAction]) -> "Policy":
        """Return the policy that the settings' rules are."""
        said = {str(kind): Action[action.upper()] for kind, action in rules.items()}
        default = said.get("default", Action.ALLOW)
        return cls(tuple(said.get(kind, default) for kind in Kind))

    @classmethod
    def strictest(cls, policies: Iterable["Policy"]) -> "Policy":
        """Return the policy that is as strict as each of them."""
        return cls(tuple(max(each) for each in zip(*(p.actions for p in policies), strict=True)))

    @property
    def allows_all(self) -> bool:
        """Tell whether nothing is to be done at all."""
        return not any(self.actions)

    def action(self, kind: Kind) -> Action:
        """Return what becomes of that kind."""
        return self.actions[_PLACES[kind]]

    def without_pseudonyms(self) -> "Policy":
        """Return the policy for where nothing comes back in which they could be replaced."""
        masked = {Action.PSEUDONYM: Action.MASK}
        return Policy(tuple(masked.get(action, action) for action in self.actions))


NOTHING_HIDDEN = Policy()

_PLACES = {kind: place for place, kind in enumerate(Kind)}


class Policies:
    """The settings' policies of each boundary."""

    def __init__(self, settings: MaskingSettings) -> None:
        self._settings = settings
        self._ladders: Mapping[str, Sequence[str]] = {}
        self._known: dict[tuple[Boundary, str, str, str], Policy] = {}
        self.logs = Policy.of(settings.logs)

    def lead(self, ladders: Mapping[str, Sequence[str]]) -> None:
        """Learn to which targets aliases lead: what holds for a target holds for its aliases."""
        self._ladders = ladders
        self._known.clear()

    def at(self, boundary: Boundary, *, tenant: str, model: str = "", agent: str = "") -> Policy:
        """Return the strictest of the policies that apply."""
        named = (
            tenant if tenant in self._settings.tenants else "",
            model if self._of_model(model) else "",
            agent if agent in self._settings.agents else "",
        )
        key = (boundary, *named)
        return self._known.get(key) or self._known.setdefault(key, self._made(boundary, *named))

    def allow_all(self, boundary: Boundary) -> bool:
        """Tell whether nothing is done there, whoever asks whatever."""
        settings = self._settings
        others = (settings.tenants, settings.models, settings.agents)
        sections = [settings, *(section for each in others for section in each.values())]
        return all(Policy.of(getattr(section, boundary)).allows_all for section in sections)

    def _of_model(self, model: str) -> list[BoundarySettings]:
        models = self._settings.models
        names = (model, *self._ladders.get(model, ())) if models else ()
        return [models[name] for name in names if name in models]

    def _made(self, boundary: Boundary, tenant: str, model: str, agent: str) -> Policy:
        settings = self._settings
        sections: list[BoundarySettings | None] = [
            settings,
            settings.tenants.get(tenant),
            *self._of_model(model),
            settings.agents.get(agent),
        ]
        given = (getattr(section, boundary) for section in sections if section)
        return Policy.strictest(Policy.of(rules) for rules in given)
