"""``mistwatch evaluate`` and ``compare`` as a person meets them: what is printed, what is written, and the status."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from in_process import called
from judged_runs import alert, clips, row, run, write_run
from PIL import Image
from site_runs import BRIGHT, DARK, write_video
from sklearn.metrics import roc_auc_score

from operators.heat_kind import HeatKind
from pipeline.runs.folder import RunModel


@pytest.fixture
def mistwatch(monkeypatch, tmp_path):
    """The command in this process: status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return called


@pytest.fixture
def files(tmp_path):
    np.savez(tmp_path / "scores.npz", a=np.array([0.9, 0.7, 0.3]), n=np.array([0.1, 0.6]), only=np.array([0.5]))
    np.savez(tmp_path / "labels.npz", a=np.array([1, 0, 1]), n=np.array([0, 0]))
    return "--scores", "scores.npz", "--labels", "labels.npz", "--frames-per-score", "1", "--draws", "20"


@pytest.fixture
def two_runs(tmp_path):
    """A run that finds the fight, and one that does not."""
    fight = clips([0.1, 0.9, 0.9, 0.1])
    calm = clips([0.1, 0.7, 0.1])
    rows = [
        (row("fight", fight, label=1, intervals=[(16, 48)]), fight),
        (row("calm", calm), calm),
        (row("bad", clips([]), error="bad.mp4: not a video"), clips([])),
    ]
    found = run(rows, {"fight": [alert(2.0, 4.0)]}, tmp_path / "a")
    blind = clips([0.1, 0.2, 0.1, 0.1])
    missed = run([(row("fight", blind, label=1, intervals=[(16, 48)]), blind), *rows[1:]], {}, tmp_path / "b")
    return write_run(found), write_run(missed)


def test_the_last_line_is_one_flat_object(mistwatch, files):
    status, out, _ = mistwatch("evaluate", *files, "--json")
    assert status == 0
    (line,) = out.splitlines()
    flat = json.loads(line)
    # Of 2 · 3 pairs 0.9 wins all, 0.3 only over 0.1.
    assert flat["frame_auc"] == pytest.approx(4 / 6)
    assert flat["video_auc"] == 1.0
    assert flat["recall_at_fpr_0.02"] == 0.5
    assert (flat["videos"], flat["frames"], flat["only_scores"]) == (2, 5, 1)


def test_beside_json_the_rest_is_told_on_standard_error(mistwatch, tmp_path):
    """However much it is: without --out no file has it."""
    only = [f"only{number}" for number in range(30)]
    np.savez(tmp_path / "scores.npz", a=np.array([0.9, 0.7]), **dict.fromkeys(only, np.array([0.5])))
    np.savez(tmp_path / "labels.npz", a=np.array([1, 0, 0]), b=np.array([1]))
    files = ("--scores", "scores.npz", "--labels", "labels.npz", "--frames-per-score", "2", "--draws", "5")
    status, out, err = mistwatch("evaluate", *files, "--json")
    assert (status, len(out.splitlines())) == (0, 1)
    assert err.splitlines() == [
        "mistwatch: 1 video, 1 of them abnormal; 3 frames.",
        f"mistwatch: 30 videos have scores but no labels: {', '.join(only)}.",
        "mistwatch: 1 video has labels but no scores: b.",
        "mistwatch: The last score of 1 videos stands for fewer than 2 frames.",
    ]


def test_a_table_for_people_fits_their_terminal(mistwatch, files):
    status, out, _ = mistwatch("evaluate", *files)
    assert status == 0
    assert "2 videos, 1 of them abnormal; 5 frames." in out
    assert "1 video has scores but no labels: only." in out
    assert "0.667" in out
    assert max(map(len, out.splitlines())) <= 80


def test_metrics_and_report_are_kept(mistwatch, files, tmp_path):
    status, out, err = mistwatch("evaluate", *files, "--out", "kept", "--json")
    assert (status, len(out.splitlines())) == (0, 1)
    metrics = json.loads((tmp_path / "kept" / "metrics.json").read_text())
    assert metrics["columns"]["raw"]["figures"]["frame_auc"]["value"] == pytest.approx(4 / 6)
    assert metrics["only_scores"] == ["only"]
    assert metrics["settings"]["judgement"]["frames_per_score"] == 1
    assert len(metrics["settings"]["files"]["scores_sha256"]) == 64
    assert "<html" in (tmp_path / "kept" / "report.html").read_text()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["metrics.json", "report.html"]
    assert "wrote kept/report.html" in err


