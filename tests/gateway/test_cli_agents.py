"""`naru agent` against a running service."""

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
from gateway_support import Service


async def naru(service: Service, *arguments: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NARU")}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-P", "-m", "gateway", "agent", *arguments],
        env=clean | {"NARU_URL": service.url, "NARU_API_KEY": service.key, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


async def say(service: Service, *arguments: str) -> str:
    result = await naru(service, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


async def test_an_agent_from_its_file_to_its_end(
    service: Service, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    file = tmp_path / "agent.yaml"
    text = f"tenant: ignored\nname: {name}\ninstructions: ''\nmodel: default\n"
    file.write_text(f"{text}vector_stores: [handbook]\nvariables: {{a: {{type: integer}}}}\n")
    assert await say(service, "apply", str(file)) == f"{name}@1"
    assert await say(service, "apply", str(file)) == f"{name}@1"
    file.write_text(f"{text}vector_stores: [{service.store}]\ntop_k: 7\n")
    assert await say(service, "apply", str(file)) == f"{name}@2"
    shown = json.loads(await say(service, "get", name))
    assert (shown["top_k"], shown["variables"]) == (7, {})
    assert shown["vector_stores"] == [service.store]
    assert f"{name}  version 2  default  from api" in await say(service, "list")
    assert await say(service, "rollback", name) == f"{name}@1"
    lines = (await say(service, "versions", name)).splitlines()
    assert [line.split()[0] for line in lines] == [f"{name}@2", f"{name}@1"]
    await say(service, "alias", name, "prod", "1:90", "2:10")
    alias = (await http.get(f"/v1/agents/{name}/aliases/prod")).json()
    assert [target["weight"] for target in alias["targets"]] == [90, 10]
    await say(service, "delete", name)
    assert (await http.get(f"/v1/agents/{name}")).status_code == 404


async def test_what_goes_wrong_is_one_line(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("name: hr\ncolour: red\n")
    for arguments, reason in (
        (("apply", str(file)), "agent.yaml is no agent"),
        (("apply", "nowhere.yaml"), "can't read nowhere.yaml"),
        (("alias", "hr", "prod", "one"), "'one' is no NUMBER"),
        (("rollback", "nobody"), "no agent `nobody` here"),
        (("get", "../models"), "no agent"),
        (("delete", "../vector_stores/vs_1"), "no agent"),
        (("versions", ".."), "'..' is no id"),
    ):
        result = await naru(service, *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1, result.stderr
        assert reason in result.stderr
