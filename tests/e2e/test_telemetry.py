"""Telemetry of a real `naru serve` with two web workers: one sum, kept when a worker is killed."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from naru_process import NaruProcess
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from support import free_port

from gateway.credentials import Credentials

_LIVE = ("naru_http_requests_total", "GET", "/health/live", "2xx")
Samples = dict[tuple[str, ...], float]


class Collector(ThreadingHTTPServer):
    """An OTLP collector; `spans` are name and instance."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[tuple[str, str]] = []
        self.keys: set[str | None] = set()


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.server.keys.add(self.headers["x-key"])
            for told in ExportTraceServiceRequest.FromString(body).resource_spans:
                named = {each.key: each.value.string_value for each in told.resource.attributes}
                instance = named["service.instance.id"].split(":")[1]
                spans = (span for scope in told.scope_spans for span in scope.spans)
                self.server.spans += [(span.name, instance) for span in spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _scrape(port: int) -> Samples:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _until(port: int, holds: Callable[[Samples], bool]) -> Samples:
    deadline = time.monotonic() + 60
    while not holds(told := _scrape(port)):
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    return told


def _look(naru: NaruProcess, times: int) -> None:
    """Ask over new connections, which the kernel gives to any of the workers."""
    for _ in range(times):
        assert naru.get("/health/live")[0] == 200


def _status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def _log_lines(naru: NaruProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in naru.output.splitlines() if line.startswith("{")]


def test_two_workers_tell_one_sum_to_who_is_at_the_operators_port(
    tmp_path: Path, collector: Collector
) -> None:
    operators = free_port()
    environ = {
        "NARU__SERVER__WORKERS": "2",
        "NARU__TELEMETRY__METRICS_PORT": str(operators),
        "NARU__TELEMETRY__EXPORTER": "otlp",
        "NARU__TELEMETRY__OTLP_URL": f"http://127.0.0.1:{collector.server_port}",
        "NARU__TELEMETRY__OTLP_HEADERS": "{x-key: k}",
        "NARU__TELEMETRY__SAMPLE_RATIO": "1",
        # Nothing goes out before the end, when all must.
        "NARU__TELEMETRY__EXPORT_INTERVAL_S": "3600",
    }
    with NaruProcess(tmp_path / ".naru", "--demo", environ=environ) as naru:
        naru.wait_until_ready()
        assert _status(operators, "/v1/models") == 404
        assert _status(naru.port, "/metrics") == 404
        _look(naru, 20)
        both = {("naru_process_up", "web-1"), ("naru_process_up", "web-2")}
        _until(operators, lambda told: told.get(_LIVE) == 20 and both <= told.keys())

        killed = naru.children("gateway.web_worker")[0]
        name = killed.environ()["NARU_PROCESS"]
        killed.kill()
        naru.wait_for_output(f"{name} ended")
        assert _scrape(operators)[_LIVE] == 20
        _until(operators, lambda told: both <= told.keys())
        _look(naru, 20)
        _until(operators, lambda told: told[_LIVE] == 40)

        credentials = Credentials.read(naru.data_dir)
        assert credentials
        answer = httpx.post(
            f"{naru.url}/v1/chat/completions",
            headers={"authorization": f"Bearer {credentials.api_key}"},
            json={"model": "default", "messages": [{"role": "user", "content": "hi"}]},
            timeout=60,
        )
        lines = _log_lines(naru)

    said = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
    assert {line["logger"] for line in said} == {"gateway.generation.ladder"}
    assert len(said[0]["trace_id"]) == 32
    live = [instance for name, instance in collector.spans if name == "GET /health/live"]
    assert 20 <= len(live) <= 40
    assert "POST /v1/chat/completions" in {name for name, _ in collector.spans}
    assert {"web-1", "web-2"} >= set(live)
    assert collector.keys == {"k"}
