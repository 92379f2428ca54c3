"""Asking the models that judge for guardrails: masked, paid for, and without guardrails."""

import asyncio
import functools
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace

from config.guardrails import Read
from gateway.errors import BudgetExhausted, GatewayError, ModelUnpriced
from gateway.generation.ladder import Ladder
from gateway.generation.target import Prompt, view_completion
from gateway.govern.charge import Charge
from gateway.govern.guardrails.guardrails import Found, Guardrails
from gateway.govern.guardrails.judge import (
    NAME,
    Judge,
    Scores,
    Unreadable,
    read_moderations,
    read_said,
    stricter,
)
from gateway.govern.guardrails.parts import Part, cut
from gateway.govern.guardrails.verdict import Action, Verdict
from gateway.govern.masking.masking import Masking
from gateway.govern.masking.policy import Policy
from gateway.observe.phases import Phase
from rag import Retrieval

PASSAGES = f"{NAME}_passages"
"""As usage records name the verdict on passages."""

_log = logging.getLogger(__name__)
_AT_ONCE = 4
_TOGETHER = 32
_MOST_REMEMBERED = 10_000
_REMEMBERED_S = 300.0


@dataclass(frozen=True, slots=True)
class Occasion:
    """What is judged, and for whom.

    Attributes:
        charge: The account of the request that pays for it.
        models: The names that the request goes by: the model's, and the agent's before it.
        local_only: Texts must not leave our own engines; a judge elsewhere can't judge then.
    """

    charge: Charge
    models: Sequence[str]
    local_only: bool = False

    @property
    def tenant(self) -> str:
        """Return for whom it is."""
        return self.charge.scope.tenant


