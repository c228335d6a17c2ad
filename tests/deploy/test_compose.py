"""The compose site: its schema, its rules, and the files that it mounts. Nothing is started here."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from deploy_tools import ROOT, run

from pipeline.settings import load_site

#: The images that are ours to harden; Kafka's writes its configuration into its own folders.
HARDENED = {"worker", "triton", "console", "prometheus", "grafana"}
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "deploy" / "compose"


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    lines = [line for line in (folder / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture(scope="module")
def text(folder: Path, environment: dict[str, str]) -> str:
    """The file as compose reads it: with the variables of .env.example."""
    return _VARIABLE.sub(lambda match: environment[match[1]] or match[2], (folder / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def site(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)


def test_the_file_keeps_to_the_schema_of_the_compose_project(site: dict[str, Any]) -> None:
    schema = ROOT / ".tools" / "compose-spec.json"
    if not schema.is_file():
        pytest.skip("missing: the schema of compose files (make deploy-tools)")
    check = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
    check.validate(site)
    site = json.loads(json.dumps(site))
    site["services"]["worker"]["mem_limits"] = "2g"
    with pytest.raises(jsonschema.ValidationError, match="mem_limits"):
        check.validate(site)


def test_every_variable_is_in_the_example_with_the_same_value(folder: Path, environment: dict[str, str]) -> None:
    used = dict(_VARIABLE.findall((folder / "compose.yaml").read_text()))
    assert used == {name: value for name, value in environment.items() if name != "COMPOSE_PROFILES"}


def test_console_and_grafana_alone_are_published_and_on_loopback(site: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in site["services"].items() if "ports" in service}
    assert published == {"console": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}
    assert site["networks"]["site"] == {"internal": True}
    outside = {name: set(one["networks"]) - {"site"} for name, one in site["services"].items()}
    assert {name for name, networks in outside.items() if networks} == {"worker", "console", "grafana"}


def test_the_services_are_hardened(site: dict[str, Any]) -> None:
    for name, service in site["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert ":" in service["image"], f"{name}: not pinned"
        assert not service["image"].endswith(":latest"), name
        assert service.get("read_only", False) == (name in HARDENED), name


def test_every_service_has_a_health_check(site: dict[str, Any], root: Path) -> None:
    for name, service in site["services"].items():
        dockerfile = service.get("build", {}).get("dockerfile")
        text = (root / dockerfile).read_text() if dockerfile else ""
        assert ("healthcheck" in service) != ("HEALTHCHECK" in text), name


def test_secrets_are_files_that_no_commit_holds(site: dict[str, Any], folder: Path) -> None:
    asked = {secret for service in site["services"].values() for secret in service.get("secrets", ())}
    assert asked == set(site["secrets"])
    assert all(set(secret) == {"file"} for secret in site["secrets"].values())
    assert [path.name for path in (folder / "secrets").iterdir()] == [".gitignore"]
    values = [value for service in site["services"].values() for value in (service.get("environment") or {}).items()]
    assert not [name for name, _ in values if re.search("PASSWORD$|SECRET$|TOKEN$", name)]


def test_everything_that_is_mounted_is_there(site: dict[str, Any], folder: Path) -> None:
    named = set()
    for service in site["services"].values():
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (folder / source).resolve().exists(), volume
            else:
                named.add(source)
            assert target.startswith("/")
        if "build" in service:
            context = (folder / service["build"]["context"]).resolve()
            assert (context / service["build"]["dockerfile"]).is_file()
    assert named == set(site["volumes"])


def test_the_sample_site_fits_the_services(folder: Path, site: dict[str, Any]) -> None:
    settings = load_site(folder / "site" / "site.yaml")
    worker = site["services"]["worker"]
    assert settings.triton.address.split(":")[0] in site["services"]
    advertised = site["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"PLAINTEXT://{settings.kafka.bootstrap}"
    assert f"worker-state:{settings.state_dir}" in worker["volumes"]
    for camera in settings.cameras.values():
        assert camera.password_file is not None
        assert camera.password_file.name in worker["secrets"]
    assert settings.metrics is not None
    scraped = yaml.safe_load((folder / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scraped}
    assert targets["mistwatch"] == [f"worker:{settings.metrics.port}"]


def test_prometheus_takes_its_configuration(folder: Path, root: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "prometheus" / "prometheus.yml", tmp_path)
    (tmp_path / "rules").mkdir()
    shutil.copy(root / "deploy" / "monitoring" / "mistwatch.rules.yml", tmp_path / "rules")
    assert "1 rule files found" in run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_grafana_finds_prometheus_and_the_dashboards(folder: Path, site: dict[str, Any], root: Path) -> None:
    provisioning = folder / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "mistwatch.yaml").read_text())["providers"]
    mounted = [
        volume
        for volume in site["services"]["grafana"]["volumes"]
        if volume.split(":")[1] == provider["options"]["path"]
    ]
    assert mounted == ["../monitoring/dashboards:/etc/mistwatch/dashboards:ro"]
    assert list((root / "deploy" / "monitoring" / "dashboards").glob("*.json"))
