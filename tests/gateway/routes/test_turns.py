"""A turn is answered once for every Idempotency-Key, and a broken stream goes on where it broke."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from gateway_support import Service, client_of, replica_of
from support import scope_of
from turns_support import Event, all_events, events_of, play_slowly
from upstream_support import Upstream, json_answer

from config.postgres import open_pool
from gateway.agents.changes import save_agent
from gateway.agents.definition import AgentDefinition

CHAT = "/v1/agents/slow/chat"
COMPLETIONS = "/v1/agents/slow/chat/completions"
FAILING = "/v1/agents/failing/chat"
ASKED = "병가는 며칠인가요?"
OPENAI: dict[str, Any] = {"model": "slow", "messages": [{"role": "user", "content": ASKED}]}
SHAPES = [
    (CHAT, {"message": ASKED}),
    (COMPLETIONS, OPENAI),
    ("/v1/chat/completions", OPENAI),
]


@pytest.fixture(scope="session", autouse=True)
async def replicas(
    service: Service, redis_url: str, sockets: Path, data_dir: Path, upstream: Upstream
) -> AsyncIterator[dict[str, Service]]:
    """Other web workers on the same stores: one as usual, one that has no patience at all.

    Agent `slow` asks a hosted model, agent `failing` another one, as each target has its breaker.
    """
    usual = {
        "data_dir": data_dir,
        "redis": {"url": redis_url},
        "providers": {
            "fake": {"base_url": upstream.url, "api_key": "sk-upstream"},
        },
    }
    async with await open_pool(service.database, size=1) as pool:
        for name in ("slow", "failing"):
            definition = AgentDefinition(name, "", f"fake/{name}", (service.store,))
            await save_agent(pool, scope_of("acme", "app"), definition)
    hasty = {"resume_grace_s": 0, "queue_timeout_s": 0.3, "max_waiting": 2, "lease_s": 4}
    async with (
        replica_of(service, sockets, usual) as other,
        replica_of(service, sockets, usual | {"sessions": hasty}) as impatient,
    ):
        yield {"other": other, "impatient": impatient}


@pytest.fixture
async def other(replicas: dict[str, Service]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(replicas["other"], replicas["other"].key) as client:
        yield client


@pytest.fixture
async def impatient(replicas: dict[str, Service]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(replicas["impatient"], replicas["impatient"].key) as client:
        yield client


def new_key() -> dict[str, str]:
    return {"idempotency-key": uuid.uuid4().hex}


def new_session() -> str:
    return f"turns-{uuid.uuid4().hex}"


@pytest.fixture
async def database(service: Service) -> AsyncIterator[asyncpg.Connection]:
    """The stores' database, seen past its policies."""
    opened = await asyncpg.connect(service.database)
    yield opened
    await opened.close()


async def queued(database: asyncpg.Connection, session_id: str, count: int) -> None:
    """Return when so many messages wait for their session."""
    query = "SELECT count(*) FROM turns WHERE session_id = $1 AND state = 'waiting'"
    async with asyncio.timeout(20):
        while await database.fetchval(query, session_id) != count:
            await asyncio.sleep(0.02)


async def stored(http: httpx.AsyncClient, session_id: str) -> list[dict[str, Any]]:
    answer = await http.get(f"/v1/sessions/{session_id}/messages")
    return answer.json()["data"] if answer.status_code == 200 else []