def test_alerts_of_somebodys_scores(mistwatch, files):
    status, out, _ = mistwatch("evaluate", *files, "--fps", "1", "--threshold", "0.6", "--kernel", "1", "--json")
    flat = json.loads(out.splitlines()[-1])
    # In a the alert opens at 1 s, with the first incident's end; the second one at 2 s comes in the cooldown. In n the
    # last frame raises a false one.
    assert (status, flat["event_recall"], flat["event_precision"]) == (0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "evaluate a MANIFEST or the folder of a replay, or --scores FILE --labels FILE"),
        (("--scores", "scores.npz"), "--scores FILE needs --labels FILE"),
        (("run", "--labels", "labels.npz"), "evaluate a MANIFEST or the folder"),
        (("gone.jsonl",), "gone.jsonl"),
        (("labels.npz",), "labels.npz: expected a labelled manifest (.jsonl), or the folder of a replay"),
        ((".",), ": no run of a replay (no run.json)"),
        ((".", "--model", "fights"), "is replayed already"),
        (("--scores", "gone.npz", "--labels", "labels.npz"), "gone.npz: no such file"),
        (("--scores", "scores.npz", "--labels", "nan.npz"), "nan.npz: a: label 1 is nan; expected 0 or 1"),
        (("--scores", "nan.npz", "--labels", "labels.npz"), "nan.npz: a: score 1 is nan; expected finite numbers"),
        (("--scores", "scores.npz", "--labels", "long.npz"), "a: 3 scores of 16 frames are 48 frames, and 64 have a"),
        (("--scores", "scores.npz", "--labels", "labels.npz", "--by", "frame"), "--by frame: expected video or group"),
        (("--scores", "scores.npz", "--labels", "labels.npz", "--threshold", "1"), "--threshold needs --fps"),
        (("--scores", "scores.npz", "--labels", "labels.npz", "--masks", "m.npz"), "--masks FILE needs --maps FILE"),
        (("--scores", "scores.npz", "--labels", "labels.npz", "--maps", "m.npz"), "--maps FILE needs --masks FILE"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(mistwatch, files, tmp_path, words, message):
    np.savez(tmp_path / "nan.npz", a=np.array([0.0, np.nan, 1.0]))
    np.savez(tmp_path / "long.npz", a=np.zeros(64))
    status, out, err = mistwatch("evaluate", *words)
    assert (status, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_run_is_judged_in_its_own_folder(mistwatch, two_runs):
    folder, _ = two_runs
    status, out, err = mistwatch("evaluate", folder, "--draws", "20", "--json")
    flat = json.loads(out.splitlines()[-1])
    assert (status, flat["event_recall"], flat["videos"], flat["left_out"]) == (0, 1.0, 2, 1), err
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["left_out"] == [{"name": "bad", "reason": "bad.mp4: not a video"}]
    assert metrics["settings"]["model"]["name"] == "m"
    assert metrics["settings"]["operators"]["open_threshold"] == 0.5
    assert (folder / "report.html").is_file()


def test_where_a_model_looked_is_judged_by_masks(mistwatch, two_runs, tmp_path):
    folder, _ = two_runs
    looked = np.zeros((4, 2, 2), np.float32)
    looked[:, 0, 0] = 1.0
    masks = np.zeros((64, 2, 2), bool)
    masks[16:48, 0, 0] = True
    np.savez(tmp_path / "masks.npz", fight=masks)
    status, _, err = mistwatch("evaluate", folder, "--draws", "5", "--json", "--masks", "masks.npz")
    assert status == 2
    assert "the run has no heat maps; name --maps FILE" in err
    (folder / "attention").mkdir()
    np.save(folder / "attention" / f"{row('fight').key}.npy", looked)
    status, out, err = mistwatch("evaluate", folder, "--draws", "5", "--json", "--masks", "masks.npz")
    # Its attention times its score is 0.9 where something is, and at most 0.1 elsewhere.
    assert (status, json.loads(out.splitlines()[-1])["pixel_auc"]) == (0, 1.0), err
    columns = json.loads((folder / "metrics.json").read_text())["columns"]
    # By the average of two clips the last one has 0.5, as the first abnormal one; three pixels of each frame have 0: of
    # 2 · 14 pairs one is a tie.
    assert columns["causal"]["pixels"]["pixel_auc"]["value"] == pytest.approx(27.5 / 28)
    assert columns["raw"]["pixels"]["pixel_auc"]["value"] == 1.0
    np.savez(tmp_path / "maps.npz", fight=1 - looked)
    status, out, _ = mistwatch("evaluate", folder, "--masks", "masks.npz", "--maps", "maps.npz", "--draws", "5")
    assert status == 0
    line = next(line for line in out.splitlines() if "per-region overlap" in line)
    assert len(line.split()) == 3  # nobody knows how somebody's maps would be smoothed
    columns = json.loads((folder / "metrics.json").read_text())["columns"]
    assert [columns[name]["pixels"] is None for name in ("raw", "causal", "centred")] == [False, True, True]


def test_anomaly_maps_are_judged_as_they_are(mistwatch, two_runs, tmp_path):
    """They can be compared between clips: the clips' scores, 0.1 and 0.9, have no part in them."""
    folder, _ = two_runs
    settings = json.loads((folder / "run.json").read_text())
    settings["model"]["heat"] = "anomaly"
    (folder / "run.json").write_text(json.dumps(settings))
    heat = np.zeros((4, 2, 2), np.float32)
    heat[:, 0, 0] = 0.9, 0.3, 0.3, 0.9
    masks = np.zeros((64, 2, 2), bool)
    masks[16:48, 0, 0] = True
    np.savez(tmp_path / "masks.npz", fight=masks)
    (folder / "attention").mkdir()
    np.save(folder / "attention" / f"{row('fight').key}.npy", heat)
    status, _, err = mistwatch("evaluate", folder, "--draws", "5", "--masks", "masks.npz")
    assert status == 0, err
    document = json.loads((folder / "metrics.json").read_text())
    columns = document["columns"]
    assert columns["raw"]["pixels"]["pixel_auc"]["value"] == pytest.approx(
        12 / 14
    )  # two of 14 normal pixels are hotter
    assert columns["causal"]["pixels"] is None
    assert "The model's anomaly maps are judged unsmoothed, in the raw column only." in document["notes"]


@pytest.fixture
def masked_run(tmp_path):
    """A run of anomaly maps over a fight with masks, a calm film, and one without maps, whose masks are not read.

    The masks mark the fight's left half from frame 16 to 48; its heat is 0.9, 0.3, 0.3 and 0.9 there, and 0.5 of all
    that is calm.
    """
    fight, calm = clips([0.1, 0.9, 0.9, 0.1]), clips([0.1, 0.1])
    masks = np.zeros((64, 4, 4), bool)
    masks[16:48, :, :2] = True
    np.savez(tmp_path / "truth.npz", fight=masks)
    rows = [
        (row("fight", fight, label=1, intervals=[(16, 48)], masks=str(tmp_path / "truth.npz")), fight),
        (row("calm", calm), calm),
        (row("other", calm, label=1, masks=str(tmp_path / "truth.npz")), calm),
    ]
    found = run(rows, {}, tmp_path / "run")
    found = replace(found, settings=found.settings.model_copy(update={"model": ANOMALY}))
    folder = write_run(found)
    (folder / "attention").mkdir()
    heat = np.zeros((4, 4, 4), np.float32)
    heat[:, :, :2] = np.array([0.9, 0.3, 0.3, 0.9])[:, None, None]
    np.save(folder / "attention" / f"{row('fight').key}.npy", heat)
    np.save(folder / "attention" / f"{row('calm').key}.npy", np.full((2, 4, 4), 0.5, np.float32))
    return folder


def videos_of(folder):
    """The content of a run's videos.jsonl."""
    return (folder / "videos.jsonl").read_text()


ANOMALY = RunModel(name="m", version="1", heat=HeatKind.ANOMALY)


def test_masks_of_the_manifest_judge_anomaly_maps(mistwatch, masked_run):
    status, out, err = mistwatch("evaluate", masked_run, "--json", "--draws", "5")
    assert status == 0, err
    # Clips of 16 frames of 16 pixels. Abnormal are 2 · 8 of a clip's half, with 0.3; normal 8 + 8 of the other halves
    # of these clips and 2 · 8 of the other clips' with 0, 2 · 8 with 0.9, and 2 · 16 calm ones with 0.5.
    normal = 2 * 8 + 2 * 8 + 2 * 8 + 2 * 16
    figures = json.loads(out.splitlines()[-1])
    assert figures["pixel_auc"] == pytest.approx((2 * 8 + 2 * 8) / normal)
    assert figures["pro"] == 0.0  # a third of the normal pixels is hotter than every region
    assert figures["pixel_auc_low"] <= figures["pixel_auc"] <= figures["pixel_auc_high"]


def test_anomaly_maps_of_two_runs_are_compared(mistwatch, masked_run, tmp_path):
    """The second run's heat is 0.9 where the masks are and at most 0.5 elsewhere: every pixel is in order."""
    better = Path(shutil.copytree(masked_run, tmp_path / "better"))
    heat = np.zeros((4, 4, 4), np.float32)
    heat[:, :, :2] = np.array([0.3, 0.9, 0.9, 0.3])[:, None, None]
    np.save(better / "attention" / f"{row('fight').key}.npy", heat)
    status, out, err = mistwatch("compare", masked_run, better, "--json", "--draws", "5")
    assert status == 0, err
    pixels = json.loads(out)["columns"]["raw"]["pixels"]
    # The first run's figures are those of the test above.
    assert [pixels["pixel_auc"][key] for key in ("first", "second", "difference")] == pytest.approx([0.4, 1, -0.6])
    assert [pixels["pro"][key] for key in ("first", "second", "difference")] == [0, 1, -1]
    status, out, _ = mistwatch("compare", masked_run, better, "--draws", "5")
    assert "pixels, raw scores" in out
    assert "per-region overlap" in out


def test_masks_of_a_file_compare_runs_whose_manifests_name_none(mistwatch, masked_run, tmp_path):
    rows = [json.loads(line) for line in videos_of(masked_run).splitlines()]
    (masked_run / "videos.jsonl").write_text("".join(json.dumps(one | {"masks": None}) + "\n" for one in rows))
    compare = ("compare", masked_run, masked_run, "--json", "--draws", "5")
    assert json.loads(mistwatch(*compare)[1])["columns"]["raw"]["pixels"] is None
    status, out, err = mistwatch(*compare, "--masks", "truth.npz")
    assert status == 0, err
    area = json.loads(out)["columns"]["raw"]["pixels"]["pixel_auc"]
    assert (area["first"], area["difference"]) == (pytest.approx(0.4), 0)  # as judged above
    assert mistwatch(*compare, "--masks", "gone.npz") == (2, "", "mistwatch: gone.npz: no such file\n")


def test_maps_of_one_run_alone_are_not_compared(mistwatch, masked_run, tmp_path):
    without = Path(shutil.copytree(masked_run, tmp_path / "without", ignore=shutil.ignore_patterns("attention")))
    status, out, err = mistwatch("compare", masked_run, without, "--json", "--draws", "5")
    assert status == 0, err
    assert json.loads(out)["columns"]["raw"]["pixels"] is None


@pytest.mark.parametrize("masks", [None, {"calm": np.zeros((64, 4, 4))}, {"fight": np.zeros((60, 4, 4))}])
def test_runs_whose_masks_cannot_be_used_are_compared_without_their_maps(mistwatch, masked_run, tmp_path, masks):
    """Masks that are gone, or are others by now. The rest is as without masks at all."""
    other = Path(shutil.copytree(masked_run, tmp_path / "other"))
    bare = [Path(shutil.copytree(masked_run, tmp_path / name)) for name in ("bare-a", "bare-b")]
    for folder in bare:
        rows = [json.loads(line) for line in videos_of(folder).splitlines()]
        (folder / "videos.jsonl").write_text("".join(json.dumps(one | {"masks": None}) + "\n" for one in rows))
    (tmp_path / "truth.npz").unlink()
    if masks is not None:
        np.savez(tmp_path / "truth.npz", **masks)
    status, out, err = mistwatch("compare", masked_run, other, "--json", "--draws", "5")
    assert status == 0, err
    found = json.loads(out)
    for side in ("first", "second"):
        (note,) = [note for note in found[side]["notes"] if "maps are not compared" in note]
        assert "fight" in note
        assert masks is not None or f"fight: {tmp_path / 'truth.npz'}: no such file" in note
        assert "\n" not in note
    _, out, _ = mistwatch("compare", *bare, "--json", "--draws", "5")
    assert found["columns"] == json.loads(out)["columns"]
    assert found["columns"]["raw"]["pixels"] is None
    status, out, _ = mistwatch("compare", masked_run, other, "--draws", "5")
    assert " ".join(out.split()).count("A and B: maps are not compared") == 1


def test_many_videos_without_masks_are_one_note(mistwatch, tmp_path):
    fight, gone = clips([0.1, 0.9]), str(tmp_path / "gone.npz")
    rows = [(row(f"v{number}", fight, label=1, intervals=[(16, 32)], masks=gone), fight) for number in range(12)]
    found = run(rows, {}, tmp_path / "many")
    folder = write_run(replace(found, settings=found.settings.model_copy(update={"model": ANOMALY})))
    (folder / "attention").mkdir()
    for one, _ in rows:
        np.save(folder / "attention" / f"{one.key}.npy", np.zeros((2, 4, 4), np.float32))
    status, out, err = mistwatch("compare", folder, folder, "--json", "--draws", "5")
    assert status == 0, err
    (note,) = json.loads(out)["first"]["notes"]
    assert (note.count("no such file"), "2 more videos" in note) == (10, True)


@pytest.mark.parametrize(
    ("shape", "marked", "numbers"),
    [
        ((64, 4, 4), np.s_[16:48, :, :1], r"fight: 256 and 128 abnormal pixels of 1024 and 1024"),  # 32 · 8 and 32 · 4
        ((64, 8, 8), np.s_[16:48, :2, :4], r"fight: 256 and 256 abnormal pixels of 1024 and 4096"),
    ],
)
def test_maps_are_not_compared_by_different_masks(mistwatch, masked_run, tmp_path, shape, marked, numbers):
    other = Path(shutil.copytree(masked_run, tmp_path / "other"))
    (other / "videos.jsonl").write_text(videos_of(other).replace("truth.npz", "others.npz"))
    masks = np.zeros(shape, bool)
    masks[marked] = True
    np.savez(tmp_path / "others.npz", fight=masks)
    status, out, err = mistwatch("compare", masked_run, other, "--json", "--draws", "5")
    assert status == 0, err
    found = json.loads(out)
    assert found["columns"]["raw"]["pixels"] is None
    area = found["columns"]["raw"]["figures"]["video_auc"]
    assert area["first"] == area["second"] == pytest.approx(0.75)  # of two pairs, one is in order and one is equal
    (note,) = found["notes"]
    assert re.search(rf"^Maps are not compared: .* different masks on the two sides \({numbers}", note)


def test_attention_maps_are_judged_by_masks_of_the_manifest_on_request_only(mistwatch, masked_run, tmp_path):
    settings = json.loads((masked_run / "run.json").read_text())
    del settings["model"]["heat"]
    (masked_run / "run.json").write_text(json.dumps(settings))
    status, out, err = mistwatch("evaluate", masked_run, "--json", "--draws", "5")
    figures = json.loads(out.splitlines()[-1])
    assert (status, figures["pixel_auc"]) == (0, None), err
    assert figures["pixel_auc_reason"].startswith("no maps were judged")
    status, out, err = mistwatch("evaluate", masked_run, "--json", "--draws", "5", "--masks", "truth.npz")
    assert json.loads(out.splitlines()[-1])["pixel_auc"] is not None, err


def test_maps_of_a_file_are_judged_by_masks_of_the_manifest(mistwatch, masked_run, two_runs, tmp_path):
    np.savez(tmp_path / "maps.npz", fight=np.arange(64.0).reshape(64, 1, 1).repeat(2, 1).repeat(2, 2))
    np.savez(tmp_path / "truth.npz", fight=np.arange(64)[:, None, None].repeat(4, 1).repeat(4, 2) >= 32)
    status, out, err = mistwatch("evaluate", masked_run, "--json", "--draws", "5", "--maps", "maps.npz")
    assert (status, json.loads(out.splitlines()[-1])["pixel_auc"]) == (0, 1.0), err
    status, out, err = mistwatch("evaluate", two_runs[0], "--maps", "maps.npz")
    assert (status, out, err) == (2, "", "mistwatch: --maps FILE needs --masks FILE: the manifest names no masks\n")


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (None, "fight: {masks}: no such file"),
        ({"calm": np.zeros((64, 4, 4))}, "fight: {masks}: has no masks of fight; expected a folder or an array named "),
        ({"fight": np.zeros((64, 4))}, "{masks}: fight: expected (frames, height, width), got float64 (64, 4)"),
        ({"fight": np.zeros((60, 4, 4))}, "fight: 64 frames were judged, but 60 have a mask"),
    ],
)
def test_bad_masks_of_the_manifest_are_one_line(mistwatch, masked_run, tmp_path, masks, message):
    file = tmp_path / "truth.npz"
    file.unlink()
    if masks is not None:
        np.savez(file, **masks)
    status, out, err = mistwatch("evaluate", masked_run, "--draws", "5")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message.format(masks=file) in err


