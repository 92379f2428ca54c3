"""`naru serve`: settings, then the supervisor."""

import asyncio
import time
from pathlib import Path

import typer

from config.load import load_settings, model_alias
from config.settings import Settings
from gateway.children import say
from gateway.credentials import FILE_NAME
from gateway.signals import serve
from gateway.supervisor import Launch


def run(config_file: Path | None, *, demo: bool, parent: int | None) -> int:
    """Serve until a signal; return the exit status.

    Raises:
        ConfigError: Something the operator must change keeps the service from starting.
    """
    started = time.monotonic()
    settings = load_settings(config_file)

    async def load_demo(database_url: str) -> None:
        from gateway.demo import provision  # noqa: PLC0415 - not wanted without --demo

        await provision(settings, database_url, model_alias())

    def announce() -> None:
        say(f"\nNaru is ready at {settings.server.url} in {time.monotonic() - started:.1f} s")
        typer.echo(_what_to_try(settings) if demo else "", nl=demo)

    launch = Launch(config_file, parent, load_demo if demo else None, announce)
    return asyncio.run(serve(settings, launch))


def _what_to_try(settings: Settings) -> str:
    env = settings.data_dir / FILE_NAME
    return f"""
Try it from another terminal, in this folder:

  set -a; . {env if env.is_absolute() else f"./{env}"}; set +a

  TOKEN=$(curl -s $NARU_URL/oauth/token -u $NARU_CLIENT_ID:$NARU_CLIENT_SECRET \\
    -d grant_type=client_credentials | sed 's/.*"access_token": *"\\([^"]*\\)".*/\\1/')

  curl -s $NARU_URL/v1/agents/$NARU_AGENT/chat -H "Authorization: Bearer $TOKEN" \\
    -H 'content-type: application/json' -d '{{"message": "연차 휴가는 며칠인가요?"}}'

  curl -s $NARU_URL/v1/agents/$NARU_AGENT/chat -H "Authorization: Bearer $TOKEN" \\
    -H 'content-type: application/json' -d '{{"message": "How many days of annual leave?"}}'

With the openai SDK (pip install openai):

  from openai import OpenAI; import os
  client = OpenAI(base_url=os.environ["NARU_URL"] + "/v1", api_key=os.environ["NARU_API_KEY"])
  print(client.chat.completions.create(model="hr-assistant", messages=[
      {{"role": "user", "content": "연차 휴가는 며칠인가요?"}}]).choices[0].message.content)

Your own documents: .venv/bin/naru ingest FILE…     Ctrl-C stops everything.
"""
