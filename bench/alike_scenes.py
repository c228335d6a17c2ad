"""Days of the rendered courtyard as the benches of likeness see them: features of each clip, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from courtyard import film_of, render_missing
from rich.progress import Progress

from models.alike.served.card import Features
from models.data.extraction import FeaturesError
from models.data.features import FeatureStore
from operators.figures.events import Span
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, SceneSettings

#: A clip shows an incident if it shares this much of its length with it.
_SHARED = 0.6
#: Kind of clips that show hard normals and nothing of an incident.
NORMAL = "normal"


@dataclass(frozen=True)
class Day:
    """One camera's day.

    Attributes:
        features: float32 (n, D), of its clips.
        start, end: float64 (n,), seconds.
        incidents: those that the film shows.
        ordinary: the kinds of hard normals in the middle of each clip.
    """

    settings: SceneSettings
    features: npt.NDArray[np.float32]
    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    incidents: tuple[Incident, ...]
    ordinary: list[frozenset[str]]

    def span(self, incident: Incident) -> Span:
        """Return an incident's span, seconds."""
        return Span(incident.first_frame / self.settings.fps, (incident.last_frame + 1) / self.settings.fps)

    @property
    def spans(self) -> list[Span]:
        """All incidents' spans."""
        return [self.span(incident) for incident in self.incidents]

    def shared(self, span: Span) -> npt.NDArray[np.float64]:
        """Return the share of each clip that lies in a span, (n,)."""
        within = np.minimum(self.end, span.end) - np.maximum(self.start, span.start)
        shares: npt.NDArray[np.float64] = np.clip(within, 0, None) / (self.end - self.start)
        return shares

    def middle_of(self, incident: Incident) -> int | None:
        """Return the clip in the middle of an incident; None where none shows it."""
        span = self.span(incident)
        shares = self.shared(span)
        if not (shares >= _SHARED).any():
            return None
        away = np.abs((self.start + self.end) / 2 - (span.start + span.end) / 2)
        return int(np.argmin(np.where(shares >= _SHARED, away, np.inf)))

    @property
    def free_of_incidents(self) -> npt.NDArray[np.bool_]:
        """Return which clips share no moment with an incident, (n,)."""
        shares = [self.shared(span) for span in self.spans]
        return np.sum(shares, axis=0) == 0 if shares else np.ones(len(self.start), bool)


def watched_days(
    seeds: Sequence[int], seconds: float, features: Features, kept: Path, bars: Progress, *, stride: int | None = None
) -> list[Day]:
    """Render the films that no earlier run has kept, and return their days. Features come from the user's cache.

    Args:
        features: those that are wanted.
        stride: of the clips, frames; by default that of ``features``.

    Raises:
        FeaturesError: a film cannot be read.
    """
    films = {film_of(scene := SceneSettings(seed=seed, seconds=seconds), kept): scene for seed in seeds}
    render_missing(films, bars)
    store = store_of(features, stride)
    task = bars.add_task("features of the films", total=len(films))
    for problem in store.fill(list(films), progress=_onto(bars, task)).values():
        raise problem
    days = []
    for film, scene in films.items():
        found = store.of(film)
        courtyard = Courtyard(scene)
        middles = np.rint((found.starts + found.ends) / 2 * scene.fps).astype(int)
        ordinary = [frozenset(map(str, courtyard.ordinary(int(frame)))) for frame in middles]
        days.append(Day(scene, found.values, found.starts, found.ends, courtyard.incidents, ordinary))
    return days


def store_of(features: Features, stride: int | None = None) -> FeatureStore:
    """Return the store of such features."""
    clip = features.clip.model_copy(update={} if stride is None else {"stride": stride})
    return FeatureStore(clip.spec, backbone=features.backbone.name, layers=features.layers)


def _onto(bars: Progress, task: object) -> Callable[[int, int], None]:
    return lambda done, total: bars.update(task, completed=done, total=total)  # type: ignore[arg-type]


__all__ = ["NORMAL", "Day", "FeaturesError", "store_of", "watched_days"]