class Judging:
    """The judges of one process, and what they said of texts lately.

    `find` returns the ladder of a model's name, as nobody governs it.
    """

    def __init__(
        self, guardrails: Guardrails, masking: Masking, find: Callable[[str], Ladder | None]
    ) -> None:
        self._guardrails = guardrails
        self._masking = masking
        self._find = find
        self._said = _Memory()

    def judges(self, occasion: Occasion, reads: Read) -> Sequence[Judge]:
        """Return the judges that apply."""
        return self._guardrails.judges(occasion.tenant, occasion.models, reads)

    async def look(
        self, occasion: Occasion, fields: Mapping[str, object], *, instructions: bool = True
    ) -> Found:
        """Return what all guardrails find in a request: those that are rules first, then models.

        It stands on the account. What is blocked already is not judged.

        Raises:
            GatewayError: Nobody could look at it.
        """
        with Phase("guardrails"):
            found = await self._guardrails.look(
                fields,
                tenant=occasion.tenant,
                models=occasion.models,
                instructions=instructions,
            )
        occasion.charge.verdicts.update(found.said)
        judges = self.judges(occasion, "input")
        if not judges or found.action is Action.BLOCK:
            return found
        local_only = occasion.local_only or found.stays
        judged = Occasion(occasion.charge, occasion.models, local_only)
        pieces = await self._guardrails.pieces(fields)
        verdict = Verdict()
        for judge in judges:
            for each in await self.judge(judged, judge, pieces):
                verdict = stricter(verdict, each)
        occasion.charge.verdicts[NAME] = str(verdict)
        return Found({**found.verdicts, NAME: verdict})

    async def screened(self, occasion: Occasion, found: Retrieval) -> tuple[Retrieval, bool]:
        """Return what was found without what is blocked, and whether it must stay here.

        Raises:
            GatewayError: It could not be judged, and is blocked therefore.
        """
        verdicts = [Verdict()] * len(found.passages)
        for judge in self.judges(occasion, "passages"):
            pieces = [
                Part(str(place), "", piece)
                for place, passage in enumerate(found.passages)
                for piece in cut(passage.content)
            ]
            for piece, verdict in zip(
                pieces, await self.judge(occasion, judge, pieces), strict=True
            ):
                verdicts[int(piece.path)] = stricter(verdicts[int(piece.path)], verdict)
        worst = functools.reduce(stricter, verdicts, Verdict())
        occasion.charge.verdicts[PASSAGES] = str(worst)
        if not worst.judged:
            Found({NAME: worst}).check()
        passages = tuple(
            passage
            for passage, verdict in zip(found.passages, verdicts, strict=True)
            if verdict.action is not Action.BLOCK
        )
        stays = any(verdict.action is Action.LOCAL for verdict in verdicts)
        return replace(found, passages=passages), stays

    async def judge(
        self, occasion: Occasion, judge: Judge, pieces: Sequence[Part], question: str = ""
    ) -> list[Verdict]:
        """Return one judge's verdict on each text; `question` is what they answer.

        Raises:
            GatewayError: The caller's budget does not pay for it.
        """
        keys = [_key(occasion.tenant, judge, question, piece.text) for piece in pieces]
        scores = {key: known for key in keys if (known := self._said.find(key)) is not None}
        new = {key: piece.text for key, piece in zip(keys, pieces, strict=True)}
        new = {key: text for key, text in new.items() if key not in scores}
        try:
            async with asyncio.timeout(judge.settings.timeout_s):
                found = await self._ask(occasion, judge, list(new.values()), question)
        except (GatewayError, Unreadable, TimeoutError) as error:
            _log.warning("%s can't judge: %s", judge.settings.model, _reason(error))
            if isinstance(error, BudgetExhausted | ModelUnpriced) and _closed(judge):
                raise
            found = []
        scores |= zip(new, found, strict=False)
        for key in new.keys() & scores.keys():
            self._said.keep(key, scores[key])
        return [
            judge.verdict(scores[key], piece.path) if key in scores else judge.unjudged(piece.path)
            for key, piece in zip(keys, pieces, strict=True)
        ]

    async def _ask(
        self, occasion: Occasion, judge: Judge, texts: Sequence[str], question: str
    ) -> list[Scores]:
        """Return what a judge says of texts it was not asked about lately.

        Raises:
            GatewayError: It can't be asked.
            Unreadable: It does not say it.
        """
        moderates = judge.settings.api == "moderations"
        size, turns = _TOGETHER if moderates else 1, asyncio.Semaphore(_AT_ONCE)

        async def ask(some: Sequence[str]) -> list[Scores]:
            async with turns:
                body = await self._completed(occasion, judge, some, question)
            return read_moderations(body, len(some)) if moderates else [_said_in(body)]

        asking = [ask(texts[start : start + size]) for start in range(0, len(texts), size)]
        return [scores for some in await _all(asking) for scores in some]

    async def _completed(
        self, occasion: Occasion, judge: Judge, texts: Sequence[str], question: str
    ) -> bytes:
        settings = judge.settings
        target = self._find(settings.model)
        assert target is not None, "settings are checked for it"  # noqa: S101
        fields = judge.fields(texts, question)
        if not target.accepts_unknown:
            # An engine is among them: no time for thoughts.
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        completion = await target.complete(
            Prompt(
                fields,
                kind="moderations" if settings.api == "moderations" else "chat",
                tenant=occasion.tenant,
                local_only=self._stays(occasion),
                charge=occasion.charge,
                egress=self._egress(occasion, settings.model),
                beside=True,
            )
        )
        return completion.body

    def _stays(self, occasion: Occasion) -> bool:
        asked = self._find(occasion.models[-1])
        return occasion.local_only or (asked is not None and asked.local_only)

    def _egress(self, occasion: Occasion, model: str) -> Policy:
        """Return what the judge may read: as little as whoever is asked, and as itself."""
        *agent, asked = occasion.models
        at, tenant = self._masking.policies.at, occasion.tenant
        policies = [at("egress", tenant=tenant, model=each) for each in (asked, model)]
        policies += [at("egress", tenant=tenant, agent=each) for each in agent]
        return Policy.strictest(policies).without_pseudonyms()


class _Memory:
    """What judges said lately, by a hash of who asked what; the texts are kept nowhere."""

    def __init__(self) -> None:
        self._said: OrderedDict[bytes, tuple[float, Scores]] = OrderedDict()

    def find(self, key: bytes) -> Scores | None:
        until, scores = self._said.get(key, (0.0, None))
        return scores if until > time.monotonic() else None

    def keep(self, key: bytes, scores: Scores) -> None:
        self._said[key] = time.monotonic() + _REMEMBERED_S, scores
        self._said.move_to_end(key)
        if len(self._said) > _MOST_REMEMBERED:
            self._said.popitem(last=False)


def _key(tenant: str, judge: Judge, question: str, text: str) -> bytes:
    parts = "\0".join([tenant, *judge.identity, str(len(question)), question, text])
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).digest()


def _closed(judge: Judge) -> bool:
    return judge.settings.on_failure == "block"


def _reason(error: Exception) -> str:
    return (error.code if isinstance(error, GatewayError) else None) or type(error).__name__


def _said_in(body: bytes) -> Scores:
    choices = view_completion(body).choices
    return read_said((choices[0].message.content or "") if choices else "")


async def _all(asking: Sequence[Coroutine[None, None, list[Scores]]]) -> list[list[Scores]]:
    """Return what all say; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in asking]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
