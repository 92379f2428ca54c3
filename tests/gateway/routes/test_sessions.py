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
    for path in ("%00", "%ff", "a%2fb", "..%2f..", "x" * 5000):
        assert (await http.get(f"/v1/sessions/{path}")).status_code == 404
