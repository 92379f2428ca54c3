"""What three processes share holds over all of them: limits, budgets, revocations, the cache."""

import asyncio

from fire_support import NANOS_PER_TOKEN, PROMPT_TOKENS, Caller, Fire, Gateway, tokens_of

TOKENS = 20


async def test_tokens_per_minute(fire: Fire) -> None:
    limit = 6_000
    caller = await fire.caller()
    counted = await fire.limit(caller, tokens_per_minute=limit) * (PROMPT_TOKENS + 1)
    served = fire.served(caller)
    async with fire.storm(caller, max_tokens=TOKENS) as ends, asyncio.timeout(60):
        while ends["rate_limit_exceeded"] < 50:
            await asyncio.sleep(0.1)
    assert set(ends) == {"ok", "rate_limit_exceeded"}
    # What is reserved is a few tokens more than what is taken; no more fits then.
    assert limit * 0.99 - 60 <= served.tokens + counted <= limit


async def test_requests_at_a_time(fire: Fire) -> None:
    caller = await fire.caller()
    await fire.limit(caller, concurrent_requests=7, requests_per_minute=100_000)
    fire.upstream.pause_s = 0.05
    async with fire.storm(caller, max_tokens=3) as ends, asyncio.timeout(60):
        while ends["rate_limit_exceeded"] < 100 or ends["ok"] < 50:
            await asyncio.sleep(0.1)
    assert set(ends) == {"ok", "rate_limit_exceeded"}
    assert fire.served(caller).most == 7


async def test_a_budget_is_spent_to_its_end_and_never_beyond(fire: Fire) -> None:
    caller = await fire.caller()
    amount = 400 * (PROMPT_TOKENS + TOKENS) * NANOS_PER_TOKEN
    budget = await fire.budget(caller, amount)
    served = fire.served(caller)
    async with (
        fire.storm(caller, max_tokens=TOKENS) as whole,
        fire.storm(caller, max_tokens=TOKENS, stream=True) as streams,
        asyncio.timeout(90),
    ):
        # Each process spends what it has leased before nothing is left anywhere.
        while (
            min(whole["budget_exhausted"], streams["budget_exhausted"]) < 30
            or served.cost < amount * 0.9
        ):
            await asyncio.sleep(0.1)
    assert set(whole + streams) == {"ok", "budget_exhausted"}
    assert served.cost <= amount
    assert tokens_of(await fire.until_told(caller)) == served.tokens
    state = await fire.until_settled(budget)
    assert state["spent"] == served.cost


async def test_a_revoked_token_is_refused_everywhere(fire: Fire) -> None:
    caller = await fire.caller()
    for gateway in fire.gateways:
        assert (await fire.ask(gateway, caller)).status == 200
    form = {"token": caller.token, "client_id": caller.client, "client_secret": caller.secret}
    async with fire.http.post(f"{fire.gateways[0].url}/oauth/revoke", data=form) as answer:
        assert answer.status == 200
    for gateway in fire.gateways:
        async with asyncio.timeout(30):
            while (reply := await fire.ask(gateway, caller)).status == 200:
                await asyncio.sleep(0.05)
        assert (reply.status, reply.code) == (401, "invalid_token")


async def test_a_cached_answer_is_its_tenants_on_every_process(fire: Fire) -> None:
    ours = await fire.caller(model="cached")
    theirs = await fire.caller(tenant="other", model="cached")
    for number, gateway in enumerate(fire.gateways):
        elsewhere = fire.gateways[number - 1]
        message = {"role": "user", "content": f"cached {number}?"}

        async def hit(caller: Caller, where: Gateway, message: dict[str, str] = message) -> bool:
            reply = await fire.ask(where, caller, messages=[message])
            assert reply.status == 200
            return reply.headers.get("x-naru-cache") == "hit"

        assert not await hit(ours, gateway)
        async with asyncio.timeout(30):
            while not await hit(ours, elsewhere):
                await asyncio.sleep(0.05)
        assert not await hit(theirs, elsewhere)
        assert await hit(ours, gateway)
