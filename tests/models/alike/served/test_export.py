"""An embedding model in a repository: what is written, what a real Triton answers, and what is refused."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import tritonclient.grpc as triton
from tiny_embedder import FEATURES, embedded_by_torch, make_arrays, write_embedder
from tiny_motion import motion_model
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonError, TritonServer
from models.alike.served.card import read_embedding_card
from models.alike.served.export import ensure_embedding_repository, export_embedding
from models.serving import versions
from models.serving.export import ExportError, export
from models.serving.parts import read_parameters
from pipeline.scoring.served_model import load_version


def ask(client: triton.InferenceServerClient, features: np.ndarray) -> triton.InferResult:
    tensor = triton.InferInput("FEATURES", list(features.shape), "FP32")
    tensor.set_data_from_numpy(features)
    return client.infer("alike", [tensor], client_timeout=60)


def some_features(clips: int, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, (clips, FEATURES)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_embedder(tmp_path / "model")


class TestRepository:
    def test_the_files_and_what_a_client_must_know(self, model: Path, tmp_path: Path) -> None:
        target = export_embedding(model, tmp_path / "out")
        assert target == tmp_path / "out" / "alike"
        assert sorted(file.name for file in (target / "1").iterdir()) == [
            "config.pbtxt", "embedder.npz", "embedder.py", "model-card.json", "model.py", "triton_tensors.py",
        ]  # fmt: skip
        card = read_embedding_card(model)
        assert read_parameters((target / "config.pbtxt").read_text()) == {
            "name": "alike-tiny",
            "embedding": card.version,
            "similarity": "0.75",
            "mute_similarity": "0.85",
            "backbone": "i3d-kinetics400",
            "features": card.features.digest,
            "weights_sha256": card.weights_sha256,
        }
        assert read_embedding_card(target, "model-card.json") == card
        assert list((tmp_path / "out").iterdir()) == [target], "no drafts stay behind"

    def test_a_version_folder_needs_nothing_of_ours(self, model: Path, tmp_path: Path) -> None:
        version = export_embedding(model, tmp_path / "out") / "1"
        for module in version.glob("*.py"):
            imported = re.findall(r"^\s*(?:from|import) ([\w.]+)", module.read_text(), re.MULTILINE)
            assert not [name for name in imported if name.split(".")[0] in ("models", "operators", "pipeline")]

    def test_the_next_version_and_back(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        first = export_embedding(model, out)
        export_embedding(write_embedder(tmp_path / "next", seed=1, widths=(12,)), out)
        assert (versions.versions(first), versions.served(first)) == ([1, 2], 2)
        assert "dims: [ 12 ]" in (first / "config.pbtxt").read_text()
        assert versions.roll_back(first) == 1
        assert "dims: [ 8 ]" in (first / "config.pbtxt").read_text()
        export_embedding(model, out, replace=True)
        assert versions.versions(first) == [3]

    def test_the_cache_keeps_it(self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "cache"))
        where = ensure_embedding_repository(model)
        written = (where / "alike" / "1" / "embedder.npz").stat().st_mtime_ns
        assert ensure_embedding_repository(model) == where
        assert (where / "alike" / "1" / "embedder.npz").stat().st_mtime_ns == written
        assert ensure_embedding_repository(write_embedder(tmp_path / "other", seed=1)) != where

    def test_a_model_of_other_features_is_no_next_version(self, model: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        target = export_embedding(model, out)
        other = write_embedder(tmp_path / "other", inputs=6, layers=("mixed_5b", "mixed_5c"))
        with pytest.raises(ExportError) as refused:
            export_embedding(other, out)
        assert str(refused.value) == (
            f"{target} takes 4 features of i3d-kinetics400 (mixed_5c; clips of 4×16×16), and {other} was trained with "
            "6 features of i3d-kinetics400 (mixed_5b and mixed_5c; clips of 4×16×16): name another --as, or --replace "
            "the existing versions"
        )
        export_embedding(other, out, replace=True)
        assert "dims: [ 6 ]" in (target / "config.pbtxt").read_text()

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_name_that_serves_a_detector_is_refused(self, model: Path, tmp_path: Path, replace: bool) -> None:
        out = tmp_path / "out"
        target = export(str(motion_model(tmp_path / "gate", "gate-motion")), out, name="gate")
        before = (target / "config.pbtxt").read_bytes()
        message = f"{target} serves a detector, and {model} is an embedding model: name another --as"
        with pytest.raises(ExportError, match=f"^{re.escape(message)}$"):
            export_embedding(model, out, name="gate", replace=replace)
        assert (target / "config.pbtxt").read_bytes() == before

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_detector_is_refused_where_embeddings_are_served(
        self, model: Path, tmp_path: Path, replace: bool
    ) -> None:
        out = tmp_path / "out"
        target = export_embedding(model, out)
        before = (target / "config.pbtxt").read_bytes()
        detector = motion_model(tmp_path / "gate", "gate-motion")
        message = f"{target} serves embeddings, and {detector} is a detector: name another --as"
        with pytest.raises(ExportError, match=f"^{re.escape(message)}$"):
            export(str(detector), out, name="alike", replace=replace)
        assert (target / "config.pbtxt").read_bytes() == before

    def test_a_folder_that_is_not_a_served_model_is_left_alone(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "out" / "alike").mkdir(parents=True)
        with pytest.raises(ExportError, match="exists and is not a served model: name another folder or another --as"):
            export_embedding(model, tmp_path / "out", replace=True)
        assert list((tmp_path / "out" / "alike").iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_one_line(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        with pytest.raises(ExportError, match=r"cannot write .*out: "):
            export_embedding(model, tmp_path / "out")


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[tuple[Path, TritonServer]]:
    """A repository with the tiny model, and a Triton over it."""
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    folder = tmp_path_factory.mktemp("alike")
    export_embedding(write_embedder(folder / "model"), folder / "out")
    with TritonServer(folder / "out", log=folder / "triton.log") as server:
        yield folder, server


@pytest.mark.realparts
class TestServed:
    @pytest.mark.parametrize("clips", [1, 8])
    def test_embeddings_are_those_of_torch(self, served: tuple[Path, TritonServer], clips: int) -> None:
        features = some_features(clips)
        with triton.InferenceServerClient(served[1].grpc_address) as client:
            found = ask(client, features).as_numpy("EMBEDDING")
        np.testing.assert_allclose(found, embedded_by_torch(make_arrays(), features), atol=2e-5)

    @pytest.mark.parametrize(
        ("features", "message"),
        [
            (np.array([[0.1, np.nan, 0.2, 0.3]], np.float32), "no embedding: features must be finite"),
            (np.ones((1, 5), np.float32), "unexpected shape for input 'FEATURES'"),
            (np.ones((9, FEATURES), np.float32), "batch-size must be <= 8"),
        ],
    )
    def test_bad_features_are_answered_with_an_error_and_the_model_goes_on(
        self, served: tuple[Path, TritonServer], features: np.ndarray, message: str
    ) -> None:
        with triton.InferenceServerClient(served[1].grpc_address) as client:
            with pytest.raises(InferenceServerException, match=message):
                ask(client, features)
            assert ask(client, some_features(1)).as_numpy("EMBEDDING").shape == (1, 8)

    def test_another_version_is_loaded_and_taken_back(self, served: tuple[Path, TritonServer]) -> None:
        folder, server = served
        features = some_features(2)
        target = export_embedding(write_embedder(folder / "next", seed=1), folder / "out")
        load_version(server.grpc_address, "alike", 2)
        with triton.InferenceServerClient(server.grpc_address) as client:
            answer = ask(client, features)
            assert answer.get_response().model_version == "2"
            expected = embedded_by_torch(make_arrays(seed=1), features)
            np.testing.assert_allclose(answer.as_numpy("EMBEDDING"), expected, atol=2e-5)
            versions.roll_back(target)
            load_version(server.grpc_address, "alike", 1)
            expected = embedded_by_torch(make_arrays(), features)
            np.testing.assert_allclose(ask(client, features).as_numpy("EMBEDDING"), expected, atol=2e-5)

    def test_a_configuration_that_does_not_fit_the_arrays_does_not_load(
        self, served: tuple[Path, TritonServer], tmp_path: Path
    ) -> None:
        target = export_embedding(write_embedder(tmp_path / "model"), tmp_path / "out")
        config = target / "config.pbtxt"
        config.write_text(config.read_text().replace("dims: [ 8 ]", "dims: [ 9 ]"))
        with pytest.raises(TritonError, match=r"config\.pbtxt names .*; write it again: mistwatch export") as refused:
            TritonServer(tmp_path / "out").start(120)
        assert "\n" not in str(refused.value)
