"""The job of both stages on small real films: what it writes, what it does not do again, and what a kill leaves."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from ports import free_port
from tiny_mist import CONFIG, export, film, films, footage, job

from models.backbones.i3d import I3D
from models.card import Alerting, read_card
from models.code import code_digest, code_modules
from models.data.extraction import FeaturesError
from models.detectors.mist.card import MistCard
from models.detectors.mist.config import AlertingChoice, read_mist_config
from models.detectors.mist.encoder import load_encoder
from models.detectors.mist.encoder_scoring import score_maps
from models.jobs.errors import StageError, TrainingError
from models.jobs.stages import SCRATCH, STAGE_FILE
from models.jobs.video_plan import VideoChoice
from models.serving import versions
from pipeline.manifests.folds import hold_out_fold
from pipeline.manifests.manifest import ManifestError, Video, manifest_digest

PRODUCT = ("encoder.safetensors", "model-card.json", "pseudo-labels.jsonl", "recipe.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def videos(folder):
    return films(folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums over several threads depend on how many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(videos, tmp_path_factory):
    """A run that was left alone: (folder, outcome)."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, job(videos, out)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, to be changed; the maps are those of the first."""
    out = tmp_path / "run"
    shutil.copytree(finished[0], out)

    def again(videos, config=CONFIG, **options):
        told = []
        outcome = job(videos, out, config, cache=finished[0].parent / "maps", report=told.append, **options)
        return outcome, {line.partition(":")[0] for line in told if not line.endswith("unchanged")}

    again.out = out
    return again


def product(out):
    return {name: (out / "product" / name).read_bytes() for name in PRODUCT}


def test_the_product_is_whole_and_does_what_its_card_says(finished, videos, tmp_path):
    out, outcome = finished
    folder = out / "product"
    assert {file.name for file in folder.iterdir()} == {*PRODUCT, STAGE_FILE}
    card = read_card(folder, MistCard)
    assert card == outcome.card
    assert card.architecture.type == "self_guided"
    assert (card.architecture.hidden, card.architecture.detectors) == (4, 2)

    marked = hold_out_fold(videos, 3, 0)
    held = {video.group for video in marked if video.split == "test"}
    assert set(card.held_out_sources) == held
    assert not held & set(card.training["groups"])
    assert (card.training["videos"], card.training["abnormal_videos"]) == (8, 4)
    assert card.training["manifest_sha256"] == manifest_digest(marked)
    assert (card.training["seed"], card.training["data"]) == (0, {"licence": "none"})

    # Figures of both stages, each with an interval, of films that the networks had not seen.
    for part, count in (("out_of_fold", 8), ("test", 4)):
        figures = card.figures[part]
        assert figures["videos"] == count
        for stage in ("stage_1", "stage_2"):
            low, high = figures[stage]["video_auc"]["interval_95"]
            assert 0 <= low <= figures[stage]["video_auc"]["value"] <= high <= 1
        assert "video_auc" in figures["stage_2_less_stage_1"]
    # Films that flicker and films that do not are told apart by anything that learns at all.
    assert card.figures["out_of_fold"]["stage_2"]["video_auc"]["value"] > 0.9
    assert "linear_probe" in card.figures["out_of_fold"]

    # The weights are those that were judged: on the test's films, cut as live, they give the card's figure.
    encoder, _ = load_encoder(folder, backbone=I3D(classes=0))
    seen = footage(CONFIG, out.parent / "maps")
    means = {0: [], 1: []}
    for video in (v for v in marked if v.split == "test"):
        live = seen.live(video)
        assert len(live) == 3  # of 14 frames, four at a time
        means[video.label].append(score_maps(encoder.heads, *live.inputs).mean())
    right = [above > below for above in means[1] for below in means[0]]
    assert card.figures["test"]["stage_2"]["video_auc"]["value"] == pytest.approx(np.mean(right))


