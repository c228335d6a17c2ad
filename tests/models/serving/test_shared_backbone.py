"""Detectors on one backbone: the same scores as apart, and each clip computed once for all of them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import av
import contrast_family
import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from in_process import called
from tritonclient.utils import InferenceServerException

from deploy.triton.server import TritonServer
from models.detectors.base import FAMILIES
from models.serving import versions
from models.serving.contract import EngineChoice
from models.serving.engine import open_engine
from models.serving.export import ExportError, export
from models.serving.kept import KeptResults
from models.serving.over_backbone import NamedBackbone, open_beside
from pipeline.cli.repository import let_load
from pipeline.errors import UsageError
from pipeline.scoring.outcomes import Dropped, DropReason, Scored, ScoringListener
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import Trouble, diagnose
from pipeline.sources.base import Fit, Segment
from pipeline.windows import ClipSpec, ClipWindow

CLIP = (4, 16, 24, 3)
TIMES = {"quiet": 0.5, "loud": 2.0}  #: the detectors, and what their heads multiply the score by
GAIN = 0.25  #: of their backbone
Clips = npt.NDArray[np.uint8]
#: Code for the served backbone, which then raises on a clip whose first byte is 255: words like Triton's own.
RAISES = """
def _run(self, clips, run=KeptResults.run):
    if (clips[:, 0, 0, 0, 0] == 255).any():
        raise ValueError("Model 'backbone' is not ready")
    return run(self, clips)

KeptResults.run = _run
"""


@pytest.fixture(scope="module")
def families() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "contrast", "contrast_family")
        yield


@pytest.fixture(scope="module")
def detectors(families: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two detectors on a tiny backbone of the tests' own, which read a scene."""
    folder = tmp_path_factory.mktemp("models")
    for name, times in TIMES.items():
        contrast_family.train(folder / name, gain=GAIN, times=times)
    return {name: folder / name for name in TIMES}


