"""Rendering of the demo's films before it runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.courtyard.renderer import Film, Rendered, render
from pipeline.courtyard.settings import SceneSettings


def render_films(films: Mapping[Path, SceneSettings], on_progress: Callable[[int, int], None]) -> None:
    """Render every film, as many at a time as there are cores.

    Args:
        films: each film's settings by its file.
        on_progress: called with (frames rendered, frames in all) a few times a second.

    Raises:
        RenderError: a film could not be rendered.
    """
    planned = [Film(settings, path) for path, settings in films.items()]
    total = sum(film.frames for film in planned)
    done = 0
    with contextlib.closing(render(planned, processes=len(os.sched_getaffinity(0)))) as items:
        for item in items:
            done += 0 if isinstance(item, Rendered) else item
            on_progress(done, total)