def test_pseudo_labels_are_of_every_training_clip(finished, videos):
    rows = [json.loads(line) for line in (finished[0] / "product" / "pseudo-labels.jsonl").read_text().splitlines()]
    train = {v.path.name for v in hold_out_fold(videos, 3, 0) if v.split == "train"}
    assert {row["video"] for row in rows} == train
    for row in rows:
        assert len(row["clips"]) == 6  # of 14 frames, four at a time, every second
        assert all(0 <= value <= 1 for value in row["clips"])
        assert row["label"] or not any(row["clips"])


def test_the_recipe_in_the_product_is_the_recipe(finished):
    assert read_mist_config(finished[0] / "product" / "recipe.yaml") == CONFIG


def test_no_place_of_this_machine_is_in_the_product(finished, folder):
    for name in PRODUCT:
        assert str(folder).encode() not in (finished[0] / "product" / name).read_bytes()


def test_what_has_not_changed_is_not_run_again(run, videos):
    before = product(run.out)
    outcome, ran = run(videos)
    assert ran == set()
    assert not any(done.fresh for done in outcome.stages)
    assert product(run.out) == before


def test_films_elsewhere_are_the_same_films(run, videos, folder, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    _, ran = run(films(moved))
    assert ran == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"description": "other words"}, {"product"}),
        ({"seeds": 2}, {"folds/seed-1/fold-0", "folds/seed-1/fold-1", "product"}),
        (
            {"encoder": CONFIG.encoder.model_copy(update={"epochs": 2})},
            {"encoder", "folds/seed-0/fold-0", "folds/seed-0/fold-1", "product"},
        ),
        (
            {"pseudo_labels": CONFIG.pseudo_labels.model_copy(update={"kernel": 1, "min_max": True})},
            {"pseudo-labels", "encoder", "folds/seed-0/fold-0", "folds/seed-0/fold-1", "product"},
        ),
    ],
)
def test_a_change_runs_what_depends_on_it(run, videos, change, expected):
    _, ran = run(videos, CONFIG.model_copy(update=change))
    assert ran == expected


def test_what_is_told_of_the_videos_that_judge_is_heeded(run, videos):
    """Which frames of a training video are abnormal is of no use to the training, but the folds are judged by it."""
    test = {v.path for v in hold_out_fold(videos, 3, 0) if v.split == "test"}
    before, _ = run(videos)
    assert "frame_auc" not in before.card.figures["out_of_fold"]["stage_2"]
    marked = [replace(v, intervals=((2, 12),)) if v.label and v.path not in test else v for v in videos]
    outcome, ran = run(marked)
    assert ran == {"features", "product"}
    assert "frame_auc" in outcome.card.figures["out_of_fold"]["stage_2"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("operators.figures.bootstrap", {"product"}),
        ("pipeline.sources.decode", {"features", "product"}),
        (
            "models.detectors.mist.standardising",
            {"generator", "pseudo-labels", "encoder", "folds/seed-0/fold-0", "folds/seed-0/fold-1"},
        ),
        (
            "models.detectors.mist.encoder",
            {"encoder", "folds/seed-0/fold-0", "folds/seed-0/fold-1", "product", "repository"},
        ),
        ("models.serving.export", {"repository"}),
    ],
)
def test_other_code_runs_what_it_is_part_of(run, videos, monkeypatch, module, expected):
    def changed(entries, *, without=()):
        is_part = module in code_modules(entries, without=without)
        return code_digest(entries, without=without) + (" of another version" if is_part else "")

    run(videos, export=export)
    monkeypatch.setattr("models.detectors.mist.job.code_digest", changed)
    _, ran = run(videos, export=export)
    assert ran == expected


