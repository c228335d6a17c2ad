"""A model that reads a scene, exported with a tiny network of the tests' own: both engines, and a real Triton."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import brightness_family
import contrast_family
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonError, TritonServer
from models.detectors.base import FAMILIES
from models.serving.engine import open_engine
from models.serving.export import ExportError, export
from operators.background import SceneKind
from pipeline.scoring.served_model import served_model

CLIP = (4, 16, 24, 3)
SCENE = CLIP[1:]
GAIN = 0.5
MAX_BATCH = 4
Array = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def families() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "contrast", "contrast_family")
        patch.setitem(FAMILIES, "brightness", "brightness_family")
        yield


@pytest.fixture(scope="module")
def model(families: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "contrast"
    contrast_family.train(folder, gain=GAIN, scene=SceneKind.BACKGROUND)
    return folder


@pytest.fixture(scope="module")
def repository(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repository")
    export(str(model), out, max_batch=MAX_BATCH)
    return out


@pytest.fixture(scope="module")
def version(repository: Path) -> Path:
    return repository / "clip_scorer" / "1"


@pytest.fixture(scope="module")
def clips() -> Array:
    return np.random.default_rng(1).integers(0, 256, (MAX_BATCH, *CLIP), dtype=np.uint8)


@pytest.fixture(scope="module")
def scenes() -> Array:
    return np.random.default_rng(2).integers(0, 256, (MAX_BATCH, *SCENE), dtype=np.uint8)


def quarters(picture: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """The brightness of each quarter of a picture or, over time, of a clip, times the network's gain."""
    grey = picture.astype(float).mean(axis=-1)
    grey = grey.mean(axis=0) if grey.ndim == 3 else grey
    return grey.reshape(2, 8, 2, 12).mean(axis=(1, 3)) / 255 * GAIN


