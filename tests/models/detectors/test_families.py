"""The table of families, and a family that is added by one module and one line of the table."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import brightness_family
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.model_config_pb2 as pb
from google.protobuf import text_format

from models.card import BUILT_IN, CardError, read_card
from models.detectors.base import FAMILIES, BelongsTo, LearnsFrom, find_family, read_detector
from models.serving.engine import open_engine
from models.serving.export import ExportError, export, export_entries
from pipeline.cli.learn import Detector

CLIP = (4, 16, 16, 3)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of the tests' own family, which is in the table."""
    monkeypatch.setitem(FAMILIES, "brightness", "brightness_family")
    brightness_family.train(tmp_path / "bright", level=0.2)
    return tmp_path / "bright"


@pytest.fixture
def clips() -> np.ndarray:
    """Two dark clips; the second one has a white quarter, bottom left."""
    clips = np.full((2, *CLIP), 51, np.uint8)
    clips[1, :, 8:, :8] = 255
    return clips


HEAT = np.array([[[0, 0], [0, 0]], [[0, 0], [0.8, 0]]], np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_keeps_its_promises(name: str) -> None:
    family = find_family(name)
    assert family.name == name
    assert family.card.model_fields["family"].default == name
    assert callable(family.trainer())


def test_the_command_offers_every_family_that_learns_from_normal_footage() -> None:
    of_footage = {name for name in FAMILIES if find_family(name).learns_from is LearnsFrom.NORMAL_FOOTAGE}
    assert {kind.value for kind in Detector} == of_footage


def test_finding_a_family_imports_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from models.detectors.base import FAMILIES, find_family, read_detector\n"
        "for name in FAMILIES: find_family(name)\n"
        f"print(read_detector(Path({str(BUILT_IN / 'fights')!r}))[0].name, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout == "mist False\n", done.stderr


@pytest.mark.parametrize("name", ["fights", "courtyard"])
def test_cards_without_a_family_are_mists(name: str, tmp_path: Path) -> None:
    """As those of 0.1.0 were written, before there were families."""
    card = json.loads((BUILT_IN / name / "model-card.json").read_text())
    card.pop("family", None)
    (tmp_path / "model-card.json").write_text(json.dumps(card))
    family, card = read_detector(tmp_path)
    assert (family.name, family.learns_from, family.belongs_to) == ("mist", LearnsFrom.LABELS, BelongsTo.SITE)
    assert (card.family, card.architecture.type, family.heat(card)) == ("mist", "generator", None)


def test_an_unknown_family_is_one_line_with_the_known_ones(tmp_path: Path) -> None:
    card = json.loads((BUILT_IN / "fights" / "model-card.json").read_text())
    (tmp_path / "model-card.json").write_text(json.dumps(card | {"family": "palmistry"}))
    expected = f"{tmp_path}/model-card.json: family: unknown detector family 'palmistry'; known: "
    expected += ", ".join(sorted(FAMILIES))
    with pytest.raises(CardError) as refused:
        read_detector(tmp_path)
    assert str(refused.value) == expected
    with pytest.raises(CardError) as refused:
        export(str(tmp_path), tmp_path / "out")
    assert str(refused.value) == expected
    assert refused.value.exit_status == 2
    assert not (tmp_path / "out").exists()


def test_a_new_family_is_a_module_and_a_line_of_the_table(model: Path, clips: np.ndarray, tmp_path: Path) -> None:
    served = export(str(model), tmp_path / "out", name="yard")
    for engine in ("openvino", "torch"):
        scored = open_engine(engine, served / "1", CLIP).score(clips)
        np.testing.assert_allclose(scored.scores, [0, 0.8], atol=1e-5)
        np.testing.assert_allclose(scored.heat, HEAT, atol=1e-5)
        np.testing.assert_allclose(scored.features, HEAT.reshape(2, 4), atol=1e-5)
    family, card = read_detector(served)
    assert family is brightness_family.FAMILY
    assert (card.name, card.architecture, card.backbone) == ("bright", brightness_family.Levels(cells=2), None)
    assert read_card(served).training == {"level": 0.2}
    assert export_entries("brightness")[-1] == "brightness_family"
    config = text_format.Parse((served / "config.pbtxt").read_text(), pb.ModelConfig())
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    assert (config.name, parameters["family"], parameters["heat"]) == ("yard", "brightness", "anomaly")
    assert "backbone" not in parameters
    assert [(output.name, list(output.dims)) for output in config.output] == [
        ("SCORE", [1]),
        ("FEATURES", [4]),
        ("HEAT", [2, 2]),
    ]


def test_a_family_whose_network_lacks_the_heat_that_it_promises(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = dataclasses.replace(brightness_family.FAMILY, heat=lambda _card: None)
    monkeypatch.setattr(brightness_family, "FAMILY", changed)
    with pytest.raises(ExportError, match="HEAT"):
        export(str(model), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.realparts
def test_triton_serves_a_new_family_beside_another_model(
    model: Path, clips: np.ndarray, tmp_path: Path, require: Callable[[str], NoReturn]
) -> None:
    from deploy.triton.server import TritonServer

    if importlib.util.find_spec("pytriton") is None:
        require("the wheel nvidia-pytriton (make venv)")
    for name in ("yard", "door"):
        export(str(model), tmp_path / "out", name=name)
    tensor = triton.InferInput("CLIP", list(clips.shape), "UINT8")
    tensor.set_data_from_numpy(clips)
    with TritonServer(tmp_path / "out") as server, triton.InferenceServerClient(server.grpc_address) as client:
        assert server.models == ("door", "yard")
        for name in server.models:
            answer = client.infer(name, [tensor], client_timeout=60)
            np.testing.assert_allclose(answer.as_numpy("SCORE")[:, 0], [0, 0.8], atol=1e-5)
            np.testing.assert_allclose(answer.as_numpy("HEAT"), HEAT, atol=1e-5)