def test_pictures_are_videos_of_one_frame(mistwatch, tmp_path):
    """A normal picture and one with a defect in its first row, of 2 × 4 pixels; their masks are pictures too."""
    scored = clips([0.5], end_frame=[1])
    heat = {"good": np.array([[[0.1, 0.1], [0.1, 0.8]]]), "broken": np.array([[[0.9, 0.3], [0.2, 0.2]]])}
    mask = np.array([[255, 255, 255, 255], [0, 0, 0, 0]], np.uint8)
    rows = []
    for name in heat:
        Image.new("RGB", (4, 2)).save(tmp_path / f"{name}.png")
        rows.append((row(name, scored, path=str(tmp_path / f"{name}.png"), label=int(name == "broken")), scored))
    Image.fromarray(mask).save(tmp_path / "mask.png")
    rows[1] = (rows[1][0].model_copy(update={"masks": str(tmp_path / "mask.png"), "intervals": ((0, 1),)}), scored)
    found = run(rows, {}, tmp_path / "run")
    folder = write_run(replace(found, settings=found.settings.model_copy(update={"model": ANOMALY})))
    (folder / "attention").mkdir()
    for name, values in heat.items():
        np.save(folder / "attention" / f"{row(name).key}.npy", values.astype(np.float32))
    status, out, err = mistwatch("evaluate", folder, "--json", "--draws", "5")
    assert status == 0, err
    # Columns of a map at 0.5 and 1.5 of 2 become 0.25, 0.75, … of 4: its values there are in the shares 1, 3/4, 1/4, 0.
    share = np.array([1, 0.75, 0.25, 0])
    wide = {name: values[0] @ np.stack([share, 1 - share]) for name, values in heat.items()}
    labels = np.concatenate([np.zeros(8), mask.ravel() > 0])
    exact = roc_auc_score(labels, np.concatenate([wide["good"].ravel(), wide["broken"].ravel()]).round(6))
    assert json.loads(out.splitlines()[-1])["pixel_auc"] == pytest.approx(exact)
    Image.new("L", (4, 4), 255).save(tmp_path / "mask.png")
    status, out, err = mistwatch("evaluate", folder, "--draws", "5")
    assert (status, out) == (2, "")
    assert err == (
        "mistwatch: broken: masks of 4×4 pixels, pictures of 4×2; expected one size; the masks are "
        f"{tmp_path / 'mask.png'}\n"
    )
    np.savez(tmp_path / "masks.npz", broken=np.ones((1, 4, 4), bool))
    for command in (("evaluate", folder), ("compare", folder, folder)):
        status, out, err = mistwatch(*command, "--draws", "5", "--masks", "masks.npz")
        assert (status, out) == (2, "")
        assert err == (
            "mistwatch: broken: masks of 4×4 pixels, pictures of 4×2; expected one size; the masks are masks.npz\n"
        )


