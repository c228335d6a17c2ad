"""A data set of courtyard scenes: videos with and without an incident, their truth, and a manifest.

    FOLDER/normal/courtyard-SEED.mp4
    FOLDER/abnormal/courtyard-SEED.mp4     one incident each
    FOLDER/truth/courtyard-SEED.jsonl      see pipeline.courtyard.film.write_truth
    FOLDER/manifest.jsonl                  written last

A process for each core renders. Each is a program of its own, in a session of its own, and knows whoever started it
by one pipe: when that is closed, for whatever reason, it removes its unfinished film and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import cast

from pipeline.courtyard.film import UNFINISHED, in_full, truth_lines, write_film, write_truth
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError
from pipeline.manifests.manifest import MANIFEST, Video, manifest_lines

#: A process that is told to end stops after the frame that it is at, seconds.
_END_SECONDS = 10.0
#: How often the stop is looked at, seconds.
_LOOK_SECONDS = 0.2


class DataSetError(MistwatchError):
    """The data set cannot be written as asked. One line for an operator."""


class OtherSettings(DataSetError):
    """Videos of other settings are there already."""


class DataSetStopped(MistwatchError):
    """``stop`` was set. What is whole stays, and the same call goes on from there."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One video to be: what it shows, where it goes."""

    settings: SceneSettings
    label: int
    film: Path
    truth: Path


@dataclass(slots=True)
class Written:
    """What there is now.

    Attributes:
        manifest: the manifest's file.
        videos: its lines.
        kept: how many of them were there already.
        kinds: how many show which kind of incident.
    """

    manifest: Path
    videos: list[Video] = field(default_factory=list)
    kept: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def recordings(folder: Path, scene: SceneSettings, *, videos: int, abnormal: float) -> list[Recording]:
    """Plan the data set; nothing is rendered.

    Video k has the seed ``scene.seed + k``, whatever the number of videos; so has its label: normal and abnormal ones
    are mixed evenly from the first on.

    Args:
        folder: where it goes.
        scene: the first video; its ``incidents_per_minute`` is of no matter.
        videos: how many, at least 1.
        abnormal: the share of them that shows an incident, 0 to 1.

    Raises:
        SceneError: a video that cannot be; one line that names the setting.
    """
    share = Fraction(abnormal).limit_denominator(1000)
    planned = []
    for k in range(videos):
        seed = scene.seed + k
        label = math.floor((k + 1) * share) - math.floor(k * share)
        if label and scene.seconds < 10:
            raise SceneError(f"seconds {scene.seconds:g}: expected at least 10 s, which a video with an incident takes")
        settings = replace(scene, seed=seed, incidents_per_minute=60 / scene.seconds if label else 0.0)
        film = folder / ("abnormal" if label else "normal") / f"courtyard-{seed}.mp4"
        planned.append(Recording(settings, label, film, folder / "truth" / f"courtyard-{seed}.jsonl"))
    return planned


def write_data_set(
    folder: Path,
    planned: Sequence[Recording],
    *,
    jobs: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    stop: threading.Event | None = None,
) -> Written:
    """Render what is not there yet, then write the manifest: it names exactly the videos of this call.

    A video is kept where its truth is the one that it would get now: the truth is written after the film is whole. A
    truth of other settings is refused before anything is written.

    Args:
        folder: that of the plan; created when missing.
        planned: see :func:`recordings`.
        jobs: how many processes render, at least 1.
        progress: told (frames done, frames in all).
        stop: ends it; no process and no partial file is left.

    Raises:
        OtherSettings: a truth of other settings.
        DataSetError: another writer, an abnormal scene in which nothing happens, a process that failed.
        DataSetStopped: ``stop`` was set.
        OSError: the folder cannot be written.
    """
    for part in ("normal", "abnormal", "truth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with _alone_in(folder):
        for recording in planned:
            _refuse_other_settings(recording)
        total = sum(_frames(recording.settings) for recording in planned)
        outcomes: dict[int, _Outcome] = {}
        done = 0
        progress(0, total)
        try:
            with contextlib.closing(_rendered(planned, jobs, stop or threading.Event())) as stream:
                for news in stream:
                    if isinstance(news, _Outcome):
                        outcomes[news.ordinal] = news
                        done += _frames(planned[news.ordinal].settings) * news.kept
                    else:
                        done += news
                    progress(done, total)
        finally:
            if len(outcomes) < len(planned):  # a process that was killed could not clear up
                for recording in planned:
                    for path in (recording.film, recording.truth):
                        path.with_name(path.name + UNFINISHED).unlink(missing_ok=True)
        written = Written(folder / MANIFEST)
        for ordinal, recording in enumerate(planned):
            outcome = outcomes[ordinal]
            group = str(recording.settings.seed)
            written.videos.append(Video(recording.film.resolve(), recording.label, outcome.intervals, group=group))
            written.kept += outcome.kept
            written.kinds.update(set(outcome.kinds))
        with in_full(written.manifest) as unfinished:
            unfinished.write_text(manifest_lines(written.videos, folder), encoding="utf-8")
    return written


def _frames(settings: SceneSettings) -> int:
    return max(1, round(settings.seconds * settings.fps))


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two writers would rename each other's unfinished files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataSetError(
                f"{folder}: another process is writing there; wait for it, or choose another folder"
            ) from None
        yield
    finally:
        os.close(handle)