def test_a_film_of_a_group_may_get_another_name(run, videos, folder, tmp_path):
    """What was learned from it stands; what is written down by names is written anew, and nothing is lost."""
    names = [v.path.name for v in hold_out_fold(videos, 3, 0) if v.split == "train"]
    moved = tmp_path / "renamed"
    shutil.copytree(folder, moved)
    (moved / names[0]).rename(moved / "renamed.mp4")
    renamed = [replace(v, path=moved / (v.path.name if v.path.name != names[0] else "renamed.mp4")) for v in videos]
    weights = product(run.out)["encoder.safetensors"]
    outcome, ran = run(renamed)
    assert "generator" not in ran
    assert outcome.card.training["videos"] == 8
    rows = [json.loads(line) for line in product(run.out)["pseudo-labels.jsonl"].splitlines()]
    assert {row["video"] for row in rows} == {"renamed.mp4", *names[1:]}
    assert outcome.card.figures["out_of_fold"]["videos"] == 8
    assert product(run.out)["encoder.safetensors"] == weights


def test_damage_is_made_good(run, videos):
    before = product(run.out)
    weights = run.out / "encoder" / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    _, ran = run(videos)
    assert ran == {"encoder"}  # it came out as before, so the product stands
    assert product(run.out) == before


def test_nothing_of_the_test_reaches_training_or_choice(run, videos):
    """Lies about the test's films change the figures of the test, and nothing else."""
    marked = hold_out_fold(videos, 3, 0)
    config = CONFIG.model_copy(update={"videos": VideoChoice()})
    honest, _ = run(marked, config)
    before = product(run.out)
    lied = [replace(video, label=1 - video.label) if video.split == "test" else video for video in marked]
    card, ran = run(lied, config)
    assert ran == {"features", "product"}
    assert product(run.out)["encoder.safetensors"] == before["encoder.safetensors"]
    assert product(run.out)["pseudo-labels.jsonl"] == before["pseudo-labels.jsonl"]
    assert card.card.alerting == honest.card.alerting
    assert card.card.figures["out_of_fold"] == honest.card.figures["out_of_fold"]
    assert card.card.figures["test"] != honest.card.figures["test"]


def test_one_stage_alone(videos, finished, tmp_path):
    def stage(name):
        return [
            d.name
            for d in job(videos, tmp_path / "run", cache=finished[0].parent / "maps", only=name).stages
            if d.fresh
        ]

    with pytest.raises(StageError, match="the stage features has not been run"):
        stage("generator")
    assert stage("features") == ["features"]
    assert stage("generator") == ["generator"]
    with pytest.raises(StageError, match="the stage pseudo-labels has not been run"):
        stage("encoder")
    assert stage("pseudo-labels") == ["pseudo-labels"]
    assert not (tmp_path / "run" / "encoder").exists()


def test_the_repository_has_a_version_of_each_product_and_of_other_tools(run, videos, monkeypatch):
    model = run.out / "repository" / "clip_scorer"

    def cards():
        return [(model / str(number) / "model-card.json").read_bytes() for number in versions.versions(model)]

    _, ran = run(videos, export=export)
    assert ran == {"repository"}
    first = product(run.out)["model-card.json"]
    assert cards() == [first]
    _, ran = run(videos, CONFIG.model_copy(update={"description": "other words"}), export=export)
    assert ran == {"product", "repository"}
    second = product(run.out)["model-card.json"]
    assert cards() == [first, second]
    assert versions.roll_back(model) == 1
    _, ran = run(videos, CONFIG.model_copy(update={"description": "other words"}), export=export)
    assert ran == set()
    assert versions.served(model) == 1
    monkeypatch.setattr(importlib.metadata, "version", lambda package: f"another {package}")
    _, ran = run(videos, CONFIG.model_copy(update={"description": "other words"}), export=export)
    assert ran == {"repository"}
    assert cards() == [first, second, second]


def test_bad_films_are_told_of_or_left_out_and_listed(run, videos, tmp_path):
    broken, short = tmp_path / "broken.mp4", tmp_path / "short.mp4"
    broken.write_bytes(b"no film")
    film(short, False, seed=1, frames=3)
    more = [*videos, Video(broken, 1, group="x"), Video(short, 0, group="y")]
    with pytest.raises((FeaturesError, ManifestError), match=r"broken\.mp4"):
        run(more)
    outcome, _ = run(more, skip_bad=True, only="features")
    assert len(outcome.skipped) == 2
    assert "broken.mp4" in outcome.skipped[0]
    assert outcome.skipped[1].endswith("short.mp4: shorter than one clip, or with pauses that no clip may span")