# -- a manifest ------------------------------------------------------------------------------------------------------


def test_a_manifest_is_replayed_and_judged(triton, tmp_path):
    """Bright seconds are abnormal to the tiny model; a file that is no video in the middle costs the status alone."""
    write_video(tmp_path / "fight.mp4", [(4, DARK), (4, BRIGHT), (4, DARK)])
    write_video(tmp_path / "calm.mp4", [(6, DARK)])
    (tmp_path / "bad.mp4").write_text("no video")
    lines = [{"path": "fight.mp4", "label": 1, "intervals": [[40, 80]]}, {"path": "bad.mp4", "label": 0}]
    lines.append({"path": "calm.mp4", "label": 0})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def evaluate(*more):
        return subprocess.run(
            [sys.executable, "-P", "-m", "pipeline.cli", "evaluate", "manifest.jsonl", "--out", "run", "--json",
             "--triton", triton.address, "--draws", "20", *more],
            cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )  # fmt: skip

    done = evaluate()
    assert done.returncode == 1, done.stderr
    flat = json.loads(done.stdout)  # and nothing else
    assert (flat["videos"], flat["left_out"], flat["event_recall"]) == (2, 1, 1.0)
    assert flat["frame_auc"] > 0.95  # a clip of four pictures lies across each edge of the incident
    assert flat["video_auc"] == 1.0
    assert "bad.mp4" in done.stderr.splitlines()[-1]
    again = evaluate("--skip-bad")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1]) == flat


