"""A data set of courtyard scenes: videos with and without an incident, their truth, and a manifest.

FOLDER/normal/courtyard-SEED.mp4
FOLDER/abnormal/courtyard-SEED.mp4     one incident each
FOLDER/truth/courtyard-SEED.jsonl      see pipeline.courtyard.film.write_truth
FOLDER/masks/courtyard-SEED/           on request; see pipeline.courtyard.masks
FOLDER/manifest.jsonl                  written last
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from pipeline import files
from pipeline.courtyard.renderer import Film, RenderError, render_all
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import UsageError
from pipeline.manifests.manifest import MANIFEST, Video, manifest_lines


class OtherSettingsError(UsageError):
    """The folder already contains a video with other settings."""


@dataclass(slots=True)
class Written:
    """A completed data set."""

    manifest: Path
    videos: list[Video] = field(default_factory=list)
    kept: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def recordings(
    folder: Path,
    scene: SceneSettings,
    *,
    videos: int,
    abnormal: float,
    incidents_per_minute: float | None = None,
    masks_seconds: float | None = None,
) -> list[Film]:
    """Plan the data set; nothing is rendered.

    Seed (``scene.seed + k``) and label of video k do not depend on the number of videos: normal and abnormal
    videos are mixed evenly from the start.

    Args:
        scene: settings of the first video; its ``incidents_per_minute`` is ignored.
        abnormal: share of videos with incidents, 0 to 1.
        incidents_per_minute: of the abnormal videos; None: one a video.
        masks_seconds: time between two pictures with masks; None: without.

    Raises:
        SceneError: a video that cannot be rendered; one line that names the setting.
    """
    share = Fraction(abnormal).limit_denominator(1000)
    planned = []
    for k in range(videos):
        seed = scene.seed + k
        label = math.floor((k + 1) * share) - math.floor(k * share)
        if label and scene.seconds < (least := 60 if scene.abandoned else 10):
            what = "an abandoned object" if scene.abandoned else "an incident"
            raise SceneError(f"seconds {scene.seconds:g}: expected at least {least} s for a video with {what}")
        rate = 60 / scene.seconds if incidents_per_minute is None else incidents_per_minute
        settings = replace(scene, seed=seed, incidents_per_minute=rate if label else 0.0)
        path = folder / ("abnormal" if label else "normal") / f"courtyard-{seed}.mp4"
        truth = folder / "truth" / f"courtyard-{seed}.jsonl"
        film = Film(settings, path, truth, abnormal=bool(label))
        if masks_seconds is not None:
            # Beside normal and abnormal, in which a folder of pictures is a video.
            film = replace(film, masks=folder / "masks" / path.stem, masks_seconds=masks_seconds)
        planned.append(film)
    return planned


def write_data_set(
    folder: Path,
    planned: Sequence[Film],
    *,
    jobs: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    stop: threading.Event | None = None,
) -> Written:
    """Render the missing videos, then write the manifest with exactly the videos of this call.

    A video is kept if its truth file equals the one to be written: the truth is written after the film is complete. A
    truth file with other settings is refused before anything is written.

    Args:
        jobs: number of processes that render, at least 1.
        progress: called with (frames and masks done, frames and masks in all).
        stop: when set, writing ends and leaves neither a process nor a partial file.

    Raises:
        OtherSettingsError: a truth file with other settings.
        RenderError: another process writes there, an abnormal scene without an incident, a failed process.
        RenderStopped: ``stop`` was set. Complete videos stay, and the same call continues from there.
        OSError: the folder cannot be written.
    """
    for part in ("normal", "abnormal", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for film in planned:
            _refuse_other_settings(film)
        rendered = render_all(planned, processes=jobs, progress=progress, stop=stop)
        written = Written(folder / MANIFEST)
        for film, outcome in zip(planned, rendered, strict=True):
            group = str(film.settings.seed)
            written.videos.append(Video(film.path.resolve(), int(bool(film.abnormal)), outcome.intervals, group=group))
            written.kept += outcome.kept
            written.kinds.update(set(outcome.kinds))
        files.write_text(written.manifest, manifest_lines(written.videos, folder))
    return written


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder: two writers would rename each other's unfinished files."""
    try:
        with files.locked(folder, wait=False):
            yield
    except files.LockedError:
        raise RenderError(
            f"{folder}: another process is writing there; wait for it, or choose another folder"
        ) from None


def _refuse_other_settings(film: Film) -> None:
    """Raise OtherSettingsError if the truth file has other settings; an unreadable one is overwritten."""
    assert film.truth is not None
    try:
        with film.truth.open(encoding="utf-8") as file:
            existing = json.loads(file.readline())["settings"]
        wanted = asdict(film.settings)
        existing.setdefault("abandoned", False)
        different = [f"{key} {existing[key]:g}, not {wanted[key]:g}" for key in wanted if existing[key] != wanted[key]]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return
    if different:
        raise OtherSettingsError(
            f"{film.truth}: a video with other settings exists ({', '.join(different)}); "
            "choose another folder, or remove that video"
        )
