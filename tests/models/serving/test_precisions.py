"""An export's precision: int8 of a tiny network, the accuracy gate, and processors that lack a precision."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import av
import convolving_family
import numpy as np
import pytest
import tritonclient.grpc as triton
from convolving_family import CLIP
from in_process import called

import models.serving.precisions as precisions
from deploy.triton.server import TritonServer
from models.card import ModelCard, read_card, write_card
from models.detectors.base import FAMILIES
from models.engines.openvino import OpenVinoNetwork
from models.engines.precision import Precision, lacking
from models.engines.quantised import QuantisationError
from models.serving.engine import open_engine
from models.serving.export import ExportError, export
from models.serving.parts import read_parameters
from models.serving.precision_wish import PrecisionWish
from models.serving.precisions import RANGES_FILE, PrecisionError
from pipeline.calibration.file import CalibratedModel, Calibration
from pipeline.manifests.manifest import Video, manifest_lines, read_manifest
from pipeline.scoring.served_model import ServedModel

ALL = ("FP32", "INT8", "BF16")


@pytest.fixture(scope="module", autouse=True)
def family() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "convolving", "convolving_family")
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "convolving"
    convolving_family.train(folder)
    return folder


@pytest.fixture(scope="module")
def steep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose scores jump between 0 and 1: int8 moves some of them far."""
    folder = tmp_path_factory.mktemp("models") / "steep"
    convolving_family.train(folder, gain=1e6)
    return folder


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten films of noise, the abnormal ones with more contrast; three clips of four frames each."""
    folder = tmp_path_factory.mktemp("yard")
    rng = np.random.default_rng(1)
    videos = []
    for number in range(10):
        path = folder / f"{number}.mkv"
        contrast = 0.5 + 0.5 * (number % 2)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 24, 16, "bgr0"
            for _ in range(12):
                picture = (rng.integers(0, 256, (16, 24, 3)) * contrast).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        videos.append(Video(path, number % 2))
    (folder / "manifest.jsonl").write_text(manifest_lines(videos, folder))
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def quantised(model: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repository")
    export(str(model), out, precision=PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard"))
    return out


def parameters(repository: Path) -> dict[str, str]:
    return dict(read_parameters((repository / "clip_scorer" / "config.pbtxt").read_text()))


def card_of(repository: Path) -> ModelCard:
    return read_card(repository / "clip_scorer")


class TestInt8:
    def test_the_card_and_the_configuration_say_so(self, quantised: Path) -> None:
        served = card_of(quantised).served
        assert served is not None
        assert served.cost is not None
        assert (served.precision, served.forced) == ("int8", False)
        assert served.cost.validation == "a half of yard"
        assert served.cost.calibration == "the other half of yard"
        assert served.cost.calibration_clips == 15  # half of ten films, three clips each
        assert (served.cost.videos, served.cost.clips) == (5, 15)
        assert served.cost.bound == 0.1
        assert 0 < served.cost.largest_move < 0.1
        assert served.cost.processor
        assert parameters(quantised)["PRECISION"] == "int8"

    def test_scores_are_near_those_of_float32_and_not_equal(self, quantised: Path, model: Path, tmp_path: Path) -> None:
        export(str(model), tmp_path)
        assert "PRECISION" not in parameters(tmp_path)
        clips = np.random.default_rng(3).integers(0, 256, (8, *CLIP), dtype=np.uint8)
        int8 = open_engine("openvino", quantised / "clip_scorer" / "1", CLIP, precision="int8")
        plain = open_engine("openvino", tmp_path / "clip_scorer" / "1", CLIP)
        assert (int8.name, plain.name) == ("openvino int8", "openvino")
        difference = np.abs(int8.score(clips).scores - plain.score(clips).scores)
        assert 0 < difference.max() < 0.05

    def test_it_is_another_model_than_float32(self, quantised: Path, model: Path, tmp_path: Path) -> None:
        """Workers and replays compare the whole description of a model, calibrations its weights."""
        export(str(model), tmp_path / "fp32")
        export(str(model), tmp_path / "bf16", precision=PrecisionWish(Precision.BF16, force=True))
        said = {name: parameters(tmp_path / name) for name in ("fp32", "bf16")} | {"int8": parameters(quantised)}
        assert len({one["weights_sha256"] for one in said.values()}) == 3
        assert said["fp32"]["weights_sha256"] == read_card(model).weights_sha256
        clip = read_card(model).clip.spec
        served = {
            name: ServedModel("convolving", "1", clip, weights_sha256=one["weights_sha256"])
            for name, one in said.items()
        }
        made = CalibratedModel(name="convolving", version="1", weights_sha256=said["fp32"]["weights_sha256"])
        calibration: Calibration = cast("Any", Calibration).model_construct(model=made)  # it reads nothing else
        assert [calibration.made_for(served[name]) for name in ("fp32", "bf16", "int8")] == [True, False, False]

    def test_the_same_footage_gives_the_same_files(
        self, quantised: Path, model: Path, manifest: Path, tmp_path: Path
    ) -> None:
        export(str(model), tmp_path, precision=PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard"))
        for name in ("scorer.bin", "model-card.json", "config.pbtxt"):
            first, second = (one / "clip_scorer" / "1" / name for one in (quantised, tmp_path))
            assert first.read_bytes() == second.read_bytes()

    def test_a_model_with_kept_ranges_needs_no_footage(
        self, model: Path, manifest: Path, quantised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = tmp_path / "shipped"
        keep(model, manifest, shipped)
        monkeypatch.setitem(sys.modules, "nncf", None)  # nor NNCF
        for precision in (Precision.INT8, Precision.AUTO):
            export(str(shipped), tmp_path / precision, precision=PrecisionWish(precision))
            found, expected = (one / "clip_scorer" / "1" / "scorer.bin" for one in (tmp_path / precision, quantised))
            assert found.read_bytes() == expected.read_bytes()
            assert parameters(tmp_path / precision)["weights_sha256"] == parameters(quantised)["weights_sha256"]
        (shipped / RANGES_FILE).write_text("{}")
        with pytest.raises(QuantisationError, match="is not that of its model card"):
            export(str(shipped), tmp_path / "damaged", precision=PrecisionWish(Precision.INT8))
        export(str(shipped), tmp_path / "auto", precision=PrecisionWish(Precision.AUTO), replace=True)
        served = card_of(tmp_path / "auto").served
        assert served is not None
        assert served.precision == "fp32"
        assert "is not that of its model card" in served.note

    @pytest.mark.realparts
    def test_triton_scores_as_the_engine_does(
        self, quantised: Path, require: Callable[[str], NoReturn], tmp_path: Path
    ) -> None:
        if importlib.util.find_spec("pytriton") is None:
            require("the wheel nvidia-pytriton (make venv)")
        clips = np.random.default_rng(4).integers(0, 256, (4, *CLIP), dtype=np.uint8)
        engine = open_engine("openvino", quantised / "clip_scorer" / "1", CLIP, precision="int8")
        log = tmp_path / "triton.log"
        with TritonServer(quantised, log=log) as server, triton.InferenceServerClient(server.grpc_address) as client:
            for clip in clips:
                tensor = triton.InferInput("CLIP", [1, *CLIP], "UINT8")
                tensor.set_data_from_numpy(clip[None])
                answer = client.infer("clip_scorer", [tensor])
                expected = engine.score(clip[None])
                np.testing.assert_array_equal(answer.as_numpy("SCORE")[:, 0], expected.scores)
                np.testing.assert_array_equal(answer.as_numpy("FEATURES"), expected.features)
        assert "clip_scorer: openvino int8" in log.read_text()


def keep(model: Path, manifest: Path, shipped: Path) -> None:
    """Copy a model with its ranges and their figures, as a committed model has them."""
    import shutil

    shutil.copytree(model, shipped)
    precisions.keep_int8(shipped, precisions.halves(read_manifest(manifest), "yard"))


class TestGate:
    def test_a_refused_export_names_the_figures_and_writes_nothing(
        self, steep: Path, manifest: Path, tmp_path: Path
    ) -> None:
        wish = PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard")
        with pytest.raises(PrecisionError, match=r"int8: the accuracy gate refuses it: it .*expected at most"):
            export(str(steep), tmp_path, precision=wish)
        assert list(tmp_path.iterdir()) == []

    def test_force_writes_it_and_the_card_says_so(self, steep: Path, manifest: Path, tmp_path: Path) -> None:
        wish = PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard", force=True)
        export(str(steep), tmp_path, precision=wish)
        served = card_of(tmp_path).served
        assert served is not None
        assert (served.precision, served.forced) == ("int8", True)
        assert "expected at most" in served.note
        _, output, _ = called("versions", "list", tmp_path)
        assert "int8 (forced)" in output

    def test_auto_takes_float32_where_the_gate_refuses(
        self, steep: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precisions, "cpu_capabilities", lambda: ("FP32", "INT8"))  # else it may take bfloat16
        wish = PrecisionWish(Precision.AUTO, tuple(read_manifest(manifest)), "yard")
        said: list[str] = []
        export(str(steep), tmp_path, precision=wish, progress=said.append)
        served = card_of(tmp_path).served
        assert served is not None
        assert served.precision == "fp32"
        assert "int8: the accuracy gate refuses it" in served.note
        assert any("not served: int8: the accuracy gate refuses it" in line for line in said)

    def test_without_figures_int8_needs_footage_and_auto_is_float32(self, model: Path, tmp_path: Path) -> None:
        with pytest.raises(PrecisionError, match="no figures of its accuracy; measure it with --validate MANIFEST"):
            export(str(model), tmp_path, precision=PrecisionWish(Precision.INT8))
        export(str(model), tmp_path, precision=PrecisionWish(Precision.AUTO))
        assert "PRECISION" not in parameters(tmp_path)

    def test_too_few_clips_and_a_single_group_are_refused(self, model: Path, manifest: Path, tmp_path: Path) -> None:
        videos = read_manifest(manifest)
        few = PrecisionWish(Precision.INT8, tuple(videos[:4]), "few")
        with pytest.raises(PrecisionError, match=r"too few calibration clips \(got 6\); expected at least 8"):
            export(str(model), tmp_path, precision=few)
        alone = PrecisionWish(Precision.INT8, tuple(videos[:1]), "alone")
        with pytest.raises(PrecisionError, match=r"expected videos of at least 2 groups.*got 1"):
            export(str(model), tmp_path, precision=alone)

    def test_int8_needs_videos_of_both_labels(self, model: Path, manifest: Path, tmp_path: Path) -> None:
        normal = tuple(video for video in read_manifest(manifest) if video.label == 0) * 2
        with pytest.raises(PrecisionError, match="one label alone; add abnormal and normal videos of further groups"):
            export(str(model), tmp_path, precision=PrecisionWish(Precision.INT8, normal, "normal"))

    def test_a_missing_nncf_is_one_line(
        self, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "nncf", None)
        wish = PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard")
        with pytest.raises(ExportError, match=r"needs the package nncf: install mistwatch\[int8\]"):
            export(str(model), tmp_path, precision=wish)


class TestProcessors:
    @pytest.mark.parametrize(
        ("precision", "has", "lacks"),
        [
            (Precision.FP32, (), False),
            (Precision.AUTO, (), False),
            (Precision.INT8, ("FP32", "INT8"), False),
            (Precision.INT8, ("FP32",), True),
            (Precision.BF16, ("FP32", "INT8"), True),
            (Precision.BF16, ALL, False),
            (Precision.FP16, (*ALL, "FP16"), True),
        ],
    )
    def test_what_a_processor_lacks(self, precision: Precision, has: tuple[str, ...], lacks: bool) -> None:
        assert bool(lacking(precision, has)) == lacks

    def test_a_lacking_precision_is_refused_and_forced_for_another_machine(
        self, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precisions, "cpu_capabilities", lambda: ("FP32", "INT8"))
        with pytest.raises(PrecisionError, match=r"--precision bf16: this processor has no bfloat16.*--force"):
            export(str(model), tmp_path, precision=PrecisionWish(Precision.BF16))
        for name, videos in (("without", ()), ("with", tuple(read_manifest(manifest)))):
            out = tmp_path / name
            export(str(model), out, precision=PrecisionWish(Precision.BF16, videos, "yard", force=True))
            assert parameters(out)["PRECISION"] == "bf16"
            served = card_of(out).served
            assert served is not None
            assert (served.precision, served.forced, served.cost) == ("bf16", True, None)  # float32 is not its cost
            assert served.note == "not measured: this processor has no bfloat16 (AVX512-BF16 or AMX)"

    def test_a_lacking_precision_is_not_measured(
        self, model: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(precisions, "cpu_capabilities", lambda: ("FP32",))
        wish = PrecisionWish(Precision.INT8, tuple(read_manifest(manifest)), "yard", force=True)
        with pytest.raises(PrecisionError, match="int8 cannot be measured here: OpenVINO has no int8"):
            export(str(model), tmp_path, precision=wish)

    def test_a_version_computes_in_float32_where_the_processor_lacks_it(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        export(str(model), tmp_path)
        monkeypatch.setattr("models.engines.openvino.cpu_capabilities", lambda: ("FP32",))
        network = OpenVinoNetwork(tmp_path / "clip_scorer" / "1" / "scorer.xml", precision=Precision.BF16)
        assert network.name == "openvino in float32, not bf16: this processor has no bfloat16 (AVX512-BF16 or AMX)"

    def test_an_unknown_precision_ends_the_loading(self, model: Path, tmp_path: Path) -> None:
        export(str(model), tmp_path)
        with pytest.raises(ValueError, match="PRECISION must be one of auto, fp32, bf16, int8, fp16, got 'int4'"):
            open_engine("openvino", tmp_path / "clip_scorer" / "1", CLIP, precision="int4")


class TestCommand:
    def test_export_measures_and_lists_the_precision(self, model: Path, manifest: Path, tmp_path: Path) -> None:
        out = tmp_path / "models"
        command = ["export", "--model", str(model), "--out", str(out), "--precision", "int8"]
        status, _, problems = called(*command, "--validate", manifest)
        assert status == 0, problems
        assert f"int8 on 5 videos of a half of {manifest.parent.name}" in problems
        assert ", int8" in called("versions", "list", out)[1]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--precision", "int8"], "measure it with --validate MANIFEST"),
            (["--precision", "fp16"], "OpenVINO computes in fp32, bf16 or int8 on a CPU"),
            (["--precision", "int8", "--engine", "torch"], "torch serves in fp32"),
            (["--force", "--engine", "torch"], "--validate, --force: leave them out; torch serves in fp32"),
            (["--force"], "--force: the card of convolving has no figures by which auto could choose"),
        ],
    )
    def test_refusals_are_one_line_and_status_1(
        self, model: Path, tmp_path: Path, options: list[str], says: str
    ) -> None:
        status, _, problems = called("export", "--model", model, "--out", tmp_path / "models", *options)
        assert status == 1
        assert says in problems.splitlines()[-1]
        assert "Traceback" not in problems

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (
                ["--precision", "fp32", "--validate", "MANIFEST"],
                "--validate: judges bf16 and int8 (got --precision fp32)",
            ),
            (["--precision", "fp32", "--force"], "--force: the accuracy gate refuses bf16 and int8 alone"),
            (["--into", "cameras", "--precision", "int8"], "--into: leave out --precision, --validate and --force"),
            (["--validate", "missing.jsonl"], "missing.jsonl: no such manifest"),
        ],
    )
    def test_wrong_options_are_one_line_and_status_2(
        self, model: Path, manifest: Path, tmp_path: Path, options: list[str], says: str
    ) -> None:
        given = [str(manifest) if option == "MANIFEST" else option for option in options]
        status, _, problems = called("export", "--model", model, "--out", tmp_path / "models", *given)
        assert status == 2
        assert says in " ".join(problems.split())


def test_cards_of_earlier_versions_are_read(model: Path, tmp_path: Path) -> None:
    """They have neither key."""
    written = json.loads((model / "model-card.json").read_text())
    del written["precisions"], written["served"]
    (tmp_path / "model-card.json").write_text(json.dumps(written))
    assert read_card(tmp_path).precisions == ()
    write_card(read_card(tmp_path), tmp_path)
