"""Rendering of courtyard films in processes, one for each core that the caller grants.

Each process is a program in a session of its own and knows its parent by one pipe. When that closes, for any reason,
the process removes its unfinished film and ends. So a parent that is killed leaves neither processes nor partial films.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline import files
from pipeline.courtyard.film import truth_lines, write_film, write_truth
from pipeline.courtyard.masks import mask_frames, masks_are_complete, write_masks
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError

if TYPE_CHECKING:
    from pipeline.courtyard.scene import Courtyard

#: A process that is asked to end stops after its present frame; it is killed after this many seconds.
_END_SECONDS = 10.0
#: Interval at which the stop is checked, seconds. The generator yields at least this often.
_LOOK_SECONDS = 0.2


class RenderError(MistwatchError):
    """A film cannot be rendered as requested."""


class RenderStopped(MistwatchError):
    """``stop`` was set. Complete films stay; partial ones are removed."""


@dataclass(frozen=True, slots=True)
class Film:
    """One film to render.

    Attributes:
        path: the H.264 file to write.
        truth: the JSON lines of the incidents, written after the film; None: not written. A film whose truth file
            already has exactly this content is kept.
        abnormal: True: an incident must happen; False: none may; None: either.
        masks: the folder of pictures with masks; None: not written.
        masks_seconds: time between two of these pictures.
    """

    settings: SceneSettings
    path: Path
    truth: Path | None = None
    abnormal: bool | None = None
    masks: Path | None = None
    masks_seconds: float = 1.0

    @property
    def frames(self) -> int:
        """The number of frames."""
        return max(1, round(self.settings.seconds * self.settings.fps))

    @property
    def masked_frames(self) -> int:
        """The number of pictures with masks."""
        return len(mask_frames(self.settings, self.masks_seconds)) if self.masks is not None else 0


@dataclass(frozen=True, slots=True)
class Rendered:
    """A completed film.

    Attributes:
        ordinal: its place in the sequence given to :func:`render`.
        intervals: first frame and frame after the last of each incident.
    """

    ordinal: int
    kept: bool
    kinds: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error of a rendering process: one line."""

    message: str


def render(
    films: Sequence[Film], *, processes: int, stop: threading.Event | None = None
) -> Generator[int | Rendered, None, None]:
    """Render films, several at a time.

    Close the generator (``contextlib.closing``) to end early; it leaves neither a process nor a partial film.

    Args:
        films: the films to render; their folders must exist.
        processes: number of films rendered at a time, at least 1.
        stop: when set, rendering ends.

    Yields:
        The number of frames and masks written since the last item (0 while nothing is new), and a :class:`Rendered`
        for each film as it is completed.

    Raises:
        RenderError: a film cannot be written, its scene is not as requested, or a process died.
        RenderStopped: ``stop`` was set.
    """
    try:
        yield from _render_all(films, processes, stop or threading.Event())
    finally:  # a killed process could not remove its partial film
        for film in films:
            for path in filter(None, (film.path, film.truth, film.masks)):
                files.remove_stale_drafts(path.parent, path.name)


def _render_all(films: Sequence[Film], processes: int, stop: threading.Event) -> Iterator[int | Rendered]:
    waiting = list(enumerate(films))[::-1]
    with contextlib.ExitStack() as running:
        busy = {running.enter_context(_process()) for _ in range(min(processes, len(films)))}
        idle = list(busy)
        while busy:
            if stop.is_set():
                raise RenderStopped("rendering was stopped")
            try:
                for pipe in idle:
                    if waiting:
                        pipe.send(waiting.pop())
                    else:
                        busy.remove(pipe)
                idle = []
                items = [(pipe, pipe.recv()) for pipe in cast("list[Connection]", wait(list(busy), _LOOK_SECONDS))]
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise RenderError("a rendering process died; is there too little memory?") from None
            if not items:
                yield 0
            for pipe, item in items:
                if isinstance(item, _Failure):
                    raise RenderError(item.message)
                if isinstance(item, Rendered):
                    idle.append(pipe)
                yield item


