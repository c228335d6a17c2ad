"""``NAME[@VERSION]|DIR``: what an embedded Triton is given to serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from triton_of_brightness import write_version

from deploy.triton.server import TritonServer
from models.serving.versions import add
from pipeline.cli.repository import name_and_version, serving
from pipeline.errors import UsageError
from pipeline.scoring.served_model import served_model


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


def test_the_version_that_it_names_is_served_from_where_it_is(repository: Path) -> None:
    for model in (str(repository), f"{repository}@2"):
        with serving(model) as folder:
            assert folder == repository


def test_a_version_that_is_not_there_is_one_line(repository: Path) -> None:
    with pytest.raises(UsageError, match="has no version 3; there are 1, 2"), serving(f"{repository}@3"):
        pass


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
