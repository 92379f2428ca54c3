"""The guardrails of one process: by the settings' policies, off the event loop."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from config.guardrails import GuardrailRules, GuardrailSettings
from gateway.errors import InvalidRequest, Unavailable
from gateway.govern.guardrails.deny import Deny
from gateway.govern.guardrails.injection import Injection
from gateway.govern.guardrails.length import Length
from gateway.govern.guardrails.parts import parts_of
from gateway.govern.guardrails.verdict import Action, Guardrail, Verdict
from gateway.govern.masking.masking import is_small
from gateway.govern.masking.threads import Threads

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What guardrails found in a request."""

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, str]:
        """Return it as usage records say it."""
        return {name: str(verdict) for name, verdict in self.verdicts.items()}

    @property
    def action(self) -> Action:
        """Return the strictest action."""
        return max((each.action for each in self.verdicts.values()), default=Action.ALLOW)

    @property
    def stays(self) -> bool:
        """Tell whether the request must stay on our own engines."""
        return self.action >= Action.LOCAL

    def check(self) -> None:
        """Refuse what is blocked.

        Raises:
            InvalidRequest: Names the guardrail and the part, never its text.
        """
        for name, verdict in self.verdicts.items():
            if verdict.action is Action.BLOCK:
                raise InvalidRequest(
                    f"{verdict.path}: the guardrail `{name}` does not let this pass: {_WHAT[name]}",
                    param=verdict.path or None,
                    code="guardrail_blocked",
                )


_WHAT = {
    "injection": "it looks like an attempt to change the model's instructions; say it differently",
    "deny": "it holds a phrase that is not allowed here; leave it out",
    "length": "it is longer than is allowed here; say less",
}


class Guardrails:
    """Guardrails by the settings. What is long is judged in threads."""

    def __init__(self, settings: GuardrailSettings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, ...], Sequence[Guardrail]] = {}
        self._threads = Threads()

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    async def look(
        self,
        fields: Mapping[str, Any],
        *,
        tenant: str,
        models: Sequence[str],
        instructions: bool = True,
    ) -> Found:
        """Return what the guardrails that apply find in a request's fields.

        `models` are the names that the request goes by, `instructions` is whether system messages
        are the caller's own.

        Raises:
            Unavailable: Too much is looked at already, or it could not be.
        """
        asked = self.at(tenant, models)
        if not asked:
            return Found()

        def work() -> Found:
            return _found(asked, fields, instructions=instructions)

        try:
            return work() if is_small(fields) else await self._threads.run(work)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is let through
            # Its message may hold what was said.
            _log.error("guardrails failed: %s", type(error).__name__)
            raise _unavailable() from None

    def denied(self, tenant: str, models: Sequence[str]) -> list[Deny]:
        """Return what applies to answers."""
        return [each for each in self.at(tenant, models) if isinstance(each, Deny) and each.answers]

    def at(self, tenant: str, models: Sequence[str]) -> Sequence[Guardrail]:
        """Return the guardrails that apply."""
        names = [name if name in self._settings.models else "" for name in models]
        key = (tenant if tenant in self._settings.tenants else "", *names)
        known = self._known.get(key)
        return self._known.setdefault(key, self._made(*key)) if known is None else known

    def _made(self, tenant: str, *models: str) -> Sequence[Guardrail]:
        sections = [self._rules(name) for name in sorted(filter(None, models))] or [self._settings]
        sections += [self._settings.tenants[tenant]] if tenant else []
        return [guardrail for section in sections for guardrail in _guardrails(section)]

    def _rules(self, model: str) -> GuardrailRules:
        own = self._settings.models[model]
        given = {name: getattr(own, name) for name in own.model_fields_set}
        shared = {name: getattr(self._settings, name) for name in GuardrailRules.model_fields}
        return GuardrailRules.model_construct(**{**shared, **given})


def _guardrails(rules: GuardrailRules) -> list[Guardrail]:
    made = list[Guardrail]()
    if rules.length:
        made.append(Length(rules.length))
    if rules.deny:
        made.append(Deny(rules.deny))
    if rules.injection:
        made.append(Injection(rules.injection))
    return made


def _found(
    guardrails: Sequence[Guardrail], fields: Mapping[str, Any], *, instructions: bool
) -> Found:
    parts = parts_of(fields, instructions=instructions)
    verdicts = dict[str, Verdict]()
    for guardrail in guardrails:
        verdict = guardrail.check(parts)
        before = verdicts.get(guardrail.name)
        if before is None or (verdict.action, verdict.score) > (before.action, before.score):
            verdicts[guardrail.name] = verdict
        if verdict.action is Action.BLOCK:
            break
    return Found(verdicts)


def _unavailable() -> Unavailable:
    return Unavailable(
        "the guardrails can't look at the request at the moment, and it is not sent without; "
        "try again",
        code="guardrails_unavailable",
        headers={"retry-after": "1"},
    )