@pytest.fixture(scope="module")
def shared(detectors: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shared")
    for name, model in detectors.items():
        export(str(model), out, name=name, share_backbone=True)
    return out


@pytest.fixture(scope="module")
def some_clips() -> Clips:
    """Noise that becomes brighter from clip to clip, in the left half more than in the right one."""
    clips = np.random.default_rng(11).integers(0, 50, (5, *CLIP), dtype=np.uint8)
    for number, clip in enumerate(clips):
        clip[2:, :, :12] += np.uint8(40 * number)
        clip[3:, :, 12:] += np.uint8(15 * number)
    return clips


@pytest.fixture(scope="module")
def expected(some_clips: Clips) -> dict[str, npt.NDArray[np.float64]]:
    """By hand: the greatest difference of a quarter's brightness from that of the clip's lower median."""
    medians = np.sort(some_clips, axis=1)[:, (CLIP[0] - 1) // 2]
    moved = np.abs(quarters(some_clips.mean(axis=1)) - quarters(medians)).max(axis=(1, 2))
    assert np.ptp(moved) > 0.02, "clips that score alike would prove little"
    return {name: moved * times for name, times in TIMES.items()}


def quarters(pictures: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(N, 16, 24, 3) → the brightness of each quarter times the backbone's gain, (N, 2, 2)."""
    return pictures.mean(axis=3, dtype=float).reshape(-1, 2, 8, 2, 12).mean(axis=(2, 4)) / 255 * GAIN


def backbones(repository: Path) -> list[str]:
    return sorted(file.name for file in repository.glob("backbone_*"))


class TestRepository:
    def test_one_backbone_lies_beside_the_heads(self, shared: Path) -> None:
        (name,) = backbones(shared)
        assert versions.served_models(shared) == sorted(TIMES)
        assert {versions.backbone_of(shared / model / "1") for model in TIMES} == {name}
        stored = json.loads((shared / "loud" / "1" / "backbone.json").read_text())
        assert stored == {"model": name, "reads": ["SHOWN"]}

    def test_the_command_writes_both_and_the_list_of_versions_leaves_the_backbone_out(
        self, detectors: dict[str, Path], tmp_path: Path
    ) -> None:
        for name, model in detectors.items():
            status, said, _ = called("export", "--model", model, "--out", tmp_path, "--as", name, "--share-backbone")
            assert (status, said.startswith(f"{tmp_path / name}: version 1, ")) == (0, True)
        assert len(backbones(tmp_path)) == 1
        status, said, _ = called("versions", "list", tmp_path)
        assert status == 0
        assert "backbone" not in said

    def test_other_weights_and_other_clips_stand_on_another_backbone(
        self, detectors: dict[str, Path], tmp_path: Path
    ) -> None:
        contrast_family.train(tmp_path / "weights", gain=0.75)
        contrast_family.train(tmp_path / "clips", gain=GAIN, width=32)
        for name, model in {"a": detectors["loud"], "b": tmp_path / "weights", "c": tmp_path / "clips"}.items():
            export(str(model), tmp_path / "out", name=name, share_backbone=True)
        assert len(backbones(tmp_path / "out")) == 3

    def test_a_version_elsewhere_brings_its_backbone_along(self, shared: Path, tmp_path: Path) -> None:
        for name in TIMES:
            versions.link_version(shared / name, 1, tmp_path / name)
        assert backbones(tmp_path) == backbones(shared)
        assert (tmp_path / backbones(shared)[0] / "config.pbtxt").is_file()

    def test_what_cannot_share_is_refused(self, detectors: dict[str, Path], tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="a shared backbone runs on OpenVINO alone"):
            export(str(detectors["loud"]), tmp_path, share_backbone=True, engine=EngineChoice.TORCH)
        with pytest.raises(ExportError, match="has no backbone to share; leave out --share-backbone"):
            export("courtyard-motion", tmp_path, share_backbone=True)
        with pytest.raises(UsageError, match="must not begin with backbone_"):
            export(str(detectors["loud"]), tmp_path, name="backbone_of_mine")
        assert versions.served_models(tmp_path) == []


class TestEngine:
    @pytest.mark.parametrize("name", TIMES)
    def test_the_bits_are_those_of_a_detector_with_its_own_backbone(
        self,
        shared: Path,
        name: str,
        detectors: dict[str, Path],
        some_clips: Clips,
        expected: dict[str, npt.NDArray[np.float64]],
        tmp_path: Path,
    ) -> None:
        export(str(detectors[name]), tmp_path, engine=EngineChoice.OPENVINO)
        apart = open_engine("openvino", tmp_path / "clip_scorer" / "1", CLIP).score(some_clips)
        together = open_engine("auto", shared / name / "1", CLIP).score(some_clips)
        np.testing.assert_allclose(together.scores, expected[name], atol=1e-6, rtol=0)
        for one, other in zip(together, apart, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_clip_that_two_detectors_score_passes_the_backbone_once(self, shared: Path, some_clips: Clips) -> None:
        backbone = open_beside(shared / "loud" / "1", NamedBackbone(backbones(shared)[0], ()))
        for name in TIMES:
            open_engine("auto", shared / name / "1", CLIP, backbone=lambda _: backbone).score(some_clips)
        assert backbone.passes == len(some_clips)

    def test_a_batch_that_holds_a_clip_twice_computes_it_once(self, shared: Path, some_clips: Clips) -> None:
        backbone = open_beside(shared / "loud" / "1", NamedBackbone(backbones(shared)[0], ()))
        engine = open_engine("auto", shared / "loud" / "1", CLIP, backbone=lambda _: backbone)
        scores = engine.score(some_clips[[0, 4, 0]]).scores
        assert backbone.passes == 2
        assert scores[0] == scores[2] != scores[1]

    def test_a_missing_backbone_and_a_damaged_name_are_one_line(self, shared: Path, tmp_path: Path) -> None:
        shutil.copytree(shared / "loud", tmp_path / "loud")
        with pytest.raises(RuntimeError, match=r"backbone_\w+/1/scorer.xml is missing; write it again"):
            open_engine("auto", tmp_path / "loud" / "1", CLIP)
        for damaged in ("{", '{"model": "../x", "reads": []}', "[]"):
            (tmp_path / "loud" / "1" / "backbone.json").write_text(damaged)
            with pytest.raises(RuntimeError, match=r"backbone.json.*write it again with mistwatch export"):
                open_engine("auto", tmp_path / "loud" / "1", CLIP)


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


@pytest.fixture(scope="module")
def server(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], NoReturn]
) -> Iterator[TritonServer]:
    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    repository = tmp_path_factory.mktemp("served") / "repository"
    shutil.copytree(shared, repository)
    with (repository / backbones(repository)[0] / "1" / "model.py").open("a") as code:
        code.write(RAISES)
    with TritonServer(repository) as server:
        yield server


def infer(server: TritonServer, name: str, clips: Clips) -> triton.InferResult:
    tensor = triton.InferInput("CLIP", list(clips.shape), "UINT8")
    tensor.set_data_from_numpy(clips)
    with triton.InferenceServerClient(server.grpc_address) as client:
        return client.infer(name, [tensor], client_timeout=120)


def window(index: int, pixels: Clips) -> ClipWindow:
    now = datetime.now(UTC)
    segment = Segment("gate-1", "gate", live=False)
    middle = av.VideoFrame(32, 32, "rgb24")
    return ClipWindow(segment, index, float(index), index + 1.0, None, None, now, pixels, middle)


def kill_stub(server: TritonServer, model: str) -> None:
    """SIGKILL to the process of a model, which its command line names."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if b"stub" in command.split(b"\0")[0] and f"{server.repository}/{model}/1/model.py".encode() in command:
            os.kill(int(process.name), signal.SIGKILL)
            return
    pytest.fail(f"{model} has no process")


class Site:
    """Two detectors of a camera that score the same clips, and what their worker says."""

    def __init__(self, scorer: Scorer) -> None:
        self.outcomes: dict[str, list[Scored | Dropped]] = {name: [] for name in TIMES}
        self._ports = [
            scorer.add_camera("gate", model=name, detector=name, live=False, capacity=9, deliver=outcomes.append)
            for name, outcomes in self.outcomes.items()
        ]

    def score(self, first: int, clips: Clips) -> dict[str, list[float | None]]:
        """Return each detector's scores once all are there; None for a dropped clip."""
        for index, clip in enumerate(clips, first):
            for port in self._ports:
                port.submit(window(index, clip))
        limit = time.monotonic() + 60
        while min(map(len, self.outcomes.values())) < first + len(clips):
            assert time.monotonic() < limit, "waited in vain"
            time.sleep(0.02)
        found = {}
        for name, outcomes in self.outcomes.items():
            ordered = sorted(outcomes, key=lambda outcome: outcome.window.index)[first:]
            found[name] = [outcome.score if isinstance(outcome, Scored) else None for outcome in ordered]
        return found


class Said(ScoringListener):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def waiting(self, reason: str) -> None:
        self.lines.append(reason)

    def recovered(self) -> None:
        self.lines.append("recovered")


@pytest.fixture
def site(server: TritonServer) -> Iterator[tuple[Site, Said]]:
    """A worker whose Triton is its own."""
    spec = ClipSpec(frames=CLIP[0], stride=2, height=CLIP[1], width=CLIP[2], fit=Fit.STRETCH, fps=5.0)
    said = Said()
    models = [ScoredModel(name, spec) for name in TIMES]
    with Scorer(server.grpc_address, models, listener=said, repair=True) as scorer:
        yield Site(scorer), said


def passes(server: TritonServer) -> dict[str, int]:
    """The backbone's own count, as Triton's metrics have it."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("mistwatch_backbone_clips")]
    found = dict.fromkeys(("computed", "kept"), 0)
    return found | {line.split('result="')[1].split('"')[0]: int(float(line.split()[-1])) for line in lines}


@pytest.mark.realparts
class TestTriton:
    def test_two_detectors_of_one_triton_compute_a_clip_once(
        self, server: TritonServer, some_clips: Clips, expected: dict[str, npt.NDArray[np.float64]]
    ) -> None:
        before = passes(server)
        for of_clips in (slice(0, 2), slice(2, 4)):
            for name in TIMES:
                scores = infer(server, name, some_clips[of_clips]).as_numpy("SCORE")[:, 0]
                np.testing.assert_allclose(scores, expected[name][of_clips], atol=1e-6, rtol=0)
        now = passes(server)
        assert now["computed"] - before["computed"] == 4
        assert now["kept"] - before["kept"] == 4

    def test_a_dead_backbone_is_loaded_anew_for_all_its_detectors(
        self,
        server: TritonServer,
        site: tuple[Site, Said],
        some_clips: Clips,
        expected: dict[str, npt.NDArray[np.float64]],
    ) -> None:
        on_site, said = site
        found = on_site.score(0, some_clips[:1])
        backbone = versions.backbone_of(server.repository / "quiet" / "1")
        assert backbone is not None
        kill_stub(server, backbone)
        later = on_site.score(1, some_clips[1:])
        for name in TIMES:
            np.testing.assert_allclose(found[name] + later[name], expected[name], atol=1e-6, rtol=0)
        assert said.lines == [
            f"Triton at {server.grpc_address}: the process of the model {backbone} has died; "
            "unload and load the model, or restart the server",
            "recovered",
        ]

    def test_a_clip_that_the_backbone_fails_on_is_dropped_and_the_others_go_on(
        self, site: tuple[Site, Said], some_clips: Clips, expected: dict[str, npt.NDArray[np.float64]]
    ) -> None:
        on_site, said = site
        bad = some_clips.copy()
        bad[1, 0, 0, 0, 0] = 255
        found = on_site.score(0, bad)
        for name in TIMES:
            assert found[name].pop(1) is None
            np.testing.assert_allclose(found[name], np.delete(expected[name], 1), atol=1e-6, rtol=0)
            (dropped,) = (outcome for outcome in on_site.outcomes[name] if isinstance(outcome, Dropped))
            assert dropped.reason is DropReason.ERROR
            assert "does not answer: the backbone failed: Model 'backbone' is not ready" in dropped.detail
        assert said.lines == []

    def test_a_version_is_exchanged_and_the_other_detector_goes_on(
        self,
        server: TritonServer,
        detectors: dict[str, Path],
        some_clips: Clips,
        expected: dict[str, npt.NDArray[np.float64]],
    ) -> None:
        earlier = versions.history(server.repository / "loud")
        export(str(detectors["quiet"]), server.repository, name="loud", share_backbone=True)
        assert len(backbones(server.repository)) == 1
        let_load(server.repository / "loud", server.grpc_address, earlier)
        for name in TIMES:
            answer = infer(server, name, some_clips[:2])
            assert answer.get_response().model_version == ("2" if name == "loud" else "1")
            np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], expected["quiet"][:2], atol=1e-6, rtol=0)

    def test_a_new_backbone_is_loaded_before_its_detector(
        self, server: TritonServer, some_clips: Clips, tmp_path: Path, expected: dict[str, npt.NDArray[np.float64]]
    ) -> None:
        contrast_family.train(tmp_path / "other", gain=2 * GAIN)
        export(str(tmp_path / "other"), server.repository, name="other", share_backbone=True)
        assert len(backbones(server.repository)) == 2
        let_load(server.repository / "other", server.grpc_address, [])
        scores = infer(server, "other", some_clips[:2]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(scores, 2 / TIMES["quiet"] * expected["quiet"][:2], atol=1e-6, rtol=0)

    def test_a_damaged_detector_leaves_the_other_one(
        self,
        server: TritonServer,
        detectors: dict[str, Path],
        some_clips: Clips,
        expected: dict[str, npt.NDArray[np.float64]],
    ) -> None:
        export(str(detectors["loud"]), server.repository, name="damaged", share_backbone=True)
        (server.repository / "damaged" / "1" / "scorer.xml").write_text("<net")
        with (
            triton.InferenceServerClient(server.grpc_address) as client,
            pytest.raises(InferenceServerException, match="write it again with mistwatch export"),
        ):
            client.load_model("damaged")
        scores = infer(server, "quiet", some_clips[:2]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(scores, expected["quiet"][:2], atol=1e-6, rtol=0)

    def test_without_its_backbone_a_detector_is_not_ready_until_it_is_back(
        self, server: TritonServer, some_clips: Clips, expected: dict[str, npt.NDArray[np.float64]]
    ) -> None:
        backbone = versions.backbone_of(server.repository / "quiet" / "1")
        with triton.InferenceServerClient(server.grpc_address) as client:
            client.unload_model(backbone)
            while client.is_model_ready(backbone):  # unloading goes on in the background
                time.sleep(0.02)
            with pytest.raises(InferenceServerException) as refused:
                infer(server, "quiet", some_clips[:1])
            trouble, line = diagnose(refused.value, server.grpc_address, "quiet")
            assert trouble is Trouble.NOT_READY, "the worker would drop its clips"
            assert f"quiet: the served model {backbone} does not answer" in line
            client.load_model(backbone)
        scores = infer(server, "quiet", some_clips[:1]).as_numpy("SCORE")[:, 0]
        np.testing.assert_allclose(scores, expected["quiet"][:1], atol=1e-6, rtol=0)
