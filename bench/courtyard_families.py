"""Judge a detector of each family on the same unseen days of the rendered courtyard, frame by frame.

    python bench/courtyard_families.py [--only NAME …]

writes bench/results/courtyard_families.json and .md. Detectors of one camera learn from normal footage of three days by
`mistwatch learn`, with its defaults. The classifiers learn from labelled frames of forty other days by `mistwatch train
classifier`, at the shape of the camera. The committed supervised model of the courtyard stands beside them. The test is
of six days with six incidents a minute, abandoned objects excepted. By the published protocol, a clip's score counts
for each of its frames. As live, a frame has the score of the latest clip that has ended before the frame is over,
averaged over the kernel of the model's card: what is found late is late. The frames before the end of the first clip
have its score.

The processor time of the learning is that of the command, and of a clip that of the exported model. Films, products and
figures are kept under runs/courtyard-families. A bench that was stopped resumes with the detector that it was at, whose
training begins anew.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from recorded import record
from rich.console import Console
from rich.progress import track

from models.card import read_card
from models.jobs.thresholds import smoothed_as_live
from models.serving.engine import Engine, open_engine
from models.serving.export import SERVED_NAME, export, find_model
from models.serving.versions import served
from operators.figures.bootstrap import DRAWS, estimate
from operators.figures.videos import ScoredVideo, repeated
from pipeline import files
from pipeline.courtyard.renderer import render_films
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.manifests.manifest import MANIFEST, Video, intervals_of, manifest_lines
from pipeline.sources.files import FileSource
from pipeline.windows import ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "courtyard-families"
#: Reserved for this bench: days to learn from, labelled days, and days to test on.
NORMAL_SEED, LABELLED_SEED, TEST_SEED = 20001, 20101, 20301
NORMAL_DAYS, NORMAL_SECONDS = 3, 100.0
LABELLED_DAYS, LABELLED_SECONDS = 40, 30.0
TEST_DAYS, TEST_SECONDS = 6, 60.0
CLASSIFIER = ("height=216", "width=384", "augmentation.views=2", "examples.layout=manifest")


@dataclass(frozen=True)
class Kind:
    """A detector that is judged.

    Attributes:
        needs: what it learns from, for the page.
        words: of the command that trains it, without sources and places; empty for a committed model.
    """

    needs: str
    words: tuple[str, ...] = ()


ONE_CLASS = "normal footage"
KINDS = {
    "motion": Kind(ONE_CLASS, ("learn", "--detector", "motion")),
    "memory_bank": Kind(ONE_CLASS, ("learn", "--detector", "memory_bank")),
    "student_teacher": Kind(ONE_CLASS, ("learn", "--detector", "student_teacher")),
    "fused": Kind(ONE_CLASS, ("learn", "--detector", "fused")),
    "autoencoder": Kind(ONE_CLASS, ("learn", "--detector", "autoencoder")),
    "outlier-lof": Kind(ONE_CLASS, ("learn", "--detector", "outlier", "--estimator", "lof")),
    "outlier-forest": Kind(ONE_CLASS, ("learn", "--detector", "outlier", "--estimator", "forest")),
    "outlier-svm": Kind(ONE_CLASS, ("learn", "--detector", "outlier", "--estimator", "svm")),
    "classifier": Kind("labelled frames", ("train", "classifier", "--config", "configs/train/classifier.yaml")),
    "classifier-vgg16": Kind(
        "labelled frames", ("train", "classifier", "--config", "configs/train/classifier-vgg16.yaml")
    ),
    "courtyard": Kind("labelled videos"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(KINDS), help="judge these, and leave the others as recorded")
    parser.add_argument("--test-days", type=int, default=TEST_DAYS)
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films, products and scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    try:
        films = rendered(options.kept, options.test_days)
        for name in options.only or KINDS:
            place = options.kept / "judged" / f"{name}.json"
            if not place.exists():
                found = judge(name, films, options.kept)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(json.dumps(found))
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    places = {name: options.kept / "judged" / f"{name}.json" for name in KINDS}
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seeds": {"normal": NORMAL_SEED, "labelled": LABELLED_SEED, "test": TEST_SEED},
        "normal_seconds": NORMAL_DAYS * NORMAL_SECONDS,
        "labelled_seconds": LABELLED_DAYS * LABELLED_SECONDS,
        "test_days": options.test_days,
        "test_seconds": options.test_days * TEST_SECONDS,
        "cores": os.cpu_count(),
        "detectors": {name: json.loads(place.read_text()) for name, place in places.items() if place.exists()},
    }
    record(options.results, "courtyard_families", results, page(results))
    print(page(results), end="")


@dataclass(frozen=True)
class Films:
    """The films of the bench: of normal days, and the manifest of labelled days; those to test on with their scenes."""

    normal: tuple[Path, ...]
    manifest: Path
    test: dict[Path, SceneSettings]


def rendered(kept: Path, test_days: int) -> Films:
    """Return the films, rendered as far as they are missing."""
    normal = {
        kept / "normal" / f"{NORMAL_SEED + day}.mp4": SceneSettings(
            seed=NORMAL_SEED + day, seconds=NORMAL_SECONDS, incidents_per_minute=0
        )
        for day in range(NORMAL_DAYS)
    }
    labelled = {
        kept / "labelled" / f"{LABELLED_SEED + day}.mp4": SceneSettings(
            seed=LABELLED_SEED + day, seconds=LABELLED_SECONDS
        )
        for day in range(LABELLED_DAYS)
    }
    test = {
        kept / "test" / f"{TEST_SEED + day}.mp4": SceneSettings(seed=TEST_SEED + day, seconds=TEST_SECONDS)
        for day in range(test_days)
    }
    missing = {film: scene for film, scene in {**normal, **labelled, **test}.items() if not film.exists()}
    for film in missing:
        film.parent.mkdir(parents=True, exist_ok=True)
    if missing:
        render_films(missing, lambda _done, _total: None)
    manifest = kept / "labelled" / MANIFEST
    videos = []
    for film, scene in labelled.items():
        intervals = intervals_of(abnormal(scene))
        videos.append(Video(film, int(bool(intervals)), intervals, group=film.stem))
    manifest.write_text(manifest_lines(videos, manifest.parent), encoding="utf-8")
    return Films(tuple(normal), manifest, test)


def abnormal(scene: SceneSettings) -> np.ndarray:
    """Return for each frame whether it shows an incident, bool (frames,)."""
    courtyard = Courtyard(scene)
    shown = np.zeros(courtyard.frame_count, np.bool_)
    for incident in courtyard.incidents:
        shown[incident.first_frame : incident.last_frame + 1] = True
    return shown


def judge(name: str, films: Films, kept: Path) -> dict[str, Any]:
    """Train a detector, score the test films with its export, and return its figures."""
    product, minutes = trained(name, films, kept / name)
    repository = kept / name / "models"
    export(str(product), repository, replace=True)
    version = repository / SERVED_NAME / str(served(repository / SERVED_NAME))
    card = read_card(product)
    clip = card.clip.spec
    engine = open_engine("auto", version, (clip.frames, clip.height, clip.width, 3))
    milliseconds: list[float] = []
    published, live = [], []
    for film, scene in track(films.test.items(), name, console=Console(stderr=True)):
        both = scored(engine, card, film, scene, milliseconds)
        published.append(both[0])
        live.append(both[1])
    names = ["frame_auc", "frame_recall_at_2"]
    return {
        "weights_sha256": card.weights_sha256,
        "clip_fps": clip.fps,
        **{figure: one.summary() for figure, one in estimate([published], names=names, draws=DRAWS).items()},
        "live": {figure: one.summary() for figure, one in estimate([live], names=names, draws=DRAWS).items()},
        "milliseconds_a_clip": round(float(np.median(milliseconds)), 1),
        "clips_a_second": round(len(milliseconds) / (len(films.test) * TEST_SECONDS), 2),
        "learning_processor_minutes": minutes,
        "load_average": round(os.getloadavg()[0], 1),
    }


def trained(name: str, films: Films, out: Path) -> tuple[Path, float | None]:
    """Return a detector's product, and the minutes of processor time that its training took; None if it is committed.

    Raises:
        MistwatchError: the training has failed.
    """
    kind, about = KINDS[name], out / "learning.json"
    if not kind.words:
        return find_model(name), None
    if not about.exists():
        files.remove(out)  # the rest of a training would not tell what the whole takes
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        train(kind, films, out)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        about.write_text(json.dumps({"processor_minutes": round(seconds / 60, 1)}))
    return out / "product", json.loads(about.read_text())["processor_minutes"]


def train(kind: Kind, films: Films, out: Path) -> None:
    """Run the command that trains a detector. Raises MistwatchError: it has failed."""
    if kind.words[0] == "learn":
        words = [*kind.words[:1], *map(str, films.normal), *kind.words[1:], "--camera", "courtyard"]
    else:
        words = [*kind.words, "--data", str(films.manifest), *(part for one in CLASSIFIER for part in ("--set", one))]
    command = [sys.executable, "-m", "pipeline.cli", *words, "--out", str(out)]
    if subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
        raise MistwatchError(f"{' '.join(words[:4])} … has failed")


def scored(
    engine: Engine, card: Any, film: Path, scene: SceneSettings, milliseconds: list[float]
) -> tuple[ScoredVideo, ScoredVideo]:
    """Score a film clip by clip, and note the processor time of each.

    Returns:
        the film with the scores of its frames, by the published protocol and as live.
    """
    clip = card.clip.spec
    source = FileSource("courtyard", film)
    labels = abnormal(scene)
    places, scores = [], []
    with closing(source.frames([clip.frame_spec], threading.Event())) as frames:
        for window in cut(frames, clip):
            if isinstance(window, ClipWindow):
                began = time.process_time()
                found = engine.score(window.pixels[None])
                milliseconds.append(1000 * (time.process_time() - began))
                places.append((window.start, window.end))
                scores.append(float(found.scores[0]))
    index, times = source.frame_index(), source.frame_times()
    first, behind = np.array([index.span(0, *place) for place in places]).T
    published = repeated(scores, len(labels), starts=first, ends=behind)
    smoothed = smoothed_as_live(scores, card.alerting.kernel)
    ends = np.array([end for _, end in places])
    latest = np.searchsorted(ends, times + 1 / scene.fps + 1e-6, side="right") - 1
    live = smoothed[np.maximum(latest, 0)]
    of_published, of_live = (ScoredVideo(film.stem, 1, float(each.mean()), each, labels) for each in (published, live))
    return of_published, of_live


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Courtyard: a detector of each family",
        "",
        f"Detectors of one camera have learned from {results['normal_seconds']:.0f} s of normal footage, the "
        f"classifiers from frames of {results['labelled_seconds']:.0f} s with labelled incidents, and `courtyard` from "
        f"900 labelled videos. The test is of {results['test_days']} unseen days, {results['test_seconds']:.0f} s with "
        "six incidents a minute. A clip's score counts for each of its frames, as papers do. As live, a frame has the "
        "average of the clips that have ended before it is over, so an incident that is found late costs its first "
        "frames and those after its end. Intervals are of draws of whole days, which are few. "
        "`bench/courtyard_families.py` writes this page.",
        "",
        "| detector | learns from | frame AUC | recall at 2 % false positives | frame AUC, as live "
        "| ms of one core a clip | clips a second | minutes of one core to learn |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in results["detectors"].items():
        minutes = found["learning_processor_minutes"]
        lines.append(
            f"| `{name}` | {KINDS[name].needs} | {with_interval(found['frame_auc'])} "
            f"| {with_interval(found['frame_recall_at_2'])} | {with_interval(found['live']['frame_auc'])} "
            f"| {found['milliseconds_a_clip']:.0f} "
            f"| {found['clips_a_second']:g} | {'–' if minutes is None else f'{minutes:.1f}'} |"
        )
    return "\n".join(lines) + "\n"


def with_interval(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"**{found['value']:.3f}** ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
