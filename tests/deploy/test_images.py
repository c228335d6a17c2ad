"""The Dockerfiles: their rules, and their steps run in a folder. No image is built here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from deploy_tools import run
from dockerfile_steps import Build, Step, steps, this_python
from packaging.requirements import Requirement
from ports import free_port

IMAGES = ("worker", "console", "triton")
#: The parts of a program that an image must not have when it runs.
HEAVY = ("torch", "torchvision", "lightning", "pip")


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest, root: Path) -> Path:
    return root / "deploy" / "images" / f"{request.param}.Dockerfile"


def last_stage(found: list[Step]) -> dict[str, list[str]]:
    """The arguments of each instruction of the image that is kept."""
    kept: dict[str, list[str]] = {}
    for step in found:
        if step.stage == found[-1].stage:
            kept.setdefault(step.name, []).append(step.text)
    return kept


def test_an_image_keeps_to_the_rules(image: Path) -> None:
    found = steps(image)
    bases = [step.text.split()[0] for step in found if step.name == "FROM"]
    assert all(re.fullmatch(rf"python:{re.escape(this_python())}\.\d+-slim-bookworm", base) for base in bases), bases
    assert len(set(bases)) == 1, "stages whose Pythons differ"
    kept = last_stage(found)
    user, _, group = kept["USER"][0].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert not any("pip" in step or "apt" in step for step in kept.get("RUN", ())), "build tools in the last stage"
    assert "/healthz" in kept["HEALTHCHECK"][0] or "/v2/health/ready" in kept["HEALTHCHECK"][0]
    assert kept["ENTRYPOINT"] == ['["mistwatch"]']
    assert kept["CMD"][0].startswith("["), "a shell would keep signals from the program"
    assert "ADD" not in {step.name for step in found}
    run("hadolint", "--ignore", "DL3059", image)


def test_pinned_packages_suit_the_project(root: Path) -> None:
    """A pin outside of the ranges in pyproject.toml would be another program than the tested one."""
    text = (root / "deploy" / "images" / "triton.Dockerfile").read_text()
    pins = dict(re.findall(r"([\w-]+)==([\w.]+)", text))
    project = (root / "pyproject.toml").read_text()
    for name in ("openvino", "opencv-python-headless", "hatchling", "build"):
        ranges = [Requirement(found) for found in re.findall(rf'"({name}[>=<][^"]*)"', project)]
        assert ranges
        assert all(one.specifier.contains(pins[name]) for one in ranges), name
    assert pins["nvidia-pytriton"] == version("nvidia-pytriton")


def test_everything_that_is_copied_reaches_the_build(image: Path, root: Path) -> None:
    """Docker gets the files that .dockerignore names, and those alone."""
    kept = re.findall(r"^!(\S+)$", (root / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        word for step in steps(image) if step.name == "COPY" and "--from" not in step.text for word in step.words()[:-1]
    ]
    assert copied
    for source in copied:
        assert source.removeprefix("./") in kept
        assert (root / source).exists()


def built(image: Path, root: Path, folder: Path, skip: tuple[int, ...] = ()) -> Build:
    """The image's files under ``folder``, after every step but those of the stages to skip."""
    build = Build(root, folder)
    for step in steps(image):
        if step.stage not in skip and not (step.name == "COPY" and "--from=detectors" in step.text):
            build.run(step)
    return build


def packages(build: Build) -> set[str]:
    (site_packages,) = (build.root / "opt" / "mistwatch").glob("lib/python*/site-packages")
    return {path.name.split("-")[0].lower() for path in site_packages.glob("*.dist-info")}


