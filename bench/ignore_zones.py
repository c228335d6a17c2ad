"""Measure ignore zones on the courtyard: an incident inside one raises no alert, and the others are found as before.

    python bench/ignore_zones.py [--count 20]

writes bench/results/ignore_zones.json and .md. Each seed is a film of 20 s with two incidents: a fall or scuffle, which
stays in one place, and another. The zone is the rectangle around the first one and the people who hurry to it, with a
margin. Seeds are taken in order, those left out in which the zone also covers most of the other incident. To save time,
only the clips around the two incidents are scored. Clips take the worker's way: the mask and the replaced pixels come
from pipeline/scoring/ignoring.py, and the engine that Triton serves scores them. Two
models: `courtyard` has no HEAT, so that its pixels are replaced, as those of a model whose HEAT is attention.
`courtyard-motion` takes the mask. Other pictures to replace pixels by are compared with the one that is used. Films and
scores are kept under runs/ignore-zones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from courtyard import RESULTS, ROOT, Scorer, Watch, alerts_of, film_of, render_missing
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.code import code_digest
from models.serving.config import score_outputs
from models.serving.contract import CONFIG_FILE
from operators.figures.events import Span, match
from operators.heat_kind import HeatKind
from operators.median import median_picture
from operators.scores import ClipScore
from operators.zones import Zone
from pipeline.courtyard.paint import paint
from pipeline.courtyard.scene import Courtyard, _shapes
from pipeline.courtyard.script import _present
from pipeline.courtyard.settings import Box, IncidentKind, SceneError, SceneSettings
from pipeline.errors import MistwatchError
from pipeline.scoring.ignoring import Ignoring, without
from pipeline.scoring.served_model import HeatMap, ServedModel
from pipeline.sources.files import FileSource
from pipeline.windows import ClipWindow, cut

KEPT = ROOT / "runs" / "ignore-zones"
#: Reserved for this bench.
FIRST_SEED, SEEDS = 19601, 20
#: Added to each side of the boxes, in shares of the picture: a box encloses figures and not their shadows.
MARGIN = 0.05
#: Greatest mean share of the other incident's boxes in the zone: most incidents cross the whole picture.
OUTSIDE = 0.4
#: Frames of an incident from one look at its box to the next.
EVERY = 4
SECONDS = 20.0  # of a film
AROUND_SECONDS = 1.0  # before and after an incident, in which clips are scored, too
#: Number of seeds on which other pictures to replace pixels by are compared with the one that is used.
COMPARED = 8
LOCAL = {IncidentKind.FALL, IncidentKind.SCUFFLE}

BEFORE = "without zones"
#: How a worker ignores places, by the models' names.
USED = {"courtyard": "standing scene", "courtyard-motion": "mask"}

Change = Callable[[ClipWindow], ClipWindow]
Zones = tuple[Zone, ...]
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom in shares of the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=SEEDS, help="number of seeds")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    try:
        days = list(itertools.islice(suitable(options.first_seed), options.count))
        scenes = [day.settings for day in days]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            films = [film_of(scene, options.kept) for scene in scenes]
            render_missing(dict(zip(films, scenes, strict=True)), bars)
            models = []
            for name in USED:
                scorer = ZonedScorer(name, progress=bars.console.print)
                task = bars.add_task(f"scoring films by {name}", total=len(scorer.ways) * len(films))
                judged: dict[str, list[Watch]] = {}
                for way in scorer.ways:
                    judged[way] = []
                    some = slice(None if way in scorer.judged else COMPARED)
                    for day, film in zip(days[some], films[some], strict=True):
                        judged[way].append(day.judge(scorer, way, film, options.kept))
                        bars.advance(task)
                models.append(figures(scorer, days, judged))
    except (SceneError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "seeds": [scene.seed for scene in scenes],
        "seconds": SECONDS,
        "margin": MARGIN,
        "zones": {
            str(day.settings.seed): {
                "inside": str(day.incidents[day.inside].kind),
                "outside": str(day.incidents[1 - day.inside].kind),
                "share_of_picture": round(day.zone.area, 3),
                "share_of_outside": round(day.share, 3),
            }
            for day in days
        },
        "models": models,
        "used": USED,
    }
    record(options.results, "ignore_zones", results, page(results))
    print(page(results), end="")


class ZonedScorer(Scorer):
    """A model as Triton would serve it, with a camera's zones.

    Attributes:
        ways: to score a clip, by their names.
        judged: those by which the incident outside is scored, too.
    """

    def __init__(self, model: str, *, progress: Callable[[str], None]) -> None:
        super().__init__(model, progress=progress)
        cells = score_outputs((self._version / CONFIG_FILE).read_text(encoding="utf-8")).get("HEAT")
        heat = None if cells is None else HeatMap(cells[0], cells[1], HeatKind.ANOMALY)
        plain = ServedModel(self.card.name, "1", self.clip, heat=heat, takes_mask=heat is not None)
        self.ways: dict[str, Callable[[Zones], Change]] = {BEFORE: lambda _: lambda window: window}
        if plain.takes_mask:
            self.ways["mask"] = self._as_worker(plain)
        else:
            self.ways["standing scene"] = self._as_worker(plain)
            self.ways["median of the clip"] = self._replacing(plain, median_picture)
            self.ways["mean of the clip"] = self._replacing(plain, _mean_picture)
        self.judged = {*self.ways} - {"median of the clip", "mean of the clip"}

    def _as_worker(self, served: ServedModel) -> Callable[[Zones], Change]:
        def with_zones(zones: Zones) -> Change:
            ignoring = Ignoring("bench", zones, self.clip.frame_spec)
            return lambda window: ignoring.apply(window, served)

        return with_zones

    def _replacing(self, served: ServedModel, picture: Callable[[Any], Any]) -> Callable[[Zones], Change]:
        def with_zones(zones: Zones) -> Change:
            # The pixels that a worker would hide, whatever it would show instead.
            hiding = Ignoring("bench", zones, self.clip.frame_spec)
            hides = replace(served, takes_mask=True, heat=HeatMap(self.clip.height, self.clip.width, HeatKind.ANOMALY))

            def change(window: ClipWindow) -> ClipWindow:
                hidden = hiding.apply(window, hides).hidden
                assert hidden is not None
                return replace(window, pixels=without(window.pixels, hidden, picture(window.pixels)))

            return change

        return with_zones

    def scores_with(self, film: Path, change: Change, spans: Sequence[Span]) -> Iterator[ClipScore]:
        """Yield the scores of a film's clips, in order, each changed first; 0 for those that no span touches."""
        source = FileSource("bench", film, threads=1)
        for item in cut(source.frames([self.clip.frame_spec], threading.Event()), self.clip):
            if isinstance(item, ClipWindow):
                window = change(item)
                masks = None if window.mask is None else window.mask[None]
                value = 0.0
                if any(item.start < span.end and span.start < item.end for span in spans):
                    value = float(self._engine.score(window.pixels[None], masks=masks).scores[0])
                yield ClipScore("bench", item.segment.id, item.index, item.start, item.end, value, self.card.name, "1")


