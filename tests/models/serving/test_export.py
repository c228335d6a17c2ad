"""What `export` writes, and how it refuses."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format

from models.backbones.weights import UnknownWeightsError
from models.card import BUILT_IN, CardError, features_digest, read_card
from models.serving.contract import EngineChoice
from models.serving.export import ExportError, UnknownModelError, ensure_repository, export, find_model
from models.tensors import TensorsError


def config_of(repository: Path) -> pb.ModelConfig:
    """The configuration as Triton's own message reads it."""
    return text_format.Parse((repository / "clip_scorer" / "config.pbtxt").read_text(), pb.ModelConfig())


class TestConfiguration:
    def test_tensors(self, repository: Path) -> None:
        config = config_of(repository)
        assert [(i.name, i.data_type, list(i.dims)) for i in config.input] == [
            ("CLIP", pb.TYPE_UINT8, [16, 224, 224, 3])
        ]
        assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
            ("SCORE", pb.TYPE_FP32, [1]),
            ("FEATURES", pb.TYPE_FP32, [1024]),
        ]
        assert config.max_batch_size == 3
        assert config.HasField("dynamic_batching")

    def test_parameters(self, repository: Path, trained: Path) -> None:
        told = {key: value.string_value for key, value in config_of(repository).parameters.items()}
        assert told.pop("weights_sha256") == json.loads((trained / "model-card.json").read_text())["weights_sha256"]
        assert told.pop("features") == features_digest(read_card(trained))
        assert told == {
            "name": "random",
            "family": "mist",
            "backbone": "i3d-kinetics400",
            "clip_frames": "16",
            "clip_stride": "8",
            "clip_height": "224",
            "clip_width": "224",
            "clip_fit": "letterbox",
            "clip_fps": "12.5",
            "threshold": "0.625",
            "close_threshold": "0.5",
            "kernel": "5",
            "gate": "allowed",
            "ENGINE": "auto",
        }

    def test_the_card_comes_along(self, repository: Path, trained: Path) -> None:
        copied = repository / "clip_scorer" / "model-card.json"
        assert copied.read_bytes() == (trained / "model-card.json").read_bytes()


class TestNetwork:
    def test_it_is_float32_and_fixed_in_all_but_the_batch(self, version: Path) -> None:
        from models.engines.openvino import ov

        network = ov.Core().read_model(version / "scorer.xml")
        assert [(port.any_name, str(port.partial_shape)) for port in network.inputs] == [("CLIP", "[?,16,224,224,3]")]
        assert network.inputs[0].element_type == ov.Type.u8
        assert {port.any_name: str(port.partial_shape) for port in network.outputs} == {
            "SCORE": "[?,1]",
            "FEATURES": "[?,1024]",
        }
        constants = {op.get_element_type().to_string() for op in network.get_ops() if op.get_type_name() == "Constant"}
        assert "f32" in constants
        assert not constants & {"f16", "bf16", "i8", "u8"}


class TestLayers:
    def test_both_engines_score_the_features_of_several_layers(
        self, make_model: Callable[..., Path], tmp_path: Path
    ) -> None:
        from models.serving.engine import open_engine

        model = make_model("deep", height=64, width=96, layers=("mixed_4f", "mixed_5c"), inputs=1856)
        folder = export(str(model), tmp_path / "out")
        assert [list(output.dims) for output in config_of(tmp_path / "out").output] == [[1], [1856]]
        clips = np.random.default_rng(3).integers(0, 256, (1, 16, 64, 96, 3), dtype=np.uint8)
        one, other = (open_engine(kind, folder / "1", (16, 64, 96, 3)).score(clips) for kind in ("openvino", "torch"))
        np.testing.assert_allclose(one.features, other.features, atol=1e-3, rtol=0)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3, rtol=0)

    def test_a_generator_of_another_width_is_refused(self, make_model: Callable[..., Path], tmp_path: Path) -> None:
        model = make_model("narrow", layers=("mixed_4f", "mixed_5c"))
        with pytest.raises(CardError, match=r"architecture\.inputs 1024 .*mixed_4f, mixed_5c \(1856\)"):
            export(str(model), tmp_path / "out")


