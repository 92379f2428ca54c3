"""A session belongs to tenant, client and end user; for anybody else it is not there."""

import httpx

CHAT = "/v1/agents/hr/chat"


async def test_own_sessions(http: httpx.AsyncClient) -> None:
    await http.post(CHAT, json={"message": "병가는 며칠인가요?", "session_id": "mine"})
    assert (await http.get("/v1/sessions/mine")).json()["id"] == "mine"
    listed = (await http.get("/v1/sessions")).json()["data"]
    assert "mine" in [session["id"] for session in listed]
    assert (await http.delete("/v1/sessions/mine")).status_code == 204
    assert (await http.get("/v1/sessions/mine")).status_code == 404
    assert (await http.get("/v1/sessions/mine/messages")).status_code == 404


async def test_others_do_not_see_them(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await http.post(CHAT, json={"message": "연차 휴가는 며칠인가요?", "session_id": "private"})
    for other in (colleague, stranger):
        missing = (await other.get("/v1/sessions/never-was")).json()
        for path in ("/v1/sessions/private", "/v1/sessions/private/messages"):
            answer = await other.get(path)
            assert (answer.status_code, answer.json()) == (404, missing)
        assert (await other.delete("/v1/sessions/private")).status_code == 404
        assert (await other.get("/v1/sessions")).json()["data"] == []


async def test_the_same_id_is_another_conversation_for_another_client(
    http: httpx.AsyncClient, colleague: httpx.AsyncClient
) -> None:
    await http.post(CHAT, json={"message": "연차 휴가는 며칠인가요?", "session_id": "shared-name"})
    reply = await colleague.post(
        CHAT, json={"message": "그럼 3년 차는요?", "session_id": "shared-name"}
    )
    assert reply.status_code == 200
    messages = (await colleague.get("/v1/sessions/shared-name/messages")).json()["data"]
    assert len(messages) == 2
    await colleague.delete("/v1/sessions/shared-name")


async def test_an_end_users_conversation_is_its_own(http: httpx.AsyncClient) -> None:
    named = {"anna": {"x-naru-end-user": "anna"}, "bora": {"x-naru-end-user": "bora"}, "": {}}
    for who in ("anna", ""):
        body = {"message": f"병가는 며칠인가요? {who}", "session_id": "theirs"}
        assert (await http.post(CHAT, json=body, headers=named[who])).status_code == 200
    for who in ("anna", ""):
        messages = await http.get("/v1/sessions/theirs/messages", headers=named[who])
        assert messages.json()["data"][0]["content"] == f"병가는 며칠인가요? {who}"
        assert len(messages.json()["data"]) == 2
    missing = await http.get("/v1/sessions/never-was", headers=named["bora"])
    foreign = await http.get("/v1/sessions/theirs", headers=named["bora"])
    assert (foreign.status_code, foreign.json()) == (404, missing.json())
    assert (await http.get("/v1/sessions", headers=named["bora"])).json()["data"] == []
    for who in ("anna", ""):
        assert (await http.delete("/v1/sessions/theirs", headers=named[who])).status_code == 204


async def test_strange_ids_are_not_found(http: httpx.AsyncClient) -> None:
    for path in ("%00", "%01", "%ff", "a%2fb", "..%2f..", "x" * 5000):
        assert (await http.get(f"/v1/sessions/{path}")).status_code == 404


async def test_user_in_the_body_is_the_end_user_as_the_header_is(http: httpx.AsyncClient) -> None:
    path = "/v1/agents/hr/chat/completions"
    messages = [{"role": "user", "content": "병가는 며칠인가요?"}]
    body = {"model": "hr", "messages": messages, "session_id": "by-body", "user": "anna"}
    assert (await http.post(path, json=body)).status_code == 200
    assert (await http.get("/v1/sessions/by-body")).status_code == 404
    anna = {"x-naru-end-user": "anna"}
    assert (await http.post(path, json=body, headers=anna)).status_code == 200
    found = await http.get("/v1/sessions/by-body/messages", headers=anna)
    assert len(found.json()["data"]) == 4
    for user, headers in (("anna", {"x-naru-end-user": "bora"}), ("안나", {}), ("", {})):
        answer = await http.post(path, json=body | {"user": user}, headers=headers)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (
            *(400, "invalid_end_user", "user"),
        )
    assert (await http.delete("/v1/sessions/by-body", headers=anna)).status_code == 204


async def test_pages(http: httpx.AsyncClient) -> None:
    caller = {"x-naru-end-user": "turns-pages"}
    for number in range(3):
        body = {"message": "병가는 며칠인가요?", "session_id": f"page/{number}"}
        await http.post(CHAT, json=body, headers=caller)
    await http.post(CHAT, json=body | {"session_id": "page/0"}, headers=caller)
    seen, after = [], None
    for more in (True, True, False):
        params = {"limit": 1} | ({"after": after} if after else {})
        page = (await http.get("/v1/sessions", params=params, headers=caller)).json()
        assert page["has_more"] is more
        seen += [session["id"] for session in page["data"]]
        after = page["last_id"]
    assert seen == ["page/0", "page/2", "page/1"]
    path = "/v1/sessions/page%2F0/messages"
    first = (await http.get(path, params={"limit": 3}, headers=caller)).json()
    assert first["has_more"] is True
    rest = await http.get(path, params={"after": first["last_id"]}, headers=caller)
    assert [len(first["data"]), len(rest.json()["data"]), rest.json()["has_more"]] == [3, 1, False]
    one = await http.get(f"{path}/{first['last_id']}", headers=caller)
    assert one.json() == first["data"][-1]
    for wrong in (f"{path}?after=nothing", "/v1/sessions?after=nothing", f"{path}/nothing"):
        assert (await http.get(wrong, headers=caller)).status_code == 404
    for name in seen:
        await http.delete(f"/v1/sessions/{name.replace('/', '%2F')}", headers=caller)


async def test_a_fork_goes_its_own_way(http: httpx.AsyncClient) -> None:
    for message in ("연차 휴가는 며칠인가요?", "그럼 3년 차는요?"):
        await http.post(CHAT, json={"message": message, "session_id": "trunk"})
    messages = (await http.get("/v1/sessions/trunk/messages")).json()["data"]
    fork = {"session_id": "branch", "message_id": messages[1]["id"]}
    made = await http.post("/v1/sessions/trunk/fork", json=fork)
    assert (made.status_code, made.json()["id"]) == (201, "branch")
    copied = (await http.get("/v1/sessions/branch/messages")).json()["data"]
    assert [{**m, "id": ""} for m in copied] == [{**m, "id": ""} for m in messages[:2]]
    assert {m["id"] for m in copied}.isdisjoint(m["id"] for m in messages)
    again = await http.post("/v1/sessions/trunk/fork", json=fork)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "session_exists")
    reply = await http.post(CHAT, json={"message": "그럼 3년 차는요?", "session_id": "branch"})
    assert "16일" in reply.json()["response"]
    whole = (await http.post("/v1/sessions/trunk/fork", json={})).json()["id"]
    assert len((await http.get(f"/v1/sessions/{whole}/messages")).json()["data"]) == 4
    await http.delete("/v1/sessions/trunk")
    assert len((await http.get("/v1/sessions/branch/messages")).json()["data"]) == 4
    for name in ("branch", whole):
        await http.delete(f"/v1/sessions/{name}")