def _mean_picture(pixels: np.ndarray) -> np.ndarray:
    mean: np.ndarray = np.rint(pixels.mean(axis=0, dtype=np.float32)).astype(np.uint8)
    return mean


class Day:
    """One film with two incidents, and the zone around the first that stays in one place.

    Attributes:
        inside: the ordinal of the incident in the zone.
        share: the mean share of the other one's boxes in the zone.
    """

    def __init__(self, settings: SceneSettings) -> None:
        self.settings = settings
        scene = Courtyard(settings)
        self.incidents = scene.incidents
        self.inside = next(n for n, one in enumerate(self.incidents) if one.kind in LOCAL)
        left, top, right, bottom = self._rectangle = self._around(scene, self.inside)
        self.zone = Zone("ignored", ((left, top), (right, top), (right, bottom), (left, bottom)), ignore=True)
        self.share = float(np.mean([self._share(box) for box in self._boxes(scene, 1 - self.inside)]))

    def judge(self, scorer: ZonedScorer, way: str, film: Path, kept: Path) -> Watch:
        """Return the alerts of the film, scored in one way; scores of an earlier run are taken over."""
        code = code_digest(["pipeline.scoring.ignoring", "operators.zones", "operators.background"])
        file = kept / f"{film.stem}-{scorer.card.name}-{scorer.key}-{way.replace(' ', '-')}-{code[:8]}-{MARGIN:g}.json"
        if not file.exists():
            change = scorer.ways[way]((self.zone,))
            spans = [self._span(n) for n in range(2) if n == self.inside or way in scorer.judged]
            rows = [[one.start, one.end, one.score] for one in scorer.scores_with(film, change, spans)]
            draft = file.with_suffix(".part")
            draft.write_text(json.dumps(rows))
            draft.replace(file)
        return alerts_of(self.settings, self.incidents, json.loads(file.read_text()), scorer.card.name, scorer.chain)

    def _span(self, ordinal: int) -> Span:
        one, fps = self.incidents[ordinal], self.settings.fps
        return Span(one.first_frame / fps - AROUND_SECONDS, (one.last_frame + 1) / fps + AROUND_SECONDS)

    def _frames(self, ordinal: int) -> list[int]:
        incident = self.incidents[ordinal]
        return [*range(incident.first_frame, incident.last_frame, EVERY), incident.last_frame]

    def _boxes(self, scene: Courtyard, ordinal: int) -> list[Rectangle]:
        return [self._in_shares(one.box) for frame in self._frames(ordinal) for one in scene.truth(frame)]

    def _around(self, scene: Courtyard, ordinal: int) -> Rectangle:
        hurrying = [self._in_shares(box) for frame in self._frames(ordinal) for box in hurrying_in(scene, frame)]
        left, top, right, bottom = zip(*self._boxes(scene, ordinal), *hurrying, strict=True)
        return (
            max(0.0, min(left) - MARGIN),
            max(0.0, min(top) - MARGIN),
            min(1.0, max(right) + MARGIN),
            min(1.0, max(bottom) + MARGIN),
        )

    def _in_shares(self, box: Box) -> Rectangle:
        width, height = self.settings.width, self.settings.height
        return box[0] / width, box[1] / height, box[2] / width, box[3] / height

    def _share(self, box: Rectangle) -> float:
        """Return the share of a box that lies in the zone."""
        across = min(box[2], self._rectangle[2]) - max(box[0], self._rectangle[0])
        down = min(box[3], self._rectangle[3]) - max(box[1], self._rectangle[1])
        return max(0.0, across) * max(0.0, down) / ((box[2] - box[0]) * (box[3] - box[1]))