def test_what_is_missing_is_told_of_with_all_that_is_bad_or_left_out(run, videos, tmp_path):
    """A hash of its content is asked of every film before anything else; that is no reason to stop at the first."""
    broken, missing = tmp_path / "broken.mp4", tmp_path / "missing.mp4"
    broken.write_bytes(b"no film")
    more = [*videos, Video(missing, 1, group="x"), Video(broken, 0, group="y")]
    with pytest.raises(ManifestError, match=r"missing\.mp4: no such file\n.*broken\.mp4"):
        run(more, only="features")
    outcome, _ = run(more, skip_bad=True, only="features")
    assert [name in line for name, line in zip(("missing", "broken"), outcome.skipped, strict=True)] == [True, True]


def test_a_film_that_is_cut_off_is_used_as_far_as_it_goes_and_told_of(run, videos, tmp_path):
    cut = tmp_path / "cut.mkv"
    film(cut, True, seed=99, frames=100)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    for _ in ("computed", "from the cache"):
        outcome, _ = run([*videos, Video(cut, 1, group="x")], only="features")
        (line,) = outcome.damaged
        assert line.partition(": damaged recording: ")[0].endswith("/cut.mkv")
        assert outcome.skipped == ()
    outcome, _ = run([*videos, Video(cut, 1, group="camera 1")])
    (name,) = outcome.card.training["damaged"]
    assert name.endswith("/cut.mkv")


def test_kernels_longer_than_the_films_are_told_before_the_training(videos, tmp_path, finished):
    config = CONFIG.model_copy(update={"alerting": AlertingChoice(kernels=(9,))})
    with pytest.raises(TrainingError, match=r"alerting\.kernels 9: each is longer .* median has 3 clips"):
        job(videos, tmp_path / "run", config, cache=finished[0].parent / "maps")
    assert not (tmp_path / "run" / "generator").exists()


def test_a_name_may_hold_what_unicode_takes_for_a_new_line(videos, finished, tmp_path):
    named = tmp_path / "0\u20281.mp4"
    shutil.copy(videos[1].path, named)
    films = [replace(videos[1], path=named), videos[0], *videos[2:]]
    config = CONFIG.model_copy(update={"folds": None, "videos": VideoChoice(hold_out=3, validation=0.5)})
    outcome = job(films, tmp_path / "run", config, cache=finished[0].parent / "maps")
    assert outcome.card.training["videos"] == 4


def test_an_annotation_past_the_end_is_told_of(run, videos):
    wrong = [replace(v, intervals=((0, 15),)) if v.path.name == "01.mp4" else v for v in videos]
    with pytest.raises(ManifestError, match=r"01\.mp4.*past the end.*14 frames"):
        run(wrong)


def test_frames_are_judged_where_the_annotation_says_when(run, videos):
    marked = [replace(v, intervals=((2, 12),)) if v.label else v for v in videos]
    outcome, _ = run(marked)
    figures = outcome.card.figures["test"]["stage_2"]
    assert 0 <= figures["frame_auc"]["value"] <= 1
    assert figures["far_normal"]["value"] is not None


def test_one_label_is_not_enough(videos, tmp_path):
    with pytest.raises(TrainingError, match="no abnormal video"):
        job([v for v in videos if not v.label], tmp_path / "run", CONFIG.model_copy(update={"videos": VideoChoice()}))


