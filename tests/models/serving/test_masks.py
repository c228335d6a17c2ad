"""The input MASK: declared by the models that take it, parts or not, and exact in process."""

from __future__ import annotations

from pathlib import Path

import brightness_family
import numpy as np
import pytest
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format
from parts_of_brightness import HOST, as_of_other_code, put, use_programs
from tiny_motion import motion_model

from models.detectors.base import FAMILIES
from models.serving import versions
from models.serving.engine import open_engine
from models.serving.export import export
from models.serving.part_export import export_part

CLIP = (2, 64, 64, 3)


def inputs_of(config: Path) -> list[tuple[str, int, list[int], bool]]:
    parsed = text_format.Parse(config.read_text(), pb.ModelConfig())
    return [(one.name, one.data_type, list(one.dims), one.optional) for one in parsed.input]


@pytest.fixture
def clips() -> np.ndarray:
    """Three clips in which everything moves, each cell in its own way."""
    return np.random.default_rng(4).integers(0, 256, (3, *CLIP), dtype=np.uint8)


def test_a_program_of_cells_declares_it_with_the_size_of_heat(tmp_path: Path) -> None:
    folder = export(str(motion_model(tmp_path / "motion", "motion")), tmp_path / "out")
    assert inputs_of(folder / "config.pbtxt") == [
        ("CLIP", pb.TYPE_UINT8, list(CLIP), False),
        ("MASK", pb.TYPE_UINT8, [8, 8], True),
    ]


def test_a_model_that_hosts_parts_declares_it_too(tmp_path: Path) -> None:
    export_part(str(motion_model(tmp_path / "motion", "motion")), tmp_path / "out", into="hosting")
    assert inputs_of(tmp_path / "out" / "hosting" / "config.pbtxt") == [
        ("CLIP", pb.TYPE_UINT8, list(CLIP), True),
        ("PART", pb.TYPE_UINT8, [-1], False),
        ("MASK", pb.TYPE_UINT8, [8, 8], True),
    ]


def test_an_older_hosting_model_gets_it_with_its_next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_programs(monkeypatch)
    put(tmp_path, "gate", 0.2)
    host = tmp_path / "repository" / HOST
    as_of_other_code(host)
    for config in (host / "config.pbtxt", host / "1" / "config.pbtxt"):
        mask = ',\n  { name: "MASK" data_type: TYPE_UINT8 dims: [ 16, 16 ] optional: true }'
        text = config.read_text()
        assert mask in text
        config.write_text(text.replace(mask, ""))
    put(tmp_path, "yard", 0.2)
    assert versions.served(host) == 2
    assert ("MASK", pb.TYPE_UINT8, [16, 16], True) in inputs_of(host / "config.pbtxt")


def test_a_mask_reaches_the_cells_and_none_changes_no_bit(tmp_path: Path, clips: np.ndarray) -> None:
    version = export(str(motion_model(tmp_path / "motion", "motion")), tmp_path / "out") / "1"
    engine = open_engine("auto", version, CLIP)
    plain = engine.score(clips)
    masks = np.zeros((3, 8, 8), np.uint8)
    zeros = engine.score(clips, masks=masks)
    assert [one.tobytes() for one in zeros] == [one.tobytes() for one in plain]
    assert plain.heat is not None
    masks[1] = plain.heat[1] > np.sort(plain.heat[1].flat)[-20]
    masks[2] = 1
    masked = engine.score(clips, masks=masks)
    assert masked.scores[0] == plain.scores[0]
    assert 0 < masked.scores[1] < plain.scores[1]
    assert masked.scores[2] == 0
    np.testing.assert_array_equal(masked.heat, np.where(masks, 0, plain.heat))
    np.testing.assert_array_equal(masked.features, plain.features)


def test_a_network_declares_none_and_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "brightness", "brightness_family")
    brightness_family.train(tmp_path / "bright", level=0.2)
    folder = export(str(tmp_path / "bright"), tmp_path / "out")
    assert [name for name, *_ in inputs_of(folder / "config.pbtxt")] == ["CLIP"]
    engine = open_engine("openvino", folder / "1", (4, 16, 16, 3))
    with pytest.raises(ValueError, match="the model takes no mask; replace what is ignored in its clips"):
        engine.score(np.zeros((1, 4, 16, 16, 3), np.uint8), masks=np.zeros((1, 2, 2), np.uint8))