# -- two runs ----------------------------------------------------------------------------------------------------------


def test_two_runs_are_compared(mistwatch, two_runs, tmp_path):
    status, out, err = mistwatch("compare", "a", "b", "--draws", "30", "--out", "c/comparison.json")
    assert status == 0, err
    assert "A: a" in out
    assert "2 videos in both." in out
    line = next(line for line in out.splitlines() if "incidents found" in line)
    assert line.split()[2:4] == ["100.0%", "0.0%"]
    document = json.loads((tmp_path / "c" / "comparison.json").read_text())
    assert document["columns"]["causal"]["alerts"]["recall"]["difference"] == 1.0
    status, out, _ = mistwatch("compare", "a", "b", "--draws", "30", "--json")
    assert (status, json.loads(out)) == (0, document)


def test_two_files_of_scores_are_compared_by_labels(mistwatch, files, tmp_path):
    np.savez(tmp_path / "better.npz", a=np.array([0.9, 0.1, 0.8]), n=np.array([0.1, 0.2]))
    words = ("--labels", "labels.npz", "--frames-per-score", "1", "--draws", "30", "--json")
    status, out, err = mistwatch("compare", "better.npz", "scores.npz", *words)
    assert status == 0, err
    document = json.loads(out)
    figure = document["columns"]["raw"]["figures"]["frame_auc"]
    assert (figure["first"], figure["second"]) == (1.0, pytest.approx(4 / 6))
    assert figure["difference"] == pytest.approx(2 / 6)
    assert document["videos"] == 2


