"""Renders films of the courtyard in processes, one for each core that the caller grants.

Each process is a program in a session of its own and knows its parent by one pipe: when that closes, for whatever
reason, it removes its unfinished film and ends. So a parent that is killed leaves neither processes nor partial films.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import cast

from pipeline import files
from pipeline.courtyard.film import truth_lines, write_film, write_truth
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError

#: A process that is asked to end stops after its present frame; it is killed after this many seconds.
_END_SECONDS = 10.0
#: How often the stop is checked, seconds. The caller is called at least this often.
_LOOK_SECONDS = 0.2


class RenderError(MistwatchError):
    """A film cannot be rendered as asked."""


class RenderStopped(MistwatchError):
    """``stop`` was set. Complete films stay; partial ones are removed."""


@dataclass(frozen=True, slots=True)
class Film:
    """One film to render.

    Attributes:
        settings: the scene.
        path: the H.264 file to write.
        truth: the JSON lines that say what happens when, written after the film; None: not wanted. A film whose truth
            file already says exactly that is kept.
        abnormal: whether an incident must happen; None: either way.
    """

    settings: SceneSettings
    path: Path
    truth: Path | None = None
    abnormal: bool | None = None

    @property
    def frames(self) -> int:
        return max(1, round(self.settings.seconds * self.settings.fps))


@dataclass(frozen=True, slots=True)
class Rendered:
    """A film that is complete.

    Attributes:
        ordinal: its place in the sequence given to :func:`render`.
        kept: it was there already.
        kinds: the kind of each incident.
        intervals: first frame and the one after the last of each incident.
    """

    ordinal: int
    kept: bool
    kinds: tuple[str, ...]
    intervals: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Failure:
    """One line that says what went wrong."""

    message: str


def render(
    films: Sequence[Film], *, processes: int, stop: threading.Event | None = None
) -> Generator[int | Rendered, None, None]:
    """Render films, several at a time.

    Close the generator (``contextlib.closing``) to end early: no process and no partial film is left.

    Args:
        films: what to render; the folders must exist.
        processes: how many render at a time, at least 1.
        stop: ends it.

    Yields:
        The number of frames written since the last item (0 while nothing is new), and a :class:`Rendered` for each
        film as it is completed.

    Raises:
        RenderError: a film cannot be written, its scene is not as asked, or a process died.
        RenderStopped: ``stop`` was set.
    """
    try:
        yield from _render_all(films, processes, stop or threading.Event())
    finally:  # a process that was killed could not remove its partial film
        for film in films:
            for path in filter(None, (film.path, film.truth)):
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
    """Yield the pipe to a new rendering process; the process has ended when the block ends."""
    ours, its = Pipe()
    with its:
        handle = its.fileno()
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import work; work({handle})"],
            stdin=subprocess.DEVNULL,
            pass_fds=(handle,),
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


def render_one(ordinal: int, film: Film, pipe: Connection) -> Rendered:
    """Render one film, sending 1 on ``pipe`` for every frame.

    Raises:
        RenderError: the scene has an incident where none may be, or none where one must be.
        OSError: the film cannot be written.
    """
    import cv2

    from pipeline.courtyard.scene import Courtyard

    cv2.setNumThreads(1)  # there is a process for each core
    scene = Courtyard(film.settings)
    if film.abnormal is not None and bool(scene.incidents) != film.abnormal:
        what = "nothing abnormal happens" if film.abnormal else "something abnormal happens"
        raise RenderError(f"{film.path}: {what} in the scene of seed {film.settings.seed}; leave that one out")
    kept = _is_complete(film, "".join(line + "\n" for line in truth_lines(scene)))
    if not kept:
        if film.truth is not None:
            film.truth.unlink(missing_ok=True)  # until the film is complete
        write_film(scene, film.path, progress=lambda _done, _total: pipe.send(1))
        if film.truth is not None:
            write_truth(scene, film.truth)
    return Rendered(
        ordinal,
        kept,
        tuple(str(incident.kind) for incident in scene.incidents),
        tuple((incident.first_frame, incident.last_frame + 1) for incident in scene.incidents),
    )


def _is_complete(film: Film, truth: str) -> bool:
    if film.truth is None:
        return False
    try:
        return film.path.stat().st_size > 0 and film.truth.read_text(encoding="utf-8") == truth
    except (FileNotFoundError, UnicodeDecodeError):
        return False