def hurrying_in(scene: Courtyard, frame: int) -> Iterator[Box]:
    """Yield the boxes of the people who hurry to an incident, stand around it or walk back."""
    script, seconds = scene._script, frame / scene.settings.fps
    for staged in script.staged_until(scene.settings.seconds):
        for posed in _present(script._bystanders(staged.number), seconds, in_incident=False):
            mask = np.zeros((scene.settings.height, scene.settings.width), np.uint8)
            paint(mask, scene._view, _shapes(posed), (255, 255, 255))
            left, top, width, height = cv2.boundingRect(mask)
            if width and height:
                yield left, top, left + width, top + height


def suitable(first_seed: int) -> Iterator[Day]:
    """Yield the days, in order of their seeds, that have one incident in the zone and one mostly outside of it."""
    for seed in itertools.count(first_seed):
        settings = SceneSettings(seed=seed, seconds=SECONDS)
        scene = Courtyard(settings)
        whole = [one for one in scene.incidents if one.last_frame < scene.frame_count - 1]
        if len(whole) == len(scene.incidents) == 2 and LOCAL & {one.kind for one in whole}:
            day = Day(settings)
            if day.share <= OUTSIDE:
                yield day


def found_in(watch: Watch) -> set[int]:
    """Return the incidents that an alert has found."""
    return {pair.incident for pair in match(watch.spans, watch.alerts)}


def highest(watch: Watch, span: Span) -> float:
    """Return the highest score of the clips that end during an incident."""
    return max((one.clip.score for one in watch.smoothed if span.start <= one.clip.end <= span.end), default=0.0)