@pytest.mark.parametrize(
    ("change", "count", "message"),
    [
        ({"folds": 5}, 8, r"^folds: 5 folds need .* as groups, of which 4"),
        (
            {"folds": None, "pseudo_labels": CONFIG.pseudo_labels.model_copy(update={"folds": 4})},
            8,
            r"^pseudo_labels\.folds: 4 folds need .* as groups, of which 2",
        ),
        ({"pseudo_labels": CONFIG.pseudo_labels.model_copy(update={"folds": 3})}, 8, r"^pseudo_labels\.folds: 3 .* 2$"),
        ({}, 4, r"^videos\.validation, in a fold: 2 folds need .* as groups, of which 1"),
    ],
)
def test_a_division_that_cannot_be_is_told_before_anything_is_done(videos, tmp_path, change, count, message):
    """Of eight films by four cameras, or four by two; half of what a training has is for choosing."""
    config = CONFIG.model_copy(update={"videos": VideoChoice(validation=0.5)} | change)
    with pytest.raises(TrainingError, match=message):
        job(videos[:count], tmp_path / "run", config)
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("where", ["folds", "pseudo_labels.folds"])
def test_folds_that_leave_a_training_without_a_label_are_told_before_it(videos, tmp_path, where):
    """All that happened, happened at one place: without it there is nothing to learn."""
    known = [replace(video, group="one place" if video.label else video.group) for video in videos]
    labels = CONFIG.pseudo_labels.model_copy(update={"folds": 3} if where == "pseudo_labels.folds" else {})
    folds = None if where == "pseudo_labels.folds" else 3
    videos_ = VideoChoice() if folds else VideoChoice(validation=None)
    alerting = AlertingChoice(chosen=Alerting(kernel=1, open_threshold=0.5, close_threshold=0.5))
    config = CONFIG.model_copy(
        update={"videos": videos_, "folds": folds, "pseudo_labels": labels, "alerting": alerting}
    )
    with pytest.raises(TrainingError, match=rf"^{where}: 3 folds by group leave one of them no abnormal video"):
        job(known, tmp_path / "run", config)


