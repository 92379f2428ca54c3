"""The Helm chart, rendered by Helm itself and checked against Kubernetes' own schemas."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from config.load import load_settings

pytest.importorskip("helm_python", reason="Helm's wheel is for Linux on x86-64")
from helm_python import Chart, HelmValuesError, lint

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "naru"
EXAMPLES = DEPLOY / "helm" / "examples"
KUBERNETES = ["1.27", "1.31", "1.37"]
# Of the operators' own kinds there is no schema: they are read, not checked.
CUSTOM = {"ServiceMonitor", "PrometheusRule"}

Manifest = dict[str, Any]


def render(values: Manifest | None = None, name: str = "naru") -> dict[tuple[str, str], Manifest]:
    with Chart.load(CHART) as chart:
        files = chart.render(values=values or {}, name=name, namespace="ai")
    documents = [
        each for text in files.values() for each in yaml.safe_load_all(text) if each is not None
    ]
    found = {(each["kind"], each["metadata"]["name"]): each for each in documents}
    assert len(found) == len(documents), "two manifests have one name"
    return found


def values_of(example: str) -> Manifest:
    return yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())


@pytest.fixture(params=["defaults", "production", "elsewhere"])
def values(request: pytest.FixtureRequest) -> Manifest:
    return {} if request.param == "defaults" else values_of(request.param)


def pods(manifests: dict[tuple[str, str], Manifest]) -> list[Manifest]:
    return [
        each["spec"]["template"]["spec"]
        for each in manifests.values()
        if "template" in each.get("spec", {})
    ]


def test_helm_finds_no_fault() -> None:
    report = lint(CHART)
    assert report["errors"] == []
    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(values: Manifest, version: str) -> None:
    for (kind, name), manifest in render(values).items():
        if kind not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)
        assert len(name) <= 63


def test_the_settings_are_settings(values: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "naru.yaml"
    file.write_text(render(values)["ConfigMap", "naru"]["data"]["naru.yaml"])
    settings = load_settings(file, {"OPENAI_API_KEY": "from-the-secret"})
    assert settings.server.port == 8080
    assert settings.telemetry.metrics_port == 9090
    assert settings.data_dir == Path("/var/lib/naru")


def test_every_container_is_confined(values: Manifest) -> None:
    for pod in pods(render(values)):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            if container["name"] != "vllm":
                assert security["readOnlyRootFilesystem"] is True
                assert pod["securityContext"]["runAsNonRoot"] is True


def test_secrets_stand_in_none_of_it(values: Manifest) -> None:
    manifests = render(values)
    assert not [name for kind, name in manifests if kind == "Secret"]
    gateway = manifests[values.get("kind", "Deployment"), "naru"]["spec"]["template"]["spec"]
    assert gateway["containers"][0]["envFrom"] == [{"secretRef": {"name": "naru"}}]
    assert "postgresql://" not in json.dumps(list(manifests.values()))


def test_what_is_selected_exists(values: Manifest) -> None:
    """A service, a budget or a policy that selects no pod is a silent mistake."""
    manifests = render(values)
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in manifests.values()
        if "template" in each.get("spec", {})
    ]
    for kind, path in (
        ("Service", ("selector",)),
        ("PodDisruptionBudget", ("selector", "matchLabels")),
        ("NetworkPolicy", ("podSelector", "matchLabels")),
    ):
        for manifest in (each for (found, _), each in manifests.items() if found == kind):
            selector = manifest["spec"]
            for key in path:
                selector = selector[key]
            assert any(selector.items() <= each.items() for each in labels)


def test_a_pod_has_longer_to_stop_than_its_streams(tmp_path: Path) -> None:
    manifests = render({"graceSeconds": 120})
    file = tmp_path / "naru.yaml"
    file.write_text(manifests["ConfigMap", "naru"]["data"]["naru.yaml"])
    server = load_settings(file, {}).server
    assert server.grace_s == 120
    pod = manifests["Deployment", "naru"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= server.drain_delay_s + server.grace_s + 30


def test_the_autoscaler_looks_at_the_queue_and_the_tokens() -> None:
    manifests = render({"autoscaling": {"enabled": True}})
    metrics = manifests["HorizontalPodAutoscaler", "naru"]["spec"]["metrics"]
    asked = {each["pods"]["metric"]["name"] for each in metrics if each["type"] == "Pods"}
    adapter = yaml.safe_load((EXAMPLES / "prometheus-adapter.yaml").read_text())
    served = {each["name"]["as"] for each in adapter["rules"]["custom"]}
    assert asked == served == {"naru_engine_queue_length", "naru_tokens_per_second"}
    assert "replicas" not in manifests["Deployment", "naru"]["spec"]


def test_each_replica_of_vllm_has_an_address() -> None:
    manifests = render({"vllm": {"enabled": True, "replicas": 2, "name": "qwen"}})
    engines = yaml.safe_load(manifests["ConfigMap", "naru"]["data"]["naru.yaml"])["engines"]
    assert engines["qwen"]["urls"] == [
        f"http://naru-qwen-{number}.naru-qwen.ai.svc:8000/v1" for number in (0, 1)
    ]
    service = manifests["Service", "naru-qwen"]["spec"]
    assert service["clusterIP"] == "None"
    vllm = manifests["StatefulSet", "naru-qwen"]["spec"]
    assert vllm["serviceName"] == "naru-qwen"
    limits = vllm["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


def test_the_journal_lives_on_a_volume() -> None:
    pod = render()["Deployment", "naru"]["spec"]["template"]["spec"]
    (data,) = (each for each in pod["volumes"] if each["name"] == "data")
    assert data["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]
    stateful = render({"kind": "StatefulSet"})["StatefulSet", "naru"]["spec"]
    assert [each["metadata"]["name"] for each in stateful["volumeClaimTemplates"]] == ["data"]


def test_the_tables_are_made_before_the_pods() -> None:
    job = render()["Job", "naru-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["migrate"]


def test_the_rules_are_those_that_are_tested() -> None:
    manifest = render({"rules": {"enabled": True}})["PrometheusRule", "naru"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "naru.rules.yaml").read_text())
    assert manifest["spec"] == rules


def test_another_release_has_names_of_its_own() -> None:
    assert all("second" in name for _, name in render({"vllm": {"enabled": True}}, "second"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "DaemonSet"},
        {"existingSecret": ""},
        {"publicUrl": "https://naru.example.com/path"},
        {"engines": {"elsewhere": {"urls": []}}},
        {"workers": 0},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong: Manifest) -> None:
    with Chart.load(CHART) as chart, pytest.raises(HelmValuesError):
        chart.validate_schema(wrong)


def test_the_version_is_the_package_s() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (DEPLOY.parent / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
