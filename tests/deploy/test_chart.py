"""The chart: linted, rendered and checked against the schemas of Kubernetes. Nothing is installed here."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy_tools import run, tool

from pipeline.settings import load_group_site, load_site

#: As a cluster would say; a helm that was built from its module assumes one of 2020.
KUBERNETES = "1.33"
LEAST = {"kafka.bootstrap": "kafka:9092", "secrets.consoleUsers": "console-users"}
MOST = {
    "kafka.embedded.enabled": "true",
    "secrets.consoleUsers": "console-users",
    "secrets.workerEnvironment": "of-workers",
    "secrets.consoleEnvironment": "of-console",
    "workers.autoscaling.enabled": "true",
    "triton.modelsClaim": "models",
    "console.ingress.enabled": "true",
    "console.ingress.host": "console.example.org",
    "console.ingress.tlsSecret": "console-tls",
    "monitoring.serviceMonitors.enabled": "true",
    "monitoring.rules.enabled": "true",
    "monitoring.dashboards.enabled": "true",
    "image.pullSecrets": "{registry}",
}
LEAN = {**LEAST, "triton.enabled": "false", "triton.address": "triton.elsewhere:9001", "networkPolicy.enabled": "false"}
LEAN |= {"console.enabled": "false", "secrets.consoleUsers": ""}
Objects = dict[tuple[str, str], dict[str, Any]]


def options(values: dict[str, str]) -> list[str]:
    return [
        "--kube-version",
        KUBERNETES,
        *(word for key, value in values.items() for word in ("--set", f"{key}={value}")),
    ]


@pytest.fixture(scope="module")
def chart(root: Path) -> Path:
    return root / "deploy" / "helm" / "mistwatch"


@functools.lru_cache
def _template(chart: str, arguments: tuple[str, ...]) -> str:
    return run("helm", "template", "site", chart, *arguments)


def rendered(chart: Path, values: dict[str, str]) -> Objects:
    text = _template(str(chart), tuple(options(values)))
    # The loader in C: the dashboards are thousands of lines.
    documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    assert len(found) == len(documents), "two objects of one name"
    return found


@pytest.fixture(scope="module", params=["least", "most", "lean"])
def objects(request: pytest.FixtureRequest, chart: Path) -> Objects:
    return rendered(chart, {"least": LEAST, "most": MOST, "lean": LEAN}[request.param])


@pytest.fixture(scope="module")
def least(chart: Path) -> Objects:
    return rendered(chart, LEAST)


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """The pod templates by the name of what makes them."""
    return {name: one["spec"]["template"] for (_, name), one in objects.items() if "template" in one.get("spec", {})}


def test_the_chart_passes_the_linter(chart: Path) -> None:
    run("helm", "lint", "--strict", chart, *options(MOST))


@pytest.mark.parametrize(
    "values", [MOST, pytest.param(LEAST, marks=pytest.mark.slow), pytest.param(LEAN, marks=pytest.mark.slow)]
)
def test_every_object_keeps_to_the_schema_of_kubernetes(chart: Path, values: dict[str, str]) -> None:
    """Each object takes a second, in which the schema is read."""
    validate = pytest.importorskip("kubernetes_validate").validate
    objects = rendered(chart, values).values()
    checked = [one for one in objects if "monitoring.coreos.com" not in one["apiVersion"]]
    assert len(checked) >= 4
    for one in checked:
        validate(one, KUBERNETES, strict=True)


def test_a_wrong_field_is_seen(least: Objects) -> None:
    module = pytest.importorskip("kubernetes_validate")
    wrong = yaml.safe_load(yaml.safe_dump(least["StatefulSet", "site-worker"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(Exception, match="readynessProbe"):
        module.validate(wrong, KUBERNETES, strict=True)


def test_the_pods_have_few_rights(objects: Objects) -> None:
    for name, pod in pods(objects).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] > 0, name
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert security.get("readOnlyRootFilesystem") or name == "site-kafka", name
            assert {"requests", "limits"} <= set(container["resources"]), name
            assert {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container), name
            assert ":" in container["image"], f"{name}: not pinned"


def test_selectors_find_their_pods_and_volumes_are_there(objects: Objects) -> None:
    made = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    for (kind, name), one in objects.items():
        selector = one.get("spec", {}).get("selector", {})
        wanted = selector.get("matchLabels", selector) if kind != "ServiceMonitor" else {}
        if kind in ("Service", "PodDisruptionBudget", "StatefulSet", "Deployment"):
            assert [pod for pod, labels in made.items() if wanted.items() <= labels.items()] == [name], (kind, name)
    for (_, name), one in objects.items():
        if "template" in one.get("spec", {}):
            spec = one["spec"]["template"]["spec"]
            volumes = {volume["name"] for volume in spec.get("volumes", ())}
            volumes |= {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
            mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
            assert mounted == volumes, name


def test_the_workers_are_a_group_with_their_outbox_on_a_volume(least: Objects) -> None:
    workers = least["StatefulSet", "site-worker"]["spec"]
    (container,) = workers["template"]["spec"]["containers"]
    assert container["args"] == ["run", "--config", "/etc/mistwatch/site.yaml", "--group", "site"]
    assert {"name": "state", "mountPath": "/var/lib/mistwatch"} in container["volumeMounts"]
    assert workers["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert workers["template"]["spec"]["terminationGracePeriodSeconds"] > 10  # a stop of a worker
    assert ("PodDisruptionBudget", "site-worker") in least


def test_the_site_is_one_that_the_workers_take(objects: Objects, tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(objects["ConfigMap", "site-site"]["data"]["site.yaml"])
    site = load_group_site(file)
    assert site.metrics is not None
    (port,) = pods(objects)["site-worker"]["spec"]["containers"][0]["ports"]
    assert (site.metrics.port, str(site.state_dir)) == (port["containerPort"], "/var/lib/mistwatch")
    host, _, _ = site.triton.address.partition(":")
    assert ("Service", host) in objects or site.triton.address == "triton.elsewhere:9001"
    host, _, _ = str(site.kafka.bootstrap).partition(":")
    assert ("Service", host) in objects or host == "kafka"


def test_sections_of_the_site_are_passed_on(chart: Path, tmp_path: Path) -> None:
    values = {**LEAST, "site.config.alerts.open_threshold": "0.7", "site.config.kafka.topic": "mine"}
    file = tmp_path / "site.yaml"
    file.write_text(rendered(chart, values)["ConfigMap", "site-site"]["data"]["site.yaml"])
    site = load_group_site(file)
    assert (site.alerts.open_threshold, site.kafka.topic, site.kafka.bootstrap) == (0.7, "mine", "kafka:9092")


def test_passwords_of_cameras_do_not_reach_the_console(chart: Path) -> None:
    found = pods(rendered(chart, MOST))
    given = {name: pod["spec"]["containers"][0].get("envFrom", []) for name, pod in found.items()}
    assert given["site-worker"] == [{"secretRef": {"name": "of-workers"}}]
    assert given["site-console"] == [{"secretRef": {"name": "of-console"}}]
    assert given["site-triton"] == []


def test_triton_is_reached_by_workers_and_prometheus_alone(least: Objects) -> None:
    closed = least["NetworkPolicy", "site-closed"]["spec"]
    assert set(closed["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in closed
    to_triton = least["NetworkPolicy", "site-triton"]["spec"]["ingress"]
    workers = {"app.kubernetes.io/instance": "site", "app.kubernetes.io/component": "worker"}
    assert to_triton[0] == {"from": [{"podSelector": {"matchLabels": workers}}], "ports": [{"port": "grpc"}]}
    assert [rule["ports"] for rule in to_triton[1:]] == [[{"port": "metrics"}]]


def test_rules_and_dashboards_are_those_of_the_compose_site(chart: Path, root: Path) -> None:
    found = rendered(chart, MOST)
    monitoring = root / "deploy" / "monitoring"
    rules = yaml.safe_load((monitoring / "mistwatch.rules.yml").read_text())
    assert found["PrometheusRule", "site"]["spec"] == rules
    boards = found["ConfigMap", "site-dashboards"]["data"]
    assert {name: text.strip() for name, text in boards.items()} == {
        path.name: path.read_text().strip() for path in (monitoring / "dashboards").glob("*.json")
    }
    jobs = [
        one["spec"]["endpoints"][0]["relabelings"][0] for (kind, _), one in found.items() if kind == "ServiceMonitor"
    ]
    assert sorted(job["replacement"] for job in jobs) == ["mistwatch", "mistwatch-triton"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"secrets.consoleUsers": "u"}, "kafka.bootstrap: name the brokers"),
        ({"kafka.bootstrap": "k:9092"}, "secrets.consoleUsers: name the secret"),
        ({**LEAST, "triton.enabled": "false"}, "triton.address: name the server"),
        ({**LEAST, "workers.replicsa": "3"}, "replicsa"),
        ({**LEAST, "kafka.bootstrap": "kafka"}, "bootstrap"),
        ({**LEAST, "console.ingress.enabled": "true"}, "host"),
        ({**LEAST, "site.config.cameras.gate.source": "rtsp://192.0.2.1"}, "config"),
    ],
)
def test_wrong_values_are_refused_with_their_name(chart: Path, values: dict[str, str], said: str) -> None:
    command = [tool("helm"), "template", "site", str(chart), *options(values)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_the_sample_of_compose_and_the_chart_name_the_same_folders(least: Objects, root: Path, tmp_path: Path) -> None:
    compose = load_site(root / "deploy" / "compose" / "site" / "site.yaml")
    file = tmp_path / "site.yaml"
    file.write_text(least["ConfigMap", "site-site"]["data"]["site.yaml"])
    chart = load_group_site(file)
    assert (compose.state_dir, compose.metrics) == (chart.state_dir, chart.metrics)


def test_the_setting_of_the_evidence_store_reaches_the_site_and_its_port_is_open(chart: Path, tmp_path: Path) -> None:
    values = {"site.config.evidence.store": "s3://films/north", "networkPolicy.evidenceStorePorts": "{9000}"}
    objects = rendered(chart, {**LEAST, **values})
    file = tmp_path / "site.yaml"
    file.write_text(objects["ConfigMap", "site-site"]["data"]["site.yaml"])
    assert load_group_site(file).evidence.store == "s3://films/north"
    for part in ("worker", "console"):
        egress = objects["NetworkPolicy", f"site-{part}"]["spec"]["egress"]
        assert {"ports": [{"port": 9000}]} in egress
