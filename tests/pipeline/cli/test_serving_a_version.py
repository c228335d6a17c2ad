"""``NAME[@VERSION]|DIR``: what an embedded Triton is given to serve."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from tiny_motion import motion_model
from triton_of_brightness import write_version

from deploy.triton.server import TritonServer
from models.card import BUILT_IN, CARD_FILE
from models.serving.versions import add
from pipeline.cli.repository import name_and_version, require_model, serving, serving_together
from pipeline.errors import UsageError
from pipeline.scoring.served_model import ScorerUnavailable, ServedModel, served_model
from pipeline.sources.base import Fit
from pipeline.windows import ClipSpec


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of two versions, of which the second is served; they differ in their threshold."""
    model = tmp_path / "models" / "clip_scorer"
    model.parent.mkdir()
    for threshold in ("0.25", "0.75"):
        add(model, write_version(tmp_path / f"draft-{threshold}", threshold=threshold))
    return tmp_path / "models"


@pytest.mark.realparts
def test_a_version_that_the_repository_does_not_name_is_served_and_the_repository_is_left_alone(
    repository: Path, tmp_path: Path
) -> None:
    before = (repository / "clip_scorer" / "config.pbtxt").read_bytes()
    with (
        serving(f"{repository}@1") as folder,
        TritonServer(folder, log=tmp_path / "triton.log") as server,
    ):
        served = served_model(server.grpc_address)
    assert (served.version, served.threshold) == ("1", 0.25)
    assert (repository / "clip_scorer" / "config.pbtxt").read_bytes() == before
    assert not folder.exists()


@pytest.mark.realparts
def test_several_models_are_served_together_each_under_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "cache"))
    models = {name: str(motion_model(tmp_path / name, f"{name}-motion")) for name in ("gate", "door")}
    with serving_together(models) as folder, TritonServer(folder, log=tmp_path / "triton.log") as server:
        served = [served_model(server.grpc_address, name).name for name in models]
        with pytest.raises(ScorerUnavailable):
            served_model(server.grpc_address, "clip_scorer")
    assert served == ["gate-motion", "door-motion"]
    assert not folder.exists()


def test_the_version_that_it_names_is_served_from_where_it_is(repository: Path) -> None:
    for model in (str(repository), f"{repository}@2"):
        with serving(model) as folder:
            assert folder == repository


def test_a_version_that_is_not_there_is_one_line(repository: Path) -> None:
    with pytest.raises(UsageError, match="has no version 3; there are 1, 2"), serving(f"{repository}@3"):
        pass


@pytest.mark.parametrize(
    ("asked", "name", "version", "fits"),
    [
        ("", "mean", "2", True),
        ("@1", "mean", "1", True),
        ("", "mean", "1", False),
        ("@1", "mean", "2", False),
        ("", "clip_scorer", "2", False),
    ],
)
def test_a_given_triton_serves_the_model_of_a_repository_or_not(
    repository: Path, asked: str, name: str, version: str, fits: bool
) -> None:
    card = json.loads((BUILT_IN / "fights" / CARD_FILE).read_text())
    (repository / "clip_scorer" / CARD_FILE).write_text(json.dumps(card | {"name": "mean"}))
    clip = ClipSpec(frames=4, stride=2, height=16, width=16, fit=Fit.CROP)
    expected = contextlib.nullcontext() if fits else pytest.raises(UsageError, match=f"serves {name} version {version}")
    with expected:
        require_model(f"{repository}{asked}", ServedModel(name, version, clip), "127.0.0.1:8001")


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("fights", ("fights", None)),
        ("fights@2", ("fights", 2)),
        ("runs/me@home", ("runs/me@home", None)),
        ("runs/me@home@3", ("runs/me@home", 3)),
        ("@2", ("@2", None)),
    ],
)
def test_a_models_name_and_its_version(model: str, parts: tuple[str, int | None]) -> None:
    assert name_and_version(model) == parts