@contextlib.contextmanager
def _process() -> Iterator[Connection]:
    """Yield the pipe to a new rendering process; when the block ends, the process has ended."""
    ours, its = Pipe()
    with its:
        handle = its.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import work; work({handle})"],
            stdin=subprocess.DEVNULL,
            pass_fds=(handle,),
            env={name: value for name, value in os.environ.items() if not name.startswith("MISTWATCH_")},  # passwords
            start_new_session=True,  # the parent handles Ctrl-C
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


def work(handle: int) -> None:
    """Render the films that arrive on the pipe ``handle`` until its other end closes. Runs in a process of its own."""
    with Connection(handle) as pipe, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            ordinal, film = pipe.recv()
            try:
                pipe.send(render_one(ordinal, film, pipe))
            except (RenderError, SceneError) as error:
                pipe.send(_Failure(str(error)))
            except ImportError as error:
                pipe.send(_Failure(f"OpenCV cannot be loaded: {error}"))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except OSError as error:
                pipe.send(_Failure(f"{error.filename}: {error.strerror}" if error.filename else str(error)))


def render_all(
    films: Sequence[Film],
    *,
    processes: int,
    progress: Callable[[int, int], None],
    stop: threading.Event | None = None,
) -> list[Rendered]:
    """Render films as :func:`render` does, which raises the same errors, and return the outcomes in their order.

    Args:
        progress: called with (frames and masks done, frames and masks in all) a few times a second.
    """
    total = sum(film.frames + film.masked_frames for film in films)
    outcomes: dict[int, Rendered] = {}
    done = 0
    progress(0, total)
    with contextlib.closing(render(films, processes=processes, stop=stop)) as items:
        for item in items:
            if isinstance(item, Rendered):
                outcomes[item.ordinal] = item
            else:
                done += item
            progress(done, total)
    return [outcomes[ordinal] for ordinal in range(len(films))]


def render_films(films: Mapping[Path, SceneSettings], on_progress: Callable[[int, int], None]) -> None:
    """Render every film, as many at a time as there are cores; see :func:`render_all`."""
    planned = [Film(settings, path) for path, settings in films.items()]
    render_all(planned, processes=len(os.sched_getaffinity(0)), progress=on_progress)


def render_one(ordinal: int, film: Film, pipe: Connection) -> Rendered:
    """Render one film, sending on ``pipe`` the number of frames and masks that are new, or kept.

    Raises:
        RenderError: the scene has a forbidden incident, or lacks a required one.
        OSError: the film cannot be written.
    """
    import cv2

    from pipeline.courtyard.scene import Courtyard

    cv2.setNumThreads(1)  # there is a process for each core
    scene = Courtyard(film.settings)
    if film.abnormal is not None and bool(scene.incidents) != film.abnormal:
        what = "nothing abnormal happens" if film.abnormal else "something abnormal happens"
        raise RenderError(f"{film.path}: {what} in the scene of seed {film.settings.seed}; leave that seed out")
    kept = _is_complete(film, scene)
    if kept:
        pipe.send(film.frames)
    else:
        if film.truth is not None:
            film.truth.unlink(missing_ok=True)  # until the film is complete
        write_film(scene, film.path, progress=lambda _done, _total: pipe.send(1))
        if film.truth is not None:
            write_truth(scene, film.truth)
    if film.masks is not None:
        if masks_are_complete(film.settings, film.masks, film.masks_seconds):
            pipe.send(film.masked_frames)
        else:
            kept = False
            write_masks(scene, film.masks, film.masks_seconds, progress=lambda _done, _total: pipe.send(1))
    return Rendered(
        ordinal,
        kept,
        tuple(str(incident.kind) for incident in scene.incidents),
        tuple((incident.first_frame, incident.last_frame + 1) for incident in scene.incidents),
    )


def _is_complete(film: Film, scene: Courtyard) -> bool:
    if film.truth is None:
        return False
    try:
        if film.path.stat().st_size == 0:
            return False
        found = film.truth.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    # Last, as it takes a look at every frame with an incident.
    return found == "".join(line + "\n" for line in truth_lines(scene))
