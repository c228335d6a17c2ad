"""Days of the rendered courtyard as the benches of likeness see them: features of each clip, and what it shows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from courtyard import film_of, render_missing
from rich.progress import Progress

from models.alike.served.card import EmbeddingCard, Features, find_embedding_model, read_embedding_card
from models.alike.served.embedder import Embedder
from models.alike.served.weights import load_embedder
from models.backbones.i3d import I3D, ClipEncoder
from models.data.features import FeatureStore
from models.detectors.base import read_detector
from models.detectors.mist.generator_scoring import clip_scores
from models.engines.openvino import OpenVinoNetwork
from models.engines.openvino_convert import Input, to_openvino
from models.serving.export import find_model
from operators.alerting import AlertState, AlertTransition
from operators.chain import ScoreChain
from operators.figures.events import Span, match
from operators.scores import ClipScore, SegmentEnd
from pipeline.alerts.recent_features import Moment, RecentFeatures
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import Incident, SceneSettings
from pipeline.errors import UsageError
from pipeline.live.judging import chain_settings
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning
from pipeline.sources.files import FileSource
from pipeline.windows import ClipWindow, cut

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

    def described(self, clip: int) -> npt.NDArray[np.float32]:
        """Return the features that describe a clip, (D,), as a worker takes them: with those of the clip before."""
        recent = RecentFeatures()
        moments = [Moment("film", float(self.start[one]), float(self.end[one])) for one in range(clip + 1)]
        for one in range(max(0, clip - 1), clip + 1):
            recent.add(moments[one], self.features[one])
        found = recent.at(moments[clip])
        assert found is not None
        return found

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


def embedder_of(model: str) -> tuple[EmbeddingCard, Embedder]:
    """Return an embedding model's card and the model.

    Args:
        model: the name of one that comes with mistwatch, or a folder.

    Raises:
        UsageError: there is no such model.
        MistwatchError: it cannot be read.
    """
    if (folder := find_embedding_model(model)) is None:
        raise UsageError(f"--model {model}: no embedding model; expected a folder, or one that comes with mistwatch")
    card = read_embedding_card(folder)
    return card, Embedder(load_embedder(card, folder))


@dataclass(frozen=True)
class FoundAlert:
    """An alert of a day.

    Attributes:
        peak: the clip with which it begins: the highest smoothed score so far.
        kind: of its incident; ``normal`` for a false alarm.
        span: from its opening to its end, seconds.
    """

    peak: int
    kind: str
    span: Span


def alerts_of(
    days: Sequence[Day], model: str | None, *, cooldown_seconds: float, scored: Scored | None = None
) -> list[list[FoundAlert]]:
    """Return the alerts of each day.

    Args:
        model: a committed generator; its card has the operators' settings.
        scored: instead of it, a function that scores clips, and the thresholds of the operators.
    """
    if scored is None:
        assert model is not None
        scored = committed(model)
    tuning = AlertTuning(cooldown_seconds=cooldown_seconds)
    return [_alerts_of(day, scored, tuning) for day in days]


@dataclass(frozen=True)
class Scored:
    """A detector as the benches run it.

    Attributes:
        score: features of clips (n, D) → scores (n,).
        served: names the thresholds and the kernel.
    """

    score: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
    served: ServedModel


def committed(model: str) -> Scored:
    """Return a committed generator."""
    family, card = read_detector(folder := find_model(model))
    network = family.load(card, folder, lambda _line: None)
    alerting = card.alerting
    served = ServedModel(
        card.name, "1", card.clip.spec, alerting.open_threshold, alerting.close_threshold, alerting.kernel
    )
    return Scored(lambda features: clip_scores(network.generator, features), served)  # type: ignore[union-attr,arg-type]


def _alerts_of(day: Day, scored: Scored, tuning: AlertTuning) -> list[FoundAlert]:
    chain = ScoreChain("bench", chain_settings(tuning, scored.served, max_in_flight=1))
    values = scored.score(day.features)
    begun: list[tuple[int, float]] = []
    ended: list[float] = []
    for index, value in enumerate(values):
        clip = ClipScore("bench", "film", index, float(day.start[index]), float(day.end[index]), float(value), "m", "1")
        for step in chain.score(clip):
            _note(step, begun, ended)
    for step in chain.end(SegmentEnd("bench", "film", len(values), "stream_end")):
        _note(step, begun, ended)
    spans = [Span(opened, end) for (_, opened), end in zip(begun, ended, strict=True)]
    about = {pair.alert: pair.incident for pair in match(day.spans, spans)}
    return [
        FoundAlert(peak, str(day.incidents[about[number]].kind) if number in about else NORMAL, spans[number])
        for number, (peak, _) in enumerate(begun)
    ]


def _note(step: AlertTransition, begun: list[tuple[int, float]], ended: list[float]) -> None:
    if step.state is AlertState.BEGIN:
        begun.append((step.peak.clip.index, step.last.end))
    elif step.state is AlertState.END:
        ended.append(step.last.end)


def features_of_clips(
    days: Sequence[Day], clips: Sequence[Sequence[int]], features: Features, kept: Path, bars: Progress
) -> list[dict[int, npt.NDArray[np.float32]]]:
    """Return the features of chosen clips of each day by a backbone with random weights, which are drawn once."""
    torch.manual_seed(0)
    encoder = ClipEncoder(I3D(), features.layers).eval()
    size = (features.clip.frames, features.clip.height, features.clip.width, 3)
    network = OpenVinoNetwork(to_openvino(encoder, {"CLIP": Input(size)}, ("FEATURES",)))
    task = bars.add_task("clips through a random backbone", total=sum(map(len, clips)))
    found: list[dict[int, npt.NDArray[np.float32]]] = []
    for day, wanted in zip(days, clips, strict=True):
        source = FileSource("bench", film_of(day.settings, kept), threads=1)
        of_day: dict[int, npt.NDArray[np.float32]] = {}
        spec = features.clip.spec
        for item in cut(source.frames([spec.frame_spec], threading.Event()), spec):
            if isinstance(item, ClipWindow) and item.index in wanted:
                of_day[item.index] = network.run(item.pixels[None])["FEATURES"][0]
                bars.advance(task)
        found.append(of_day)
    return found


def _onto(bars: Progress, task: object) -> Callable[[int, int], None]:
    return lambda done, total: bars.update(task, completed=done, total=total)  # type: ignore[arg-type]