def figures(scorer: ZonedScorer, days: list[Day], judged: dict[str, list[Watch]]) -> dict[str, Any]:
    """Return a model's figures for the JSON file."""
    ways: dict[str, Any] = {}
    for way, watches in judged.items():
        found = [found_in(watch) for watch in watches]
        judged_days = days[: len(watches)]
        of_inside = [highest(watch, watch.spans[day.inside]) for day, watch in zip(judged_days, watches, strict=True)]
        heard = [day.settings.seed for day, now in zip(judged_days, found, strict=True) if day.inside in now]
        ways[way] = {
            "inside_found": len(heard),
            "seeds_inside": heard,
            "highest_inside": _summary(of_inside),
            "highest_inside_compared": _summary(of_inside[:COMPARED]),
        }
        if way in scorer.judged:
            seen = [day.settings.seed for day, now in zip(judged_days, found, strict=True) if 1 - day.inside in now]
            ways[way] |= {"outside_found": len(seen), "seeds_outside": seen}
    for found_there in ways.values():
        if "seeds_outside" in found_there:
            before, now = {*ways[BEFORE]["seeds_outside"]}, {*found_there["seeds_outside"]}
            found_there |= {"lost": sorted(before - now), "won": sorted(now - before)}
    return {
        "name": scorer.card.name,
        "weights_sha256": scorer.card.weights_sha256,
        "open_threshold": scorer.chain.alert.open_threshold,
        "ways": ways,
    }


def _summary(values: list[float]) -> dict[str, float]:
    return {"median": round(float(np.median(values)), 3), "greatest": round(max(values), 3)}


def _scores(summary: dict[str, float]) -> str:
    return f"{summary['median']:.2f} | {summary['greatest']:.2f}"


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    seeds, zones = results["seeds"], results["zones"].values()
    areas = [100 * zone["share_of_picture"] for zone in zones]
    shares = [100 * zone["share_of_outside"] for zone in zones]
    lines = [
        f"# Courtyard: ignore zones, {len(seeds)} seeds",
        "",
        f"{len(seeds)} seeds from {seeds[0]} to {seeds[-1]}, {results['seconds']:g} s each with two incidents. The "
        "zone is the rectangle around a fall or scuffle and the people who hurry to it, with a margin of "
        f"{100 * results['margin']:g} % of the picture. Zones cover {min(areas):.0f} to {max(areas):.0f} % of the "
        f"picture, and {min(shares):.0f} to {max(shares):.0f} % of the other incident's boxes: most incidents cross "
        "the whole picture. Seeds whose zone would cover more than "
        f"{100 * OUTSIDE:g} % of them are passed over. Only the clips around the incidents are scored. Highest "
        "score: of a clip during the incident inside, over the seeds. `bench/ignore_zones.py` writes this page.",
    ]
    for model in results["models"]:
        lines += [
            "",
            f"## {model['name']}",
            "",
            f"Alerts open at {model['open_threshold']:g}.",
            "",
            "| ignored by | found inside | found outside | lost | won | highest score inside: median | greatest |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for way, found in model["ways"].items():
            if "outside_found" in found:
                lines.append(
                    f"| {way} | {found['inside_found']} of {len(seeds)} | {found['outside_found']} of {len(seeds)} "
                    f"| {len(found['lost'])} | {len(found['won'])} | {_scores(found['highest_inside'])} |"
                )
    lines += [
        "",
        f"## Pictures to replace pixels by, {min(COMPARED, len(seeds))} seeds",
        "",
        "The standing scene is the median of the last minutes, from the first clip on. The median or mean of the clip "
        "alone shows what stands still in it or moves slowly.",
        "",
        "| `courtyard`, replaced by | found inside | highest score inside: median | greatest |",
        "|---|--:|--:|--:|",
    ]
    compared = {*seeds[:COMPARED]}
    for way, found in results["models"][0]["ways"].items():
        heard = len(compared & {*found["seeds_inside"]})
        lines.append(f"| {way} | {heard} of {len(compared)} | {_scores(found['highest_inside_compared'])} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