async def read_until(
    http: httpx.AsyncClient, body: dict[str, Any], count: int, path: str = CHAT, **headers: str
) -> list[Event]:
    """The first events of a stream that its reader leaves then."""
    events = []
    async with http.stream("POST", path, json=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        async for event in events_of(answer):
            events.append(event)
            if len(events) == count:
                break
    return events


@pytest.mark.parametrize(("path", "body"), SHAPES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_sent_again_is_told_the_same_answer(
    http: httpx.AsyncClient,
    other: httpx.AsyncClient,
    upstream: Upstream,
    path: str,
    body: dict[str, Any],
    stream: bool,
) -> None:
    model, key, session_id = play_slowly(upstream), new_key(), new_session()
    model.say(100)
    asked = body | {"session_id": session_id, "stream": stream}
    first = await http.post(path, json=asked, headers=key)
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    for client in (http, other):
        again = await client.post(path, json=asked, headers=key)
        assert again.text == first.text
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["x-naru-target"] == first.headers["x-naru-target"]
    assert len(model.asked) == 1
    assert [m["content"] for m in await stored(other, session_id)] == [ASKED, "하나 둘 셋 넷"]


async def test_a_key_goes_for_turns_without_a_session_too(
    http: httpx.AsyncClient, other: httpx.AsyncClient, upstream: Upstream
) -> None:
    model, key = play_slowly(upstream), new_key()
    model.say(100)
    for stream in (False, True):
        asked, key = OPENAI | {"stream": stream}, new_key()
        answers = [
            await client.post("/v1/chat/completions", json=asked, headers=key)
            for client in (http, other, http)
        ]
        assert len({answer.text for answer in answers}) == 1
        assert "넷" in answers[0].text
    assert len(model.asked) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_at_once_are_one_turn(
    http: httpx.AsyncClient, other: httpx.AsyncClient, upstream: Upstream, stream: bool
) -> None:
    model, key, session_id = play_slowly(upstream), new_key(), new_session()
    asked = {"message": ASKED, "session_id": session_id, "stream": stream}
    sending = [
        asyncio.create_task((http, other)[n % 2].post(CHAT, json=asked, headers=key))
        for n in range(50)
    ]
    await model.started(1)
    model.say(100)
    answers = await asyncio.gather(*sending)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(model.asked) == 1
    assert len(await stored(http, session_id)) == 2


async def test_a_key_stands_for_one_request_of_one_caller(
    service: Service, http: httpx.AsyncClient, colleague: httpx.AsyncClient, upstream: Upstream
) -> None:
    model, key = play_slowly(upstream), new_key()
    model.say(1000)
    asked = {"message": ASKED, "session_id": new_session()}
    assert (await http.post(CHAT, json=asked, headers=key)).status_code == 200
    for path, body in [
        (CHAT, asked | {"message": "연차 휴가는 며칠인가요?"}),
        (CHAT, asked | {"stream": True}),
        (CHAT, asked | {"session_id": new_session()}),
        ("/v1/agents/hr/chat", asked),
        (COMPLETIONS, OPENAI),
    ]:
        answer = await http.post(path, json=body, headers=key)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (422, "idempotency_key_reused")
        assert "another request" in error["message"]
    reordered = dict(reversed(asked.items()))
    again = await http.post(CHAT, json=reordered, headers=key)
    assert again.headers["idempotent-replayed"] == "true"
    anna = await http.post(CHAT, json=asked, headers=key | {"x-naru-end-user": "anna"})
    theirs = await colleague.post(CHAT, json=asked, headers=key)
    for answer in (anna, theirs):
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)
    assert len(model.asked) == 3
    await colleague.delete(f"/v1/sessions/{asked['session_id']}")


async def test_a_turn_that_failed_does_not_spoil_its_key(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    for stream in (False, True):
        session_id, key = new_session(), new_key()
        asked = {"message": ASKED, "session_id": session_id, "stream": stream}
        upstream.answer = lambda _: json_answer(b"{}", status=500)
        failed = await http.post(FAILING, json=asked, headers=key)
        assert failed.status_code == 502
        model = play_slowly(upstream)
        model.say(100)
        again = await http.post(FAILING, json=asked, headers=key)
        assert again.status_code == 200
        assert "idempotent-replayed" not in again.headers
        assert len(model.asked) == 1
        assert len(await stored(http, session_id)) == 2


async def test_those_who_wait_for_a_turn_that_fails_are_told_why(
    http: httpx.AsyncClient, other: httpx.AsyncClient, upstream: Upstream
) -> None:
    asked_for, fail = asyncio.Event(), asyncio.Event()

    async def answer(_: Any) -> Any:
        asked_for.set()
        await fail.wait()
        return await json_answer(b"{}", status=500)

    upstream.answer = answer
    asked, key = {"message": ASKED, "session_id": new_session()}, new_key()
    sending = [
        asyncio.create_task(client.post(FAILING, json=asked, headers=key))
        for client in (http, other, http)
    ]
    await asked_for.wait()
    # Each of them waits for the same turn before that ends.
    await asyncio.sleep(0.5)
    fail.set()
    for answer_ in await asyncio.gather(*sending):
        assert answer_.status_code == 502, answer_.text


@pytest.mark.parametrize("value", ["", "x" * 256, "열쇠", "a\tb"])
async def test_a_key_that_is_none(http: httpx.AsyncClient, value: str) -> None:
    headers = [(b"Idempotency-Key", value.encode())]
    answer = await http.post(CHAT, json={"message": ASKED}, headers=headers)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "idempotency-key")


async def test_two_keys_are_refused(http: httpx.AsyncClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = await http.post(CHAT, json={"message": ASKED}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "idempotency-key")


@pytest.mark.parametrize(("path", "body"), SHAPES[:2])
async def test_a_broken_stream_goes_on_where_it_broke(
    http: httpx.AsyncClient,
    other: httpx.AsyncClient,
    upstream: Upstream,
    path: str,
    body: dict[str, Any],
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    asked = body | {"session_id": session_id, "stream": True, "resumable": True}
    model.say(1)
    seen = await read_until(http, asked, 3 if path == CHAT else 2, path)
    assert all(event.id for event in seen)
    message_id = seen[0].data["message_id"]
    stream = f"/v1/sessions/{session_id}/messages/{message_id}/stream"
    # It goes on while nobody listens; one comes back to another process, one sends it again.
    model.say(1)
    last = {"last-event-id": seen[-1].id}
    resuming = asyncio.create_task(other.get(stream, headers=last))
    sending = asyncio.create_task(other.post(path, json=asked, headers=last))
    await asyncio.sleep(0.3)
    model.say(100)
    rest = all_events((await resuming).text)
    assert all_events((await sending).text) == rest
    whole = all_events((await http.get(stream)).text)
    assert seen + rest == whole
    assert whole[-1].data == "[DONE]"
    numbers = [int(event.id.split(".")[1]) for event in whole[:-1]]
    assert numbers == list(range(1, len(whole)))
    assert len(model.asked) == 1
    assert [m["status"] for m in await stored(http, session_id)] == ["complete"] * 2


async def test_every_place_to_come_back_to(http: httpx.AsyncClient, upstream: Upstream) -> None:
    model, session_id = play_slowly(upstream), new_session()
    model.say(100)
    asked = {"message": ASKED, "session_id": session_id, "stream": True, "resumable": True}
    *whole, done = all_events((await http.post(CHAT, json=asked)).text)
    stream = f"/v1/sessions/{session_id}/messages/{whole[0].data['message_id']}/stream"
    for number, event in enumerate(whole[:-1], start=1):
        for last in (event.id, str(number)):
            answer = await http.get(stream, headers={"last-event-id": last})
            assert all_events(answer.text) == [*whole[number:], done]
    # Behind the last event there is nothing: a browser comes back no more.
    answer = await http.get(stream, headers={"last-event-id": whole[-1].id})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_what_nobody_comes_back_to_is_ended_and_kept_in_part(
    impatient: httpx.AsyncClient, http: httpx.AsyncClient, upstream: Upstream
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    asked = {"message": ASKED, "session_id": session_id, "stream": True, "resumable": True}
    model.say(2)
    seen = await read_until(impatient, asked, 4)
    await asyncio.wait_for(model.ended.wait(), 20)
    message_id = seen[0].data["message_id"]
    stream = f"/v1/sessions/{session_id}/messages/{message_id}/stream"
    async with asyncio.timeout(20):
        while not (messages := await stored(http, session_id)):
            await asyncio.sleep(0.05)
    assert [(m["content"], m["status"]) for m in messages] == [
        (ASKED, "partial"),
        ("하나 둘", "partial"),
    ]
    (error,) = all_events((await http.get(stream, headers={"last-event-id": seen[-1].id})).text)
    assert (error.name, error.data["error"]["code"]) == ("error", "stream_abandoned")
    answer = await http.get(stream, headers={"last-event-id": error.id})
    assert answer.status_code == 204


async def test_an_unkept_stream_ends_with_its_client(
    http: httpx.AsyncClient, upstream: Upstream
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    model.say(1)
    seen = await read_until(http, {"message": ASKED, "session_id": session_id, "stream": True}, 3)
    assert [event.id for event in seen] == ["", "", ""]
    await asyncio.wait_for(model.ended.wait(), 20)
    stream = f"/v1/sessions/{session_id}/messages/{seen[0].data['message_id']}/stream"
    assert (await http.get(stream)).status_code == 404


@pytest.mark.parametrize(
    ("headers", "body", "status", "param"),
    [
        ({"last-event-id": "x"}, {}, 400, "last-event-id"),
        ({"last-event-id": "msg_" + "0" * 32 + ".1"}, {}, 404, None),
        ({}, {"stream": False}, 400, "resumable"),
    ],
)
async def test_what_can_t_be_resumed(
    http: httpx.AsyncClient, headers: dict[str, str], body: dict[str, Any], status: int, param: str
) -> None:
    asked = {"message": ASKED, "stream": True, "resumable": True} | body
    answer = await http.post(CHAT, json=asked, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_an_event_of_another_request(http: httpx.AsyncClient, upstream: Upstream) -> None:
    model = play_slowly(upstream)
    model.say(100)
    asked = {"message": ASKED, "session_id": new_session(), "stream": True, "resumable": True}
    first, *_ = all_events((await http.post(CHAT, json=asked)).text)
    other_question = asked | {"message": "연차 휴가는 며칠인가요?"}
    answer = await http.post(CHAT, json=other_question, headers={"last-event-id": first.id})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "event_of_another_request")


async def test_one_message_of_a_session_at_a_time_in_their_order(
    http: httpx.AsyncClient,
    other: httpx.AsyncClient,
    upstream: Upstream,
    database: asyncpg.Connection,
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    sending = []
    for number in range(6):
        body = {"message": ASKED + "?" * number, "session_id": session_id}
        sending.append(asyncio.create_task((http, other)[number % 2].post(CHAT, json=body)))
        if number == 0:
            await model.started(1)
        else:
            await queued(database, session_id, number)
    model.say(1000)
    assert {answer.status_code for answer in await asyncio.gather(*sending)} == {200}
    assert model.most_busy == 1
    questions = [m["content"] for m in await stored(http, session_id) if m["role"] == "user"]
    assert questions == [ASKED + "?" * number for number in range(6)]
    # Each was answered knowing those before it.
    assert [sum(m["role"] == "user" for m in messages) for messages in model.asked] == [
        *range(1, 7)
    ]


async def test_too_many_or_too_long_is_429(
    http: httpx.AsyncClient,
    impatient: httpx.AsyncClient,
    upstream: Upstream,
    database: asyncpg.Connection,
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    body = {"message": ASKED, "session_id": session_id}
    running = asyncio.create_task(http.post(CHAT, json=body))
    await model.started(1)
    answer = await impatient.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "session_busy")
    assert int(answer.headers["retry-after"]) > 0
    sending = []
    for count in (1, 2):
        sending.append(asyncio.create_task(http.post(CHAT, json=body)))
        await queued(database, session_id, count)
    answer = await impatient.post(CHAT, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "session_queue_full")
    assert int(answer.headers["retry-after"]) > 0
    model.say(100)
    for answer in await asyncio.gather(running, *sending):
        assert answer.status_code == 200
    assert len(await stored(http, session_id)) == 6


@pytest.mark.parametrize("key", [{}, new_key()])
async def test_who_leaves_the_queue_is_not_waited_for(
    http: httpx.AsyncClient,
    impatient: httpx.AsyncClient,
    upstream: Upstream,
    database: asyncpg.Connection,
    key: dict[str, str],
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    body = {"message": ASKED, "session_id": session_id}
    running = asyncio.create_task(http.post(CHAT, json=body))
    await model.started(1)
    client = impatient if key else http
    leaving = asyncio.create_task(client.post(CHAT, json=body, headers=key))
    await queued(database, session_id, 1)
    leaving.cancel()
    await queued(database, session_id, 0)
    model.say(4)
    assert (await running).status_code == 200
    assert len(await stored(http, session_id)) == 2


async def test_a_session_that_is_deleted_meanwhile_stays_so(
    http: httpx.AsyncClient, upstream: Upstream, database: asyncpg.Connection
) -> None:
    model, session_id = play_slowly(upstream), new_session()
    body = {"message": ASKED, "session_id": session_id}
    model.say(4)
    assert (await http.post(CHAT, json=body)).status_code == 200
    sending = [asyncio.create_task(http.post(CHAT, json=body))]
    await model.started(2)
    sending.append(asyncio.create_task(http.post(CHAT, json=body, headers=new_key())))
    await queued(database, session_id, 1)
    assert (await http.delete(f"/v1/sessions/{session_id}")).status_code == 204
    model.say(100)
    for answer in await asyncio.gather(*sending):
        assert answer.status_code == 409, answer.text
    assert (await http.get(f"/v1/sessions/{session_id}")).status_code == 404
    query = "SELECT count(*) FROM turns WHERE session_id = $1 AND state <> 'failed'"
    assert await database.fetchval(query, session_id) == 0


async def test_a_deleted_session_takes_its_answers_with_it(
    http: httpx.AsyncClient, upstream: Upstream, database: asyncpg.Connection
) -> None:
    model, session_id, key = play_slowly(upstream), new_session(), new_key()
    model.say(100)
    asked = {"message": ASKED, "session_id": session_id, "stream": True}
    first, *_ = all_events((await http.post(CHAT, json=asked, headers=key)).text)
    message_id = first.data["message_id"]
    parts = "SELECT count(*) FROM turn_parts WHERE message = $1"
    assert await database.fetchval(parts, message_id) > 0
    assert (await http.delete(f"/v1/sessions/{session_id}")).status_code == 204
    stream = f"/v1/sessions/{session_id}/messages/{message_id}/stream"
    assert (await http.get(stream)).status_code == 404
    assert await database.fetchval(parts, message_id) == 0
    again = await http.post(CHAT, json=asked, headers=key)
    assert "idempotent-replayed" not in again.headers
    assert len(model.asked) == 2