def _refuse_other_settings(recording: Recording) -> None:
    """A truth that is no truth at all is no reason: it is written anew."""
    try:
        with recording.truth.open(encoding="utf-8") as file:
            there = json.loads(file.readline())["settings"]
        wanted = asdict(recording.settings)
        different = [f"{key} {there[key]:g}, not {wanted[key]:g}" for key in wanted if there[key] != wanted[key]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    if different:
        raise OtherSettings(
            f"{recording.truth}: there is a video of other settings already ({', '.join(different)}); "
            "choose another folder, or remove that one"
        )


# -- the processes that render ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A video that is whole."""

    ordinal: int
    kept: bool
    kinds: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]  # frames


@dataclass(frozen=True, slots=True)
class _Failure:
    """One line that says what went wrong."""

    message: str


def _rendered(planned: Sequence[Recording], jobs: int, stop: threading.Event) -> Generator[int | _Outcome, None, None]:
    """Have every recording rendered; yields frames as they are written, and an outcome for each video."""
    waiting = list(enumerate(planned))[::-1]
    with contextlib.ExitStack() as processes:
        busy: set[Connection] = set()
        for _ in range(min(jobs, len(planned))):
            busy.add(processes.enter_context(_process()))
        idle = list(busy)
        while busy:
            if stop.is_set():
                raise DataSetStopped
            try:
                for pipe in idle:
                    if waiting:
                        pipe.send(waiting.pop())
                    else:
                        busy.remove(pipe)
                idle = []
                news = [(pipe, pipe.recv()) for pipe in cast("list[Connection]", wait(list(busy), _LOOK_SECONDS))]
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise DataSetError("a process that rendered came to its end; is there too little memory?") from None
            for pipe, item in news:
                if isinstance(item, _Failure):
                    raise DataSetError(item.message)
                if isinstance(item, _Outcome):
                    idle.append(pipe)
                yield item


@contextlib.contextmanager
def _process() -> Iterator[Connection]:
    """A process that renders what it is sent; afterwards it is gone."""
    ours, its = Pipe()
    with its:
        handle = its.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import _work; _work({handle})"],
            stdin=subprocess.DEVNULL,
            pass_fds=(handle,),
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    try:
        with ours:
            yield ours
    finally:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _work(handle: int) -> None:
    """What such a process does: render what comes, until the other side is gone."""
    with Connection(handle) as pipe, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            ordinal, recording = pipe.recv()
            try:
                pipe.send(_render(ordinal, recording, pipe))
            except DataSetError as error:
                pipe.send(_Failure(str(error)))
            except ImportError as error:
                pipe.send(_Failure(f"OpenCV cannot be loaded: {error}"))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except OSError as error:
                pipe.send(_Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)))


def _render(ordinal: int, recording: Recording, pipe: Connection) -> _Outcome:
    import cv2

    from pipeline.courtyard.scene import Courtyard

    cv2.setNumThreads(1)  # the cores are shared out by process
    scene = Courtyard(recording.settings)
    if bool(scene.incidents) != bool(recording.label):
        what = "nothing abnormal happens" if recording.label else "something abnormal happens"
        raise DataSetError(
            f"{recording.film}: {what} in the scene of seed {recording.settings.seed}; leave that one out"
        )
    kept = _is_there(recording, "".join(line + "\n" for line in truth_lines(scene)))
    if not kept:
        recording.truth.unlink(missing_ok=True)  # until the film is whole
        write_film(scene, recording.film, progress=lambda _done, _total: pipe.send(1))
        write_truth(scene, recording.truth)
    return _Outcome(
        ordinal,
        kept,
        tuple(str(incident.kind) for incident in scene.incidents),
        tuple((one.first_frame, one.last_frame + 1) for one in scene.incidents),
    )


def _is_there(recording: Recording, truth: str) -> bool:
    try:
        return recording.film.stat().st_size > 0 and recording.truth.read_text(encoding="utf-8") == truth
    except (FileNotFoundError, UnicodeDecodeError):
        return False