def test_one_array_of_all_videos_is_judged_and_compared_by_its_list(mistwatch, tmp_path):
    """Of 3 × 3 pairs of frames, an abnormal one has the higher score in 7 and the same in 1; in all with named.npz."""
    np.save(tmp_path / "scores.npy", np.array([[0.9, 0.6, 0.3, 0.1, 0.2, 0.6]]))
    np.savez(tmp_path / "named.npz", **{"a_x264.mp4": np.array([0.9, 0.2, 0.8, 0.3]), "n.mp4": np.array([0.1, 0.4])})
    np.savez(tmp_path / "gt.npz", gt=np.array([255, 0, 255, 0, 0, 255], np.uint8))
    (tmp_path / "list.txt").write_text("X/a.mp4 4 X 1 1 3 3\nX/n.mp4 2 X 2 2 -1 -1\n")
    words = ("--labels", "gt.npz", "--frames-per-score", "1", "--draws", "30", "--json")
    status, out, err = mistwatch("evaluate", "--scores", "scores.npy", *words)
    assert (status, json.loads(out)["frame_auc"]) == (0, pytest.approx(7.5 / 9))
    assert "judged as one video" in err
    status, out, err = mistwatch(
        "evaluate", "--scores", "scores.npy", "--videos", "list.txt", "--out", "judged", *words
    )
    assert (status, json.loads(out)["frame_auc"]) == (0, pytest.approx(7.5 / 9))
    assert err.endswith("\nmistwatch: 2 videos, 2 of them abnormal; 6 frames.\n")
    document = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert document["settings"]["files"]["videos"] == "list.txt"
    status, out, err = mistwatch("compare", "named.npz", "scores.npy", "--videos", "list.txt", *words)
    assert status == 0, err
    assert json.loads(out)["videos"] == 2
    assert json.loads(out)["columns"]["raw"]["figures"]["frame_auc"]["first"] == pytest.approx(9 / 9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", "gone"), "gone: no such folder; expected one that `mistwatch replay --out` wrote"),
        (("a", "c"), "no video is in both: fight is in the first, elsewhere in the second"),
        (("a", "a", "--by", "seed"), "--by seed: expected video or group"),
        (("a", "b", "--videos", "list.txt"), "--videos belongs to files of scores: name their --labels"),
        (("a", "a", "--video-score", "sum"), "--video-score sum: expected mean or max"),
    ],
)
def test_what_cannot_be_compared_is_one_line(mistwatch, two_runs, tmp_path, words, message):
    scored = clips([0.5])
    write_run(replace(run([(row("elsewhere", scored), scored)]), folder=tmp_path / "c"))
    status, out, err = mistwatch("compare", *words)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert message in err


