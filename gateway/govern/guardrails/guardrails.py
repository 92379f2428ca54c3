"""The guardrails of one process: by the settings' policies, off the event loop."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from config.guardrails import GuardrailRules, GuardrailSettings, JudgeSettings, Read
from gateway.errors import InvalidRequest, Unavailable
from gateway.govern.guardrails.deny import Deny
from gateway.govern.guardrails.injection import Injection
from gateway.govern.guardrails.judge import NAME, Judge, stricter
from gateway.govern.guardrails.length import Length
from gateway.govern.guardrails.parts import Part, parts_of, pieces_of
from gateway.govern.guardrails.verdict import Action, Guardrail, Verdict
from gateway.govern.masking.masking import is_small
from gateway.govern.masking.threads import Threads

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_MOST_KNOWN = 10_000


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
            Unavailable: It is blocked because it could not be judged.
        """
        for name, verdict in self.verdicts.items():
            if verdict.action is Action.BLOCK:
                if not verdict.judged:
                    raise unjudged()
                raise InvalidRequest(
                    f"{verdict.path}: the guardrail `{name}` does not let this pass: {_WHAT[name]}",
                    param=verdict.path or None,
                    code="guardrail_blocked",
                )


_WHAT = {
    "injection": "it looks like an attempt to change the model's instructions; say it differently",
    "deny": "it holds a phrase that is not allowed here; leave it out",
    "length": "it is longer than is allowed here; say less",
    NAME: "the model that judges what is said here finds it harmful; say it differently",
}


class Guardrails:
    """Guardrails by the settings. What is long is judged in threads.

    Attributes:
        any: Whether the settings have one, for anybody.
    """

    def __init__(self, settings: GuardrailSettings) -> None:
        self._settings = settings
        sections = [settings, *settings.models.values(), *settings.tenants.values()]
        self.any = any(_rules_in(section) for section in sections)
        self._known: dict[tuple[str, ...], Sequence[Guardrail]] = {}
        self._judges: dict[tuple[str, ...], Sequence[Judge]] = {}
        self._none: dict[tuple[str, ...], bool] = {}
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
        return await self._read(fields, lambda: _found(asked, fields, instructions=instructions))

    async def pieces(self, fields: Mapping[str, Any]) -> list[Part]:
        """Return what users and tools say in a request, as models judge it.

        Raises:
            Unavailable: Too much is looked at already, or it could not be.
        """
        return await self._read(fields, lambda: pieces_of(fields))

    async def _read(self, fields: Mapping[str, Any], work: Callable[[], _Result]) -> _Result:
        try:
            return work() if is_small(fields) else await self._threads.run(work)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is let through
            # Its message may hold what was said.
            _log.error("guardrails failed: %s", type(error).__name__)
            raise unjudged() from None

    def denied(self, tenant: str, models: Sequence[str]) -> list[Deny]:
        """Return what applies to answers."""
        return [each for each in self.at(tenant, models) if isinstance(each, Deny) and each.answers]

    def none(self, tenant: str, models: Sequence[str]) -> bool:
        """Tell whether nothing applies at all."""
        names = (tenant, *models)
        if (known := self._none.get(names)) is None:
            known = not (self.at(tenant, models) or self._judges_at(tenant, models))
            if len(self._none) >= _MOST_KNOWN:
                self._none.clear()
            self._none[names] = known
        return known

    def at(self, tenant: str, models: Sequence[str]) -> Sequence[Guardrail]:
        """Return the guardrails that apply."""
        key = self._key(tenant, models)
        if key not in self._known:
            sections = self._sections(*key)
            self._known[key] = [each for section in sections for each in _guardrails(section)]
        return self._known[key]

    def judges(self, tenant: str, models: Sequence[str], reads: Read) -> Sequence[Judge]:
        """Return the models that judge what is said there."""
        return [judge for judge in self._judges_at(tenant, models) if reads in judge.settings.reads]

    def _judges_at(self, tenant: str, models: Sequence[str]) -> Sequence[Judge]:
        key = self._key(tenant, models)
        if key not in self._judges:
            given = list[JudgeSettings]()
            for section in self._sections(*key):
                given += [section.judge] if section.judge and section.judge not in given else []
            self._judges[key] = [Judge(settings) for settings in given]
        return self._judges[key]

    def _key(self, tenant: str, models: Sequence[str]) -> tuple[str, ...]:
        names = [name if name in self._settings.models else "" for name in models]
        return (tenant if tenant in self._settings.tenants else "", *names)

    def _sections(self, tenant: str, *models: str) -> Sequence[GuardrailRules]:
        sections = [self._rules(name) for name in sorted(filter(None, models))] or [self._settings]
        return [*sections, self._settings.tenants[tenant]] if tenant else sections

    def _rules(self, model: str) -> GuardrailRules:
        own = self._settings.models[model]
        given = {name: getattr(own, name) for name in own.model_fields_set}
        shared = {name: getattr(self._settings, name) for name in GuardrailRules.model_fields}
        return GuardrailRules.model_construct(**{**shared, **given})


def _rules_in(rules: GuardrailRules) -> bool:
    return any((rules.length, rules.deny, rules.injection, rules.judge))


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
        verdicts[guardrail.name] = stricter(verdicts.get(guardrail.name, verdict), verdict)
        if verdict.action is Action.BLOCK:
            break
    return Found(verdicts)


def unjudged() -> Unavailable:
    """Return the error for what the guardrails could not judge."""
    return Unavailable(
        "the guardrails can't look at the request at the moment, and it is not sent without; "
        "try again",
        code="guardrails_unavailable",
        headers={"retry-after": "1"},
    )
