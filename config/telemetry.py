"""What operators see: metrics, traces, logs. None of it holds what callers say."""

from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, Field, SecretStr, StringConstraints, model_validator

from config.section import Section

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class TelemetrySettings(Section):
    """Metrics for Prometheus, traces and metrics for OpenTelemetry, and what logs look like."""

    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Where `GET /metrics` is answered instead of on the service's own port; on `metrics_host`."""
    metrics_host: str = "127.0.0.1"
    server_timing: bool = True
    """Whether answers say in `Server-Timing` how long what took."""
    logs: Literal["auto", "pretty", "json"] = "auto"
    """`auto` writes one JSON object a line, and plain lines on a terminal."""
    exporter: Literal["none", "console", "otlp"] = "none"
    """Where traces and `gen_ai` metrics go: nowhere, standard error, or `otlp_url`."""
    otlp_url: AnyHttpUrl = AnyHttpUrl("http://127.0.0.1:4318")
    """An OTLP collector's base URL; it is sent to `/v1/traces` and `/v1/metrics` beneath it."""
    otlp_headers: dict[HeaderName, SecretStr] = Field(default={})
    sample_ratio: float = Field(default=0.01, ge=0, le=1)
    """Share of requests that are traced; a `traceparent` that says otherwise is obeyed."""
    trust_traceparent: bool = True
    """Whether a caller's `traceparent` decides that its request is traced, and under which id."""
    hosted_traceparent: bool = False
    """Whether hosted targets are sent a `traceparent` too; engines of our own always are."""
    content: bool = False
    """Whether spans hold what was asked and answered, personal data masked as in logs."""
    max_queue: int = Field(default=2048, ge=1)
    """How many ended spans wait for their export; further ones are dropped and counted."""
    export_interval_s: float = Field(default=5.0, gt=0)
    flush_timeout_s: float = Field(default=5.0, gt=0)
    """Longest time that a process that stops tries to export what is left."""
    service_name: str = "naru"

    @model_validator(mode="after")
    def _content_is_exported(self) -> Self:
        if self.content and self.exporter == "none":
            raise ValueError("content: goes with an exporter only; set exporter too")
        return self