# -- what comes from outside -------------------------------------------------------------------------------------------

#: A name that would colour a terminal, and one that no file could hold.
ESCAPE, NO_TEXT = "\x1b[31mred", "caf\udce9"


def test_nothing_from_outside_acts_on_the_terminal(mistwatch, tmp_path):
    """Names, what damaged a film, why a video is left out, the model: of the tables, the sentences and the errors."""
    scored = clips([0.1, 0.9])
    rows = [
        (row(ESCAPE, scored, label=1, group=ESCAPE, damage=ESCAPE), scored),
        (row(f"{ESCAPE}2", clips([]), error=ESCAPE), clips([])),
        (row("calm", scored), scored),
    ]
    one = run(rows, folder=tmp_path / "one")
    model = one.settings.model.model_copy(update={"name": ESCAPE})
    one = replace(one, settings=one.settings.model_copy(update={"model": model}))
    write_run(one)
    write_run(run(rows[2:], folder=tmp_path / "two"))
    for words in (("evaluate", "one", "--draws", "3"), ("compare", "one", "two", "--draws", "3")):
        status, out, err = mistwatch(*words)
        assert status == 0, err
        assert "\\x1b[31mred" in out
        assert "\x1b" not in out + err
    status, _, err = mistwatch("evaluate", "two", "--split", "test")
    assert (status, len(err.splitlines())) == (2, 1)
    rows[0] = (row(ESCAPE, scored, label=1, intervals=[(0, 500)]), scored)
    write_run(run(rows, folder=tmp_path / "three"))
    status, _, err = mistwatch("evaluate", "three")
    assert status == 2
    assert "\\x1b[31mred: its manifest says frames" in err
    assert "\x1b" not in err