def heat(clip: Array, scene: Array | None) -> npt.NDArray[np.float64]:
    """HEAT by NumPy."""
    if scene is None:
        scene = np.sort(clip, axis=0)[(len(clip) - 1) // 2]
    return np.abs(quarters(clip) - quarters(scene))


class TestEngines:
    @pytest.mark.parametrize("choice", ["openvino", "torch"])
    def test_clips_are_scored_against_their_scenes_or_their_medians(
        self, version: Path, clips: Array, scenes: Array, choice: str
    ) -> None:
        engine = open_engine(choice, version, CLIP)
        assert engine.reads_scene
        mixed = [scenes[0], None, scenes[0], scenes[3]]
        scored = engine.score(clips, mixed)
        expected = np.stack([heat(clip, scene) for clip, scene in zip(clips, mixed, strict=True)])
        np.testing.assert_allclose(scored.heat, expected, atol=1e-6)
        np.testing.assert_allclose(scored.scores, expected.max(axis=(1, 2)), atol=1e-6)
        np.testing.assert_allclose(
            scored.features[[0, 3], 4], [quarters(scenes[at]).mean() for at in (0, 3)], atol=1e-6
        )
        np.testing.assert_allclose(engine.score(clips[:1]).heat[0], heat(clips[0], None), atol=1e-6)

    @pytest.mark.parametrize("choice", ["openvino", "torch"])
    def test_a_scene_that_is_sent_again_gives_the_same_bytes(
        self, version: Path, clips: Array, scenes: Array, choice: str
    ) -> None:
        engine = open_engine(choice, version, CLIP)
        first = engine.score(clips[:1], [scenes[0]])
        engine.score(clips, list(scenes))
        for known in (engine, open_engine(choice, version, CLIP)):
            again = known.score(clips[:1], [scenes[0]])
            assert [array.tobytes() for array in again] == [array.tobytes() for array in first]

    def test_a_scene_of_another_size_is_refused(self, version: Path, clips: Array) -> None:
        with pytest.raises(
            ValueError, match=r"a scene must be uint8 \(16, 24, 3\), the size of the clips, got uint8 \(8"
        ):
            open_engine("openvino", version, CLIP).score(clips[:1], [np.zeros((8, 24, 3), np.uint8)])

    def test_a_model_that_reads_none_is_exported_without_one_and_takes_none(
        self, families: None, tmp_path: Path
    ) -> None:
        brightness_family.train(tmp_path / "bright", level=0.2)
        folder = export(str(tmp_path / "bright"), tmp_path / "out")
        assert not (folder / "1" / "scene.xml").exists()
        config = (folder / "config.pbtxt").read_text()
        assert 'input [\n  { name: "CLIP" data_type: TYPE_UINT8 dims: [ 4, 16, 16, 3 ] }\n]\n' in config
        assert "scene" not in config.lower()
        engine = open_engine("openvino", folder / "1", (4, 16, 16, 3))
        clips = np.full((1, 4, 16, 16, 3), 51, np.uint8)
        assert engine.score(clips).scores == pytest.approx([0.0], abs=1e-6)
        with pytest.raises(ValueError, match="the model reads no scene"):
            engine.score(clips, [None])


class TestExport:
    def test_the_configuration_has_the_optional_input_and_its_meaning(self, repository: Path) -> None:
        config = text_format.Parse((repository / "clip_scorer" / "config.pbtxt").read_text(), pb.ModelConfig())
        assert [(one.name, one.data_type, list(one.dims), one.optional) for one in config.input] == [
            ("CLIP", pb.TYPE_UINT8, list(CLIP), False),
            ("SCENE", pb.TYPE_UINT8, list(SCENE), True),
        ]
        assert config.parameters["scene"].string_value == "background"

    def test_layers_that_clips_and_scenes_share_are_written_once(self, version: Path) -> None:
        import safetensors

        with safetensors.safe_open(version / "scorer.safetensors", framework="np") as stored:
            assert list(stored.keys()) == ["cells.gain"]

    @pytest.mark.parametrize("promised", [True, False])
    def test_a_family_and_a_network_that_differ_are_refused(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promised: bool
    ) -> None:
        module = brightness_family if promised else contrast_family
        changed = dataclasses.replace(module.FAMILY, scene=lambda _card: SceneKind.CLIP if promised else None)
        monkeypatch.setattr(module, "FAMILY", changed)
        if promised:
            model = tmp_path / "bright"
            brightness_family.train(model, level=0.2)
        with pytest.raises(ExportError, match="differ in the input SCENE"):
            export(str(model), tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_version_folder_is_complete_for_openvino(self, version: Path, tmp_path: Path) -> None:
        shutil.copytree(version, tmp_path / "1", ignore=shutil.ignore_patterns("*.safetensors"))
        for shadowed in ("models", "pipeline", "operators", "torch"):
            (tmp_path / shadowed).mkdir()
            (tmp_path / shadowed / "__init__.py").write_text("raise ImportError('not to be imported')")
        program = (
            "import importlib, pathlib, numpy as np;"
            f"engine = importlib.import_module('1.engine').open_engine('auto', pathlib.Path('1'), {CLIP});"
            f"clips = np.zeros((2, *{CLIP}), np.uint8);"
            "print(engine.score(clips, [None, clips[0, 0] + np.uint8(255)]).scores)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.stdout == f"[0.  {GAIN}]\n", done.stderr


def infer(client: triton.InferenceServerClient, clips: Array, scenes: npt.NDArray[np.generic] | None) -> Array:
    """Return HEAT."""
    inputs = [triton.InferInput("CLIP", list(clips.shape), "UINT8")]
    inputs[0].set_data_from_numpy(clips)
    if scenes is not None:
        inputs.append(triton.InferInput("SCENE", list(scenes.shape), "UINT8" if scenes.dtype == np.uint8 else "FP32"))
        inputs[1].set_data_from_numpy(scenes)
    found: Array = client.infer("clip_scorer", inputs, client_timeout=60).as_numpy("HEAT")
    return found


@pytest.fixture(scope="module")
def server(repository: Path, require: Callable[[str], NoReturn]) -> Iterator[TritonServer]:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    with TritonServer(repository) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.grpc_address) as connected:
        yield connected


@pytest.mark.realparts
class TestBehindTriton:
    def test_the_scoring_client_understands_its_description(self, server: TritonServer) -> None:
        assert served_model(server.grpc_address).scene is SceneKind.BACKGROUND

    @pytest.mark.parametrize("size", range(1, MAX_BATCH + 1))
    def test_a_batch_of_clips_comes_with_a_scene_for_each_or_with_none(
        self, client: triton.InferenceServerClient, clips: Array, scenes: Array, size: int
    ) -> None:
        for mine in (scenes[:size], None):
            expected = [heat(clips[at], None if mine is None else mine[at]) for at in range(size)]
            np.testing.assert_allclose(infer(client, clips[:size], mine), expected, atol=1e-6)

    def test_requests_with_and_without_a_scene_at_once_each_get_their_own(
        self, server: TritonServer, clips: Array, scenes: Array
    ) -> None:
        """Eight clients keep the queue filled, so that Triton puts requests of both kinds together if it ever does."""
        wrong: list[str] = []

        def ask(number: int) -> None:
            with triton.InferenceServerClient(server.grpc_address) as mine:
                for turn in range(25):
                    at = (number + turn) % MAX_BATCH
                    scene = None if (number + turn) % 3 == 0 else scenes[(number + 2 * turn) % MAX_BATCH]
                    found = infer(mine, clips[at : at + 1], None if scene is None else scene[np.newaxis])
                    if np.abs(found[0] - heat(clips[at], scene)).max() > 1e-6:
                        wrong.append(f"client {number}, turn {turn}: {found}")

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (np.zeros((1, 8, 24, 3), np.uint8), "shape"),
            (np.zeros((2, *SCENE), np.uint8), "batch"),
            (np.zeros((1, *SCENE), np.float32), "data-type"),
        ],
        ids=["size", "number", "type"],
    )
    def test_another_scene_is_refused_and_the_next_clip_is_scored(
        self, client: triton.InferenceServerClient, clips: Array, scenes: Array, wrong: Array, says: str
    ) -> None:
        with pytest.raises(InferenceServerException, match=says):
            infer(client, clips[:1], wrong)
        np.testing.assert_allclose(infer(client, clips[:1], scenes[:1])[0], heat(clips[0], scenes[0]), atol=1e-6)


@pytest.mark.realparts
def test_a_configuration_that_is_not_the_networks_ends_the_loading(
    repository: Path, tmp_path: Path, require: Callable[[str], NoReturn]
) -> None:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    damaged = Path(shutil.copytree(repository, tmp_path / "repository"))
    (damaged / "clip_scorer" / "1" / "scene.xml").unlink()
    with pytest.raises(TritonError, match="differ in the input SCENE; write it again: mistwatch export"):
        TritonServer(damaged).start(120)