def test_films_that_cannot_be_read_may_leave_too_few_groups(videos, finished, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    config = CONFIG.model_copy(update={"videos": VideoChoice(), "folds": 3})
    films = [*videos[:4], Video(broken, 1, group="x")]
    with pytest.raises(TrainingError, match=r"^folds: 3 folds need .* as groups, of which 2"):
        job(films, tmp_path / "run", config, cache=finished[0].parent / "maps", skip_bad=True)
    assert not (tmp_path / "run" / "generator").exists()


def test_validation_chooses_where_there_are_no_folds(run, videos):
    config = CONFIG.model_copy(
        update={
            "folds": None,
            "videos": VideoChoice(hold_out=3, validation=0.5),
            "encoder": CONFIG.encoder.model_copy(update={"select": "validation"}),
        }
    )
    outcome, _ = run(videos, config)
    assert "out_of_fold" not in outcome.card.figures
    assert outcome.card.figures["validation"]["videos"] == outcome.card.training["validation_videos"] == 4
    assert "recall_at_open_threshold" in outcome.card.figures["validation"]["stage_2"]
    # They chose stage 2's epoch, and nothing of stage 1: the two are compared on the test alone.
    assert outcome.card.figures["validation"]["chosen_by"] is True
    assert "stage_2_less_stage_1" not in outcome.card.figures["validation"]
    assert "chosen_by" not in outcome.card.figures["test"]
    assert "stage_2_less_stage_1" in outcome.card.figures["test"]


def test_a_validation_that_chose_nothing_compares(run, videos):
    config = CONFIG.model_copy(update={"folds": None, "videos": VideoChoice(hold_out=3, validation=0.5)})
    outcome, _ = run(videos, config)
    assert "chosen_by" not in outcome.card.figures["validation"]
    assert "stage_2_less_stage_1" in outcome.card.figures["validation"]


def test_scores_as_they_are_and_thresholds_as_told(run, videos):
    told = Alerting(kernel=1, open_threshold=0.5, close_threshold=0.5)
    config = CONFIG.model_copy(update={"calibrate": False, "alerting": AlertingChoice(chosen=told), "folds": None})
    outcome, _ = run(videos, config)
    architecture = outcome.card.architecture
    assert (architecture.slope, architecture.shift) == (1.0, 0.0)
    assert outcome.card.alerting == told


def test_scores_are_calibrated_on_what_was_not_seen(finished):
    """A clip of an abnormal film scores above a half, one of a normal film below, by films that the folds held out."""
    architecture = finished[1].card.architecture
    rows = [
        json.loads(line)
        for file in sorted((finished[0] / "folds" / "seed-0").glob("fold-*/scores.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert len(rows) == 8
    scores = {row["video"]: architecture.slope * np.mean(row["stage_2"]) + architecture.shift for row in rows}
    right = [(scores[row["video"]] > 0) == bool(row["label"]) for row in rows]
    assert np.mean(right) > 0.9


def test_a_full_disk_leaves_nothing_half_written_as_good(run, videos):
    before = product(run.out)
    for stage in ("encoder", "product"):
        shutil.rmtree(run.out / stage)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # the encoder's weights are 360 kB
    try:
        with pytest.raises(OSError, match="too large"):
            run(videos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (run.out / "encoder").exists()
    assert not (run.out / "product").exists()
    _, ran = run(videos)
    assert ran == {"encoder", "product"}
    assert product(run.out) == before


# -- a kill in any stage -----------------------------------------------------------------------------------------------


def killed(process, when):
    """Have the job started, and kill it ``when`` the line comes, or what it is told to wait for is there."""
    line, awaited = when
    process.stdin.write("\n")
    process.stdin.flush()
    number = int(process.stdout.readline().removeprefix("process: "))
    for told in process.stdout:
        if told.startswith(line):
            break
        assert not told.startswith("ended: "), f"the job ended before it said {line!r}"
    until = time.monotonic() + 60
    while awaited is not None and not any(awaited()):
        assert time.monotonic() < until
        time.sleep(0.001)
    os.kill(number, signal.SIGKILL)
    for told in process.stdout:
        if told.startswith("ended: "):
            assert told == f"ended: -{signal.SIGKILL.value}\n", "the job ended before it could be killed"
            return
    raise AssertionError("nobody said that it was killed")


@pytest.mark.slow  # stages that are killed have tests in models/jobs and in motion
def test_sigkill_in_any_stage_then_the_same_command_gives_the_same_bits(finished, videos, folder, tmp_path, root):
    out, maps = tmp_path / "run", tmp_path / "maps"
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}"}
    command = [sys.executable, str(root / "tests" / "support" / "tiny_mist.py"), str(folder), str(out), "--forked"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, env=env, **pipes) as process:
        for when in (
            ("features: ", lambda: maps.rglob("*.npy")),
            ("generator: ", None),
            ("pseudo-labels: ", None),
            ("encoder: ", lambda: out.glob(f".encoder.*/{SCRATCH}/last.ckpt")),
            ("folds/seed-0/fold-1: ", None),
            ("product: ", None),
            ("repository: ", lambda: tmp_path.glob("stopped in the export")),
        ):
            killed(process, when)
        output, _ = process.communicate("\n", timeout=240)
    assert "repository: resumes" in output
    assert output.endswith("ended: 0\n")
    assert product(out) == product(finished[0])
    model = out / "repository" / "clip_scorer"
    assert versions.versions(model) == versions.history(model) == [1]
    assert (model / "1" / "encoder.safetensors").read_bytes() == product(out)["encoder.safetensors"]
    assert not list(out.glob(".*"))  # no draft is left


@pytest.mark.slow  # two processes import torch and train
def test_two_processes_of_torchrun_are_one_job(videos, folder, tmp_path, root):
    out = tmp_path / "run"
    env = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}"}
    job_ = [str(root / "tests" / "support" / "tiny_mist.py"), str(folder), str(out)]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    done = subprocess.run([*launcher, *job_], capture_output=True, text=True, cwd=root, env=env, timeout=240)
    assert done.returncode == 0, done.stderr
    ran = [line for line in done.stdout.splitlines() if line.endswith(": runs")]
    assert len(ran) == len(set(ran)) == 7
    assert read_card(out / "product").figures["test"]["videos"] == 4
    assert not list(out.glob(".*"))


def test_what_a_recipe_says_is_yaml_that_people_read(finished):
    text = (finished[0] / "product" / "recipe.yaml").read_text()
    assert yaml.safe_load(text)["encoder"]["epochs"] == 4