def test_a_name_that_no_file_could_hold_is_written_out(mistwatch, tmp_path):
    for name, values in (("scores", [0.5, 0.1]), ("labels", [1, 0])):
        (tmp_path / f"{name}.json").write_text(json.dumps({NO_TEXT: values, name: values}))
    status, out, err = mistwatch(
        *("evaluate", "--scores", "scores.json", "--labels", "labels.json"),
        *("--frames-per-score", "1", "--out", "kept", "--draws", "3"),
    )
    assert status == 0, err
    assert json.loads((tmp_path / "kept" / "metrics.json").read_text())["per_video"][0]["name"] == NO_TEXT
    assert "caf\\udce9" in (tmp_path / "kept" / "report.html").read_text()
    assert "1 video has scores but no labels: scores." in out


# -- what was asked for ------------------------------------------------------------------------------------------------


def test_a_report_is_titled_by_what_was_judged(mistwatch, two_runs, files, tmp_path):
    folder, _ = two_runs
    assert mistwatch("evaluate", folder, "--draws", "3")[0] == 0
    assert "<h1>a by m version 1</h1>" in (folder / "report.html").read_text()
    assert mistwatch("evaluate", *files, "--out", "kept")[0] == 0
    assert "<h1>scores.npz by labels.npz</h1>" in (tmp_path / "kept" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--scores", "scores.npz", "--labels", "labels.npz", "--split", "test"),
            "--split belongs to a manifest or a run",
        ),
        (
            ("--scores", "scores.npz", "--labels", "labels.npz", "--model", "m"),
            "--model and other replay options belong to a manifest",
        ),
        (
            ("a", "--threshold", "0.4", "--fps", "25"),
            "--threshold and --fps belong to --scores: a run has raised its",
        ),
        (("a", "--kernel", "3"), "--videos, --kernel and --frames-per-score belong to --scores: a run has its own"),
        (("a", "--videos", "list.txt"), "--videos, --kernel and --frames-per-score belong to --scores"),
        (("manifest.jsonl", "--masks", "gone.npz"), "gone.npz: no such file"),
        (("manifest.jsonl", "--maps", "labels.npz"), "--maps FILE needs --masks FILE: the manifest names no masks"),
        (("manifest.jsonl", "--threshold", "0.4"), "--threshold and --fps belong to --scores"),
    ],
)
def test_what_would_have_no_effect_is_refused_before_any_work(mistwatch, two_runs, files, tmp_path, words, message):
    (tmp_path / "manifest.jsonl").write_text('{"path": "a.mp4", "label": 0}\n')
    (tmp_path / "a.mp4").write_text("no video")
    before = sorted(tmp_path.iterdir())
    status, out, err = mistwatch("evaluate", *words)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


def test_maps_of_more_videos_than_files_may_be_open(mistwatch, tmp_path):
    scored = clips([0.1, 0.9])
    rows = [(row(f"n{number}", scored), scored) for number in range(60)]
    folder = write_run(run(rows, folder=tmp_path / "run"))
    (folder / "attention").mkdir()
    for one, _ in rows:
        np.save(folder / "attention" / f"{one.key}.npy", np.full((2, 2, 2), 0.5, np.float32))
    np.savez(tmp_path / "masks.npz", **{one.name: np.zeros((32, 2, 2), bool) for one, _ in rows})
    assert mistwatch("evaluate", "run", "--draws", "1", "--no-report")[0] == 0  # what it opens for good is open now
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 30, hard))
    try:
        status, out, err = mistwatch("evaluate", "run", "--masks", "masks.npz", "--draws", "1", "--no-report")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert status == 0, err
    assert "pixels" in out