class TestRefusals:
    def test_an_unknown_model(self) -> None:
        with pytest.raises(UnknownModelError, match="no model 'nowhere'"):
            find_model("nowhere")

    def test_a_folder_without_a_card(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(UnknownModelError, match=r"model-card\.json"):
            export(str(tmp_path / "empty"), tmp_path / "out")

    def test_weights_that_are_not_the_cards(self, trained: Path, tmp_path: Path) -> None:
        model = Path(shutil.copytree(trained, tmp_path / "model"))
        file = model / "generator.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        with pytest.raises(TensorsError, match="SHA-256") as refused:
            export(str(model), tmp_path / "out")
        assert "\n" not in str(refused.value)
        assert list((tmp_path / "out").iterdir()) == []  # nothing half-written

    def test_another_backbone(self, trained: Path, tmp_path: Path) -> None:
        model = Path(shutil.copytree(trained, tmp_path / "model"))
        card = json.loads((model / "model-card.json").read_text())
        card["backbone"]["tensors_sha256"] = "0" * 64
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(CardError, match="backbone"):
            export(str(model), tmp_path / "out")
        card["backbone"]["name"] = "c3d-sports1m"
        (model / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(UnknownWeightsError, match="c3d-sports1m"):
            export(str(model), tmp_path / "out")

    def test_a_file_in_the_way(self, trained: Path, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("")
        with pytest.raises(ExportError, match=f"cannot write {tmp_path / 'out'}"):
            export(str(trained), tmp_path / "out")

    def test_a_foreign_folder_in_the_way_is_left_alone(self, trained: Path, tmp_path: Path) -> None:
        foreign = tmp_path / "clip_scorer"
        foreign.mkdir()
        (foreign / "thesis.txt").write_text("years of work")
        with pytest.raises(ExportError, match="is not a served model"):
            export(str(trained), tmp_path)
        assert (foreign / "thesis.txt").read_text() == "years of work"

    def test_an_impossible_batch(self, trained: Path, tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="got 0"):
            export(str(trained), tmp_path, max_batch=0)


class TestEngines:
    def test_torch_alone_has_no_network_for_openvino(self, trained: Path, tmp_path: Path) -> None:
        version = export(str(trained), tmp_path, engine=EngineChoice.TORCH) / "1"
        files = {file.name for file in version.iterdir()}
        assert "scorer.safetensors" in files
        assert "licence: MIT" in (version / "NOTICE").read_text(encoding="utf-8"), "of the backbone's weights"
        assert "scorer.xml" not in files


class TestVersions:
    def test_the_next_version_is_served_and_the_one_before_stays(
        self, trained: Path, make_model: Callable[..., Path], tmp_path: Path
    ) -> None:
        first = export(str(trained), tmp_path, engine=EngineChoice.TORCH)
        kept = {file: file.read_bytes() for file in (first / "1").iterdir()}
        assert export(str(make_model("next")), tmp_path, engine=EngineChoice.TORCH) == first
        config = config_of(tmp_path)
        assert config.parameters["name"].string_value == "next"
        assert list(config.version_policy.specific.versions) == [2]
        assert json.loads((first / "model-card.json").read_text())["name"] == "next"
        assert {file: file.read_bytes() for file in (first / "1").iterdir()} == kept
        assert {file.name for file in (first / "2").iterdir()} == {file.name for file in kept}
        assert [entry.name for entry in tmp_path.iterdir()] == ["clip_scorer"]

    def test_what_came_meanwhile_counts_too(
        self, trained: Path, make_model: Callable[..., Path], tmp_path: Path
    ) -> None:
        """The network is converted while others may export: the clips are compared again when its turn comes."""
        small = make_model("small", height=64, width=96)

        def somebody_is_faster(_doing: str) -> None:
            if not (tmp_path / "clip_scorer").exists():
                export(str(trained), tmp_path, engine=EngineChoice.TORCH)

        with pytest.raises(ExportError, match=r"serves clips of 16×224×224 .* was trained with 16×64×96"):
            export(str(small), tmp_path, engine=EngineChoice.TORCH, progress=somebody_is_faster)
        assert config_of(tmp_path).parameters["clip_height"].string_value == "224"
        assert [entry.name for entry in tmp_path.iterdir()] == ["clip_scorer"]

    def test_what_killed_exports_left_goes_with_the_next(self, trained: Path, tmp_path: Path) -> None:
        left = tmp_path / f".clip_scorer.{socket.gethostname()}.99999999-0.tmp"
        left.mkdir()
        export(str(trained), tmp_path, engine=EngineChoice.TORCH)
        assert [entry.name for entry in tmp_path.iterdir()] == ["clip_scorer"]

    def test_another_stride_is_no_other_clip_and_another_size_is(
        self, trained: Path, make_model: Callable[..., Path], tmp_path: Path
    ) -> None:
        small = make_model("small", height=64, width=96)
        target = export(str(trained), tmp_path, engine=EngineChoice.TORCH)
        with pytest.raises(ExportError) as refused:
            export(str(small), tmp_path, engine=EngineChoice.TORCH)
        assert str(refused.value) == (
            f"{target} serves clips of 16×224×224 (letterbox) at 12.5 fps, and {small} was trained with 16×64×96 "
            "(letterbox) at 12.5 fps: name another repository or another --as, or --replace the existing versions"
        )
        card = json.loads((trained / "model-card.json").read_text())
        card["clip"]["stride"] = 4
        other = Path(shutil.copytree(trained, tmp_path / "stride"))
        (other / "model-card.json").write_text(json.dumps(card))
        export(str(other), tmp_path, engine=EngineChoice.TORCH)
        assert config_of(tmp_path).parameters["clip_stride"].string_value == "4"
        export(str(small), tmp_path, engine=EngineChoice.TORCH, replace=True)
        assert sorted(entry.name for entry in target.iterdir()) == ["3", "config.pbtxt", "model-card.json"]
        assert list(config_of(tmp_path).version_policy.specific.versions) == [3]

    def test_the_default_model_does_not_become_a_version_of_the_former_one(self, tmp_path: Path) -> None:
        """The fights model of 0.2.0 took clips at the camera's own rate: running workers go on cutting those."""
        card = json.loads((BUILT_IN / "fights" / "model-card.json").read_text())
        former = {key: value for key, value in card.items() if key not in ("family", "contrast")}
        former["clip"] = {**card["clip"], "stride": 16, "fps": "native"}
        target = tmp_path / "clip_scorer"
        (target / "1").mkdir(parents=True)
        (target / "config.pbtxt").write_text("")
        (target / "model-card.json").write_text(json.dumps(former))
        with pytest.raises(ExportError) as refused:
            export("fights", tmp_path)
        assert str(refused.value) == (
            f"{target} serves clips of 16×224×224 (stretch) at native fps, and {BUILT_IN / 'fights'} was trained with "
            "16×224×224 (stretch) at 12.5 fps: name another repository or another --as, or --replace the existing "
            "versions"
        )
        assert [entry.name for entry in target.iterdir() if entry.is_dir()] == ["1"]


class TestCache:
    def test_it_is_exported_once_and_found_without_torch(self, trained: Path, tmp_path: Path) -> None:
        told: list[str] = []
        first = ensure_repository(str(trained), tmp_path, progress=told.append)
        assert (first / "clip_scorer" / "1" / "scorer.xml").exists()
        assert told
        program = (
            "import sys; from pathlib import Path; from models.serving.export import ensure_repository;"
            f"print(ensure_repository({str(trained)!r}, Path({str(tmp_path)!r}), progress=print));"
            "print({'torch', 'openvino'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
        assert done.stdout == f"{first}\nset()\n", done.stderr

        # A model whose weights differ has another card, and another place.
        other = Path(shutil.copytree(trained, tmp_path / "other"))
        card = json.loads((other / "model-card.json").read_text())
        card["weights_sha256"] = "0" * 64
        (other / "model-card.json").write_text(json.dumps(card))
        with pytest.raises(TensorsError, match="SHA-256"):
            ensure_repository(str(other), tmp_path)
        assert ensure_repository(str(trained), tmp_path) == first
