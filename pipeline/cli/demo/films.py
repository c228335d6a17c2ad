"""Renders the demo's films before it runs, each in a process of its own.

The process is this module run as a program: ``python -m pipeline.cli.demo.films SETTINGS FILM``, the scene's settings
as JSON. It writes one byte for each frame, so that whoever started it can tell how far it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from pipeline.cli.errors import RunFailure, UsageFailure
from pipeline.courtyard.settings import SceneError, SceneSettings

#: A renderer that is told to end removes its unfinished film first, seconds.
_END_SECONDS = 5.0
#: How often ``told`` is called at least, so that a person sees the time left run down, seconds.
_TELL_SECONDS = 0.5


def render(films: Mapping[Path, SceneSettings], told: Callable[[int, int], None]) -> None:
    """Render every film, as many at a time as there are cores.

    Args:
        films: each film's settings by its file.
        told: told (frames rendered, frames in all) a few times a second.

    Raises:
        UsageFailure, RunFailure: one could not be rendered. None of the processes is left, whatever happens.
    """
    from pipeline.courtyard.scene import Courtyard

    frames = sum(Courtyard(settings).frame_count for settings in films.values())
    rendered = 0
    waiting = list(films.items())
    with contextlib.ExitStack() as renderers, selectors.DefaultSelector() as selector:
        while waiting or selector.get_map():
            while waiting and len(selector.get_map()) < len(os.sched_getaffinity(0)):
                path, settings = waiting.pop(0)
                renderer = renderers.enter_context(_renderer(path, settings))
                assert renderer.stdout is not None
                selector.register(renderer.stdout, selectors.EVENT_READ, renderer)
            for key, _ in selector.select(_TELL_SECONDS):
                if more := os.read(key.fd, 65536):
                    rendered += len(more)
                else:
                    selector.unregister(key.fileobj)
                    _check(key.data)
            told(rendered, frames)


@contextlib.contextmanager
def _renderer(path: Path, settings: SceneSettings) -> Iterator[subprocess.Popen[bytes]]:
    from deploy.lifetime import end_with_parent

    with subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.cli.demo.films", json.dumps(asdict(settings)), str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to handle
        preexec_fn=end_with_parent,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _check(process: subprocess.Popen[bytes]) -> None:
    """Wait for a renderer that has closed its output. Raises what it says went wrong."""
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip()
    if status := process.wait():
        line = said.splitlines()[-1] if said else f"ended with status {status}"
        raise (UsageFailure if status == UsageFailure.exit_status else RunFailure)(f"rendering the films: {line}")


def main() -> None:
    """Render one film; a failure is one line on standard error and a status."""
    import cv2

    from pipeline.courtyard.film import FilmStopped, write_film
    from pipeline.courtyard.scene import Courtyard

    cv2.setNumThreads(1)  # there is a process a core already
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    settings, path = sys.argv[1:]
    try:
        scene = Courtyard(SceneSettings(**json.loads(settings)))
        write_film(scene, Path(path), progress=lambda _done, _all: _tell_a_frame(), stop=stop)
    except FilmStopped:
        sys.exit(128 + signal.SIGTERM)
    except SceneError as error:
        print(error, file=sys.stderr)
        sys.exit(UsageFailure.exit_status)
    except OSError as error:
        print(f"{error.filename}: {error.strerror}" if error.filename else error, file=sys.stderr)
        sys.exit(RunFailure.exit_status)


def _tell_a_frame() -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is there to count: the stop is under way
        os.write(1, b".")


if __name__ == "__main__":
    main()
