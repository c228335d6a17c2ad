"""Detectors on one backbone: the same scores as apart, and each clip computed once for all of them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonServer
from models.engines.one_by_one import OneByOne
from models.engines.openvino import OpenVinoNetwork
from models.serving import versions
from models.serving.contract import EngineChoice, ScoredBatch
from models.serving.engine import Engine, open_engine
from models.serving.export import ExportError, export
from models.serving.kept import KeptResults
from models.serving.over_backbone import NamedBackbone, OverBackbone, open_beside, read_backbone
from pipeline.cli.repository import let_load
from pipeline.errors import UsageError
from pipeline.scoring.served_model import Trouble, diagnose

CLIP = (16, 64, 96, 3)
NAMES = ("early_and_late", "guided", "late")
Clips = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def detectors(make_model: Callable[..., Path], make_encoder: Callable[..., Path]) -> dict[str, Path]:
    """Two generators on other layers, and self-guided heads, all on I3D with clips of one size."""
    size = {"height": CLIP[1], "width": CLIP[2]}
    return {
        "early_and_late": make_model("early_and_late", layers=("mixed_5b", "mixed_4f"), inputs=1664, **size),
        "guided": make_encoder("guided"),
        "late": make_model("late", **size),
    }


@pytest.fixture(scope="module")
def apart(detectors: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("apart")
    for name, model in detectors.items():
        export(str(model), out, name=name, engine=EngineChoice.OPENVINO)
    return out


@pytest.fixture(scope="module")
def shared(detectors: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shared")
    for name, model in detectors.items():
        export(str(model), out, name=name, share_backbone=True)
    return out


@pytest.fixture(scope="module")
def some_clips() -> Clips:
    return np.random.default_rng(11).integers(0, 256, (5, *CLIP), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(apart: Path, some_clips: Clips) -> dict[str, ScoredBatch]:
    found = {name: open_engine("openvino", apart / name / "1", CLIP).score(some_clips) for name in NAMES}
    assert all(np.ptp(scored.scores) > 1e-4 for scored in found.values()), "clips that score alike would prove little"
    return found


def backbones(repository: Path) -> list[str]:
    return sorted(file.name for file in repository.glob("backbone_*"))


def same(found: ScoredBatch, expected: ScoredBatch) -> None:
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(one, other, atol=1e-6, rtol=0)


class TestRepository:
    def test_one_backbone_lies_beside_heads_of_a_few_megabytes(self, shared: Path) -> None:
        (name,) = backbones(shared)
        assert versions.served_models(shared) == list(NAMES)
        assert {versions.backbone_of(shared / model / "1") for model in NAMES} == {name}
        assert (shared / name / "1" / "scorer.bin").stat().st_size > 40e6
        assert all((shared / model / "1" / "scorer.bin").stat().st_size < 10e6 for model in NAMES)
        assert "CC BY" in (shared / name / "1" / "NOTICE").read_text() or (shared / name / "1" / "NOTICE").exists()

    def test_other_clips_stand_on_another_backbone(self, make_model: Callable[..., Path], tmp_path: Path) -> None:
        for width in (64, 96):
            model = make_model(f"wide-{width}", height=64, width=width)
            export(str(model), tmp_path, name=f"wide-{width}", share_backbone=True)
        assert len(backbones(tmp_path)) == 2

    def test_a_version_elsewhere_brings_its_backbone_along(self, shared: Path, tmp_path: Path) -> None:
        for name in ("late", "guided"):
            versions.link_version(shared / name, 1, tmp_path / name)
        assert backbones(tmp_path) == backbones(shared)
        assert (tmp_path / backbones(shared)[0] / "config.pbtxt").is_file()


class TestEngine:
    @pytest.mark.parametrize("name", NAMES)
    def test_scores_are_those_of_a_detector_with_its_own_backbone(
        self, shared: Path, name: str, some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        same(open_engine("openvino", shared / name / "1", CLIP).score(some_clips), expected[name])

    def test_a_clip_that_three_detectors_score_passes_the_backbone_once(
        self, shared: Path, some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        backbone = open_beside(shared / "late" / "1", NamedBackbone(backbones(shared)[0], ()))
        for name in NAMES:
            engine = open_engine("auto", shared / name / "1", CLIP, backbone=lambda _named: backbone)
            same(engine.score(some_clips), expected[name])
        assert backbone.passes == len(some_clips)

    def test_a_batch_that_holds_a_clip_twice_computes_it_once(self, shared: Path, some_clips: Clips) -> None:
        backbone = open_beside(shared / "late" / "1", NamedBackbone(backbones(shared)[0], ()))
        version = shared / "late" / "1"
        head = OneByOne(OpenVinoNetwork(version / "scorer.xml", threads=0))
        engine = Engine(OverBackbone(head, backbone, read_backbone(version).reads), CLIP)
        scored = engine.score(some_clips[[0, 1, 0]])
        assert backbone.passes == 2
        assert scored.scores[0] == scored.scores[2] != scored.scores[1]

    def test_a_missing_backbone_and_a_damaged_name_are_one_line(self, shared: Path, tmp_path: Path) -> None:
        shutil.copytree(shared / "late", tmp_path / "late")
        with pytest.raises(RuntimeError, match=r"backbone_\w+/1/scorer.xml is missing; write it again"):
            open_engine("auto", tmp_path / "late" / "1", CLIP)
        for damaged in ("{", '{"model": "../x", "reads": []}', "[]"):
            (tmp_path / "late" / "1" / "backbone.json").write_text(damaged)
            with pytest.raises(RuntimeError, match=r"backbone.json.*write it again with mistwatch export"):
                open_engine("auto", tmp_path / "late" / "1", CLIP)


class TestKeptResults:
    class Doubling:
        """Twice each item's first number, and 9 numbers more."""

        name = "doubling"

        def run(self, items: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
            assert len(items) == 1
            return {"TWICE": np.repeat(items[:, :1].astype(np.float32) * 2, 10, axis=1)}

    def test_the_room_bounds_what_is_kept(self) -> None:
        kept = KeptResults(self.Doubling(), room=2 * 40)  # bytes of two results
        items = np.arange(3, dtype=np.uint8)[:, None]
        np.testing.assert_array_equal(kept.run(items)["TWICE"][:, 0], [0, 2, 4])
        assert kept.passes == 3
        kept.run(items[[2, 1]])
        assert kept.passes == 3
        np.testing.assert_array_equal(kept.run(items[:1])["TWICE"][:, 0], [0])
        assert kept.passes == 4


class TestExport:
    def test_what_cannot_share_is_refused(self, detectors: dict[str, Path], tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="a shared backbone runs on OpenVINO alone"):
            export(str(detectors["late"]), tmp_path, share_backbone=True, engine=EngineChoice.TORCH)
        with pytest.raises(ExportError, match="has no backbone to share; leave out --share-backbone"):
            export("courtyard-motion", tmp_path, share_backbone=True)
        with pytest.raises(UsageError, match="must not begin with backbone_"):
            export(str(detectors["late"]), tmp_path, name="backbone_of_mine")
        assert versions.served_models(tmp_path) == []


@pytest.fixture(scope="module")
def server(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[TritonServer]:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    repository = tmp_path_factory.mktemp("served") / "repository"
    shutil.copytree(shared, repository)
    with TritonServer(repository) as server:
        yield server


def infer(server: TritonServer, name: str, clips: Clips) -> triton.InferResult:
    tensor = triton.InferInput("CLIP", list(clips.shape), "UINT8")
    tensor.set_data_from_numpy(clips)
    with triton.InferenceServerClient(server.grpc_address) as client:
        return client.infer(name, [tensor], client_timeout=120)


def passes(server: TritonServer) -> dict[str, int]:
    """The backbone's own count, as Triton's metrics have it."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("mistwatch_backbone_clips")]
    found = dict.fromkeys(("computed", "kept"), 0)
    return found | {line.split('result="')[1].split('"')[0]: int(float(line.split()[-1])) for line in lines}


@pytest.mark.realparts
class TestTriton:
    def test_three_detectors_of_one_triton_compute_a_clip_once(
        self, server: TritonServer, some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        before = passes(server)
        for at in range(0, 4, 2):
            for name in NAMES:
                answer = infer(server, name, some_clips[at : at + 2])
                of_clips = slice(at, at + 2)
                np.testing.assert_allclose(
                    answer.as_numpy("SCORE")[:, 0], expected[name].scores[of_clips], atol=1e-6, rtol=0
                )
                np.testing.assert_allclose(
                    answer.as_numpy("FEATURES"), expected[name].features[of_clips], atol=1e-5, rtol=0
                )
        now = passes(server)
        assert now["computed"] - before["computed"] == 4
        assert now["kept"] - before["kept"] == 8

    def test_a_version_is_exchanged_and_the_other_detectors_go_on(
        self, server: TritonServer, detectors: dict[str, Path], some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        earlier = versions.history(server.repository / "late")
        export(str(detectors["early_and_late"]), server.repository, name="late", share_backbone=True)
        assert len(backbones(server.repository)) == 1
        let_load(server.repository / "late", server.grpc_address, earlier)
        answer = infer(server, "late", some_clips[:2])
        assert answer.get_response().model_version == "2"
        np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], expected["early_and_late"].scores[:2], atol=1e-6)
        score = infer(server, "guided", some_clips[:2]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(score, expected["guided"].scores[:2], atol=1e-6, rtol=0)

    def test_a_damaged_head_leaves_the_other_detectors(
        self, server: TritonServer, detectors: dict[str, Path], some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        export(str(detectors["late"]), server.repository, name="damaged", share_backbone=True)
        (server.repository / "damaged" / "1" / "scorer.xml").write_text("<net")
        with triton.InferenceServerClient(server.grpc_address) as client:
            with pytest.raises(InferenceServerException, match="write it again with mistwatch export"):
                client.load_model("damaged")
        score = infer(server, "guided", some_clips[:2]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(score, expected["guided"].scores[:2], atol=1e-6, rtol=0)

    def test_without_its_backbone_a_detector_is_not_ready_until_it_is_back(
        self, server: TritonServer, some_clips: Clips, expected: dict[str, ScoredBatch]
    ) -> None:
        (backbone,) = backbones(server.repository)
        with triton.InferenceServerClient(server.grpc_address) as client:
            client.unload_model(backbone)
            with pytest.raises(InferenceServerException) as refused:
                while True:  # unloading goes on in the background
                    infer(server, "guided", some_clips[:1])
            trouble, line = diagnose(refused.value, server.grpc_address, "guided")
            assert trouble is Trouble.NOT_READY, "the worker would drop its clips"
            assert f"guided: the served model {backbone} does not answer" in line
            client.load_model(backbone)
        score = infer(server, "guided", some_clips[:1]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(score, expected["guided"].scores[:1], atol=1e-6, rtol=0)


def test_the_file_states_the_outputs_that_a_head_reads(shared: Path) -> None:
    stored: dict[str, Any] = json.loads((shared / "early_and_late" / "1" / "backbone.json").read_text())
    assert stored["reads"] == ["MIXED_5B_POOLED", "MIXED_4F_POOLED"]
    assert read_backbone(shared / "guided" / "1").reads == ("MIXED_4F", "MIXED_5C")