@pytest.fixture(scope="module")
def worker(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return built(root / "deploy" / "images" / "worker.Dockerfile", root, tmp_path_factory.mktemp("worker"))


@pytest.fixture(scope="module")
def console(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    return built(root / "deploy" / "images" / "console.Dockerfile", root, tmp_path_factory.mktemp("console"))


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A folder that every user can read; pytest's own are of one user, and access(2) knows no capabilities."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_of_the_worker_give_a_worker_without_torch(root: Path, worker: Build, tmp_path: Path) -> None:
    assert packages(worker) & set(HEAVY) == set()
    (deploy,) = (worker.root / "opt" / "mistwatch").glob("lib/python*/site-packages/deploy")
    strangers = {path.suffix for path in deploy.rglob("*") if path.is_file()} - {".py", ".typed", ".pyc"}
    assert strangers == set(), "what is used from the repository alone is in the wheel"
    outside = tmp_path / "outside"
    shutil.copytree(root / "deploy" / "compose" / "site", outside)
    for arguments in (("--help",), ("run", "--help"), ("config", "check", "site.yaml")):
        done = worker.call("mistwatch", *arguments, folder=outside)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_worker_of_the_image_starts_as_its_user_and_waits_for_the_servers(
    root: Path, worker: Build, for_all: Path
) -> None:
    """It runs with the environment of the image alone, answers the image's health check, and ends at SIGTERM."""
    port, nowhere = free_port(), free_port()
    site = yaml.safe_load((root / "deploy" / "compose" / "site" / "site.yaml").read_text())
    del site["cameras"]["gate"]["password_file"]
    site |= {"state_dir": str(worker.root / "var/lib/mistwatch"), "metrics": {"port": port}}
    site |= {"triton": {"address": f"127.0.0.1:{nowhere}"}, "kafka": {"bootstrap": f"127.0.0.1:{nowhere}"}}
    site["cameras"]["gate"]["password"] = "opensesame"
    (for_all / "site.yaml").write_text(yaml.safe_dump(site))
    image = steps(root / "deploy" / "images" / "worker.Dockerfile")
    config = ("run", "--config", str(for_all / "site.yaml"))
    with worker.started(image, *config, ports={"9308": str(port)}) as container:
        container.wait_until_healthy()
        users = container.users()
        assert users == {10001} if os.getuid() == 0 else 0 not in users
        written = worker.root / "var" / "lib" / "mistwatch" / "outbox.sqlite"
        assert written.stat().st_uid in users
        assert container.process.poll() is None
        container.process.send_signal(signal.SIGTERM)
        assert container.process.wait(30) == 0, container.text()
        assert "opensesame" not in container.text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_console_of_the_image_serves_its_pages_as_its_user(root: Path, console: Build) -> None:
    assert packages(console) & set(HEAVY) == set()
    port = str(free_port())
    image = steps(root / "deploy" / "images" / "console.Dockerfile")
    arguments = ("console", "--bootstrap", f"127.0.0.1:{free_port()}", "--port", port)
    with console.started(image, *arguments, ports={"8080": port}) as container:
        container.wait_until_healthy()
        users = container.users()
        assert users == {10001} if os.getuid() == 0 else 0 not in users
        for path, words in (("/", b"<html"), ("/static/wall.js", b"export"), ("/api/cameras", b"cameras")):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                assert words in answer.read()
        container.process.send_signal(signal.SIGTERM)
        assert container.process.wait(30) == 0, container.text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_steps_of_triton_give_a_server_without_torch(root: Path, tmp_path: Path) -> None:
    """But for the export of the detector: its stage installs torch (5 GB); `mistwatch export` has tests of its own."""
    image = root / "deploy" / "images" / "triton.Dockerfile"
    stages = [step.text for step in steps(image) if step.name == "FROM"]
    detectors = next(number for number, text in enumerate(stages) if text.endswith("AS detectors"))
    build = built(image, root, tmp_path / "image", skip=(detectors,))
    assert {"openvino", "nvidia_pytriton"} <= packages(build)
    assert packages(build) & set(HEAVY) == set()
    done = build.call("mistwatch", "serve", "--repository", "/nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert "no model repository at /nowhere" in done.stderr
    assert os.access(next((build.root / "opt").rglob("bin/tritonserver")), os.X_OK)
