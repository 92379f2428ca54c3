"""`deploy/compose.yaml`, read as Compose reads it where that matters."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
GATEWAYS = ["gateway-1", "gateway-2"]


def example() -> dict[str, str]:
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(line.lstrip("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))


def environment(service: str, values: dict[str, str]) -> dict[str, str]:
    """What a container's environment is, Compose's `${NAME:-…}` and `${NAME:?…}` replaced."""

    def value(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        assert kind == "-" or name in values, f"{name}: {text}"
        return values.get(name) or (text if kind == "-" else "")

    entries = SERVICES[service]["environment"].items()
    return {key: re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, each) for key, each in entries}


def test_the_settings_are_settings() -> None:
    secrets = dict.fromkeys(example(), "0123456789abcdef0123456789abcdef")
    values = {**secrets, "PUBLIC_URL": "https://naru.example.com"}
    for name in GATEWAYS:
        settings = load_settings(DEPLOY / "naru.yaml", environment(name, values))
        assert settings.issuer == "https://naru.example.com"
        assert settings.database.url
        assert settings.redis.url
        assert settings.engines["vllm"].api_key
        assert settings.telemetry.metrics_port == 9090


def test_every_variable_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", TEXT)) - {"COMMIT", "HTTP_PORT", "HTTPS_PORT"}
    assert asked == set(example())


def test_no_secret_has_a_default() -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SECRET_KEY", "VLLM_API_KEY"):
        assert set(re.findall(rf"\$\{{{name}(..)", TEXT)) == {":?"}
        assert example()[name] == ""


def test_there_is_a_profile_for_the_gpu_and_one_for_the_cpu() -> None:
    profiles = {name: each["profiles"] for name, each in SERVICES.items() if "profiles" in each}
    assert profiles == {"vllm": ["gpu"], "vllm-cpu": ["cpu"], "dcgm-exporter": ["gpu"]}
    for name in ("vllm", "vllm-cpu"):
        assert SERVICES[name]["networks"]["front"]["aliases"] == ["vllm"]
        # Without the two a stream does not tell its usage.
        wanted = {"--enable-force-include-usage", "--enable-prompt-tokens-details"}
        assert wanted <= set(SERVICES[name]["command"])


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service


def test_each_gateway_has_a_disk_of_its_own() -> None:
    disks = [
        volume.split(":")[0]
        for name in GATEWAYS
        for volume in SERVICES[name]["volumes"]
        if volume.endswith(":/var/lib/naru")
    ]
    assert disks == GATEWAYS
    assert set(GATEWAYS) <= COMPOSE["volumes"].keys()


def test_only_nginx_is_open_to_others() -> None:
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert published.keys() == {"nginx", "grafana"}
    assert all(port.startswith("127.0.0.1:") for port in published["grafana"])
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["back"]


def test_a_container_has_longer_to_stop_than_its_streams() -> None:
    server = load_settings(DEPLOY / "naru.yaml", {"NARU__ENGINES__VLLM__API_KEY": "k"}).server
    needed_s = server.drain_delay_s + server.grace_s + 30
    for name in GATEWAYS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= needed_s


def test_every_image_has_a_version() -> None:
    images = [each["image"] for each in SERVICES.values() if not each["image"].startswith("${")]
    assert len(images) > 8
    assert all(re.search(r":v?\d+(\.\d+)+", image) for image in images)


def test_what_is_mounted_exists() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            elif not source.startswith(("/", "$")):
                assert source in COMPOSE["volumes"], name


def test_prometheus_scrapes_services_that_exist() -> None:
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    for job in jobs["scrape_configs"]:
        targets = [
            target.split(":")[0]
            for config in job.get("static_configs", ())
            for target in config["targets"]
        ]
        targets += [name for config in job.get("dns_sd_configs", ()) for name in config["names"]]
        assert set(targets) <= SERVICES.keys()
        for target in targets:
            networks = SERVICES[target]["networks"]
            assert set(networks) & {"front", "back"}
