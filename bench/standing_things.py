"""Judge appearance over minutes on the rendered courtyard: do things that lie still stand out?

    python bench/standing_things.py [--count 10] [--minutes 5]

writes bench/results/standing_things.json and .md. Motion cannot see a person who lies still, nor an abandoned object. A
patch of either looks unusual, and so do many people who pass by. A thing that lies still looks unusual at one place for
long. So a memory bank (`mistwatch learn --detector memory_bank --set distance=gaussian`) measures each cell of a
picture a second. The median of a cell over the last seconds forgets people who pass by. It is compared with the medians
at the same place on the days that were learned.

The days and films are those of bench/learned_courtyard.py, which keeps them, and so is the judging. Each learned day is
judged by the other days, which gives the scores their scale. Nothing is fitted to the test films. Mistwatch has no such
detector: the page says how many incidents it would find.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from courtyard import RESULTS, Watch, alerts_of, film_of, render_missing
from learned_courtyard import (
    ABANDONED_PER_MINUTE,
    KEPT,
    LEARN_FILMS,
    LEARN_SEED,
    SEEDS,
    TEST_SEED,
    judge,
    kinds_table,
    learn,
    table,
)
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.detectors.base import read_detector
from models.detectors.memory_bank.card import MemoryBankCard
from models.detectors.memory_bank.weights import load_program
from models.detectors.program import CellScorer
from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.rarity import Rarity, fit_rarity
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.sources.files import FileSource
from pipeline.windows import ClipWindow, cut

#: Lengths of the medians, pictures: of a second each.
OVER = (10, 30)
#: Highest cells of a picture that are averaged: a bag covers about so many of 8 pixels a side.
HIGHEST = 4
CHAIN = ChainSettings(alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, cooldown_seconds=2.0), kernel=1)
Maps = npt.NDArray[np.float32]  # (pictures, rows, columns)


@dataclass(frozen=True)
class Seen:
    """A film's distances, a picture a second.

    Attributes:
        times: float64 (n, 2), start and end of each picture's clip, seconds.
    """

    settings: SceneSettings
    distances: Maps
    times: npt.NDArray[np.float64]

    def over(self, pictures: int) -> Maps:
        """Return the medians of each cell over the last pictures, of as many as there are at the start."""
        ends = range(1, len(self.distances) + 1)
        return np.stack([np.median(self.distances[max(0, end - pictures) : end], axis=0) for end in ends])


@dataclass(frozen=True)
class Places:
    """The usual medians at each place: centre and spread, float32 (rows, columns)."""

    centre: npt.NDArray[np.float32]
    spread: npt.NDArray[np.float32]

    @classmethod
    def of(cls, days: Sequence[Maps]) -> Places:
        """Fit to days, robustly. A place that hardly changes has the spread of a usual place, so noise stays noise."""
        maps = np.concatenate(list(days))
        centre = np.median(maps, axis=0)
        spread = 1.4826 * np.median(np.abs(maps - centre), axis=0)
        return cls(centre, np.maximum(spread, np.median(spread)))

    def values(self, maps: Maps) -> npt.NDArray[np.float64]:
        """Return the value of each picture: the mean of its highest cells, in spreads above the centre."""
        cells = ((maps - self.centre) / self.spread).reshape(len(maps), -1)
        return np.asarray(np.sort(cells, axis=1)[:, -HIGHEST:].mean(axis=1), np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=TEST_SEED)
    parser.add_argument("--count", type=int, default=SEEDS, help="number of consecutive seeds")
    parser.add_argument("--objects", type=int, help="number of seeds with abandoned objects too; all by default")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of each test film")
    parser.add_argument("--learn-minutes", type=float, default=20.0, help="length of all footage to learn from")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films, distances and the learned detector")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    days = range(LEARN_SEED, LEARN_SEED + LEARN_FILMS)
    seconds = 60 * options.learn_minutes / LEARN_FILMS
    normal = [SceneSettings(seed=seed, seconds=seconds, incidents_per_minute=0) for seed in days]
    mixed = [SceneSettings(seed=options.first_seed + n, seconds=60 * options.minutes) for n in range(options.count)]
    objects = [
        replace(one, incidents_per_minute=ABANDONED_PER_MINUTE, abandoned=True) for one in mixed[: options.objects]
    ]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            product = learn("memory_bank", normal, options.kept, bars, ("distance=gaussian",))
            card, scorer = opened(product)
            render_missing({film_of(one, options.kept): one for one in (*mixed, *objects)}, bars)
            task = bars.add_task("measuring films", total=len(normal) + len(mixed) + len(objects))
            learned, *tested = (
                [see(one, card, scorer, options.kept, lambda: bars.advance(task)) for one in scenes]
                for scenes in (normal, mixed, objects)
            )
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    models = []
    for pictures in OVER:
        places, rarity = fitted([one.over(pictures) for one in learned])
        watches = [[watched(one, places, rarity, pictures) for one in some] for some in tested]
        named = card.model_copy(update={"name": f"median over {pictures} s"})
        models.append(judge(named, CHAIN, *watches))
    results = {
        "learned_from": {"seeds": list(days), "minutes": options.learn_minutes},
        "minutes": options.minutes,
        "seeds": [one.seed for one in mixed],
        "object_seeds": [one.seed for one in objects],
        "models": models,
    }
    record(options.results, "standing_things", results, page(results))
    print(page(results), end="")


def opened(product: Path) -> tuple[MemoryBankCard, CellScorer]:
    """Open the memory bank that was learned."""
    _, card = read_detector(product)
    assert isinstance(card, MemoryBankCard)
    return card, cast("CellScorer", load_program(card, product).open())


def see(settings: SceneSettings, card: MemoryBankCard, scorer: CellScorer, kept: Path, done: Any) -> Seen:
    """Measure a picture a second of a film, as far as no earlier run has kept the distances."""
    film = film_of(settings, kept)
    file = film.with_name(f"{film.stem}-distances-{card.weights_sha256[:12]}.npz")
    if not file.exists():
        spec = card.clip.spec
        rate = spec.fps or settings.fps
        spec = replace(spec, stride=round(rate))
        found, times = [], []
        source = FileSource("bench", film, threads=1)
        for item in cut(source.frames([spec.frame_spec], threading.Event()), spec):
            if isinstance(item, ClipWindow):
                found.append(scorer.measure(item.pixels[None])[0][0])
                times.append((item.start, item.start + spec.stride / rate))
        draft = file.with_name(file.stem + ".part.npz")
        np.savez(draft, distances=np.stack(found), times=np.array(times))
        draft.replace(file)
    done()
    with np.load(file) as arrays:
        return Seen(settings, arrays["distances"], arrays["times"])


def fitted(days: Sequence[Maps]) -> tuple[Places, Rarity]:
    """Fit the places to all days, and the scale of scores to the values of each day judged by the others."""
    apart = [Places.of([*days[:at], *days[at + 1 :]]).values(day) for at, day in enumerate(days)]
    return Places.of(days), fit_rarity(np.concatenate(apart), least_scale=1e-3)


def watched(seen: Seen, places: Places, rarity: Rarity, pictures: int) -> Watch:
    """Return the film's camera with the alerts of the scores."""
    scores = rarity.scores(places.values(seen.over(pictures)))
    clips = [[start, end, value] for (start, end), value in zip(seen.times.tolist(), scores.tolist(), strict=True)]
    return alerts_of(seen.settings, Courtyard(seen.settings).incidents, clips, "standing", CHAIN)


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    seeds, learned = results["seeds"], results["learned_from"]
    lines = [
        "# Courtyard: things that lie still",
        "",
        "Tried: appearance over minutes. A memory bank with one Gaussian distribution measures a picture a second. The "
        "median of each cell over the last seconds is compared with the medians at the same place on the learned days "
        f"({learned['minutes']:g} minutes without incidents, seeds {learned['seeds'][0]} to {learned['seeds'][-1]}). "
        f"A picture's value is the mean of its {HIGHEST} highest cells; the scale of scores comes from each learned "
        f"day judged by the others. Judged as the learned detectors are, on seeds {seeds[0]} to {seeds[-1]}, "
        f"{results['minutes']:g} minutes each. `bench/standing_things.py` writes this page.",
    ]
    for one in results["models"]:
        lines += ["", f"## {one['model']['name']}", "", *table(one, {}), "", *kinds_table(one)]
    lines += [
        "",
        f"Abandoned objects are judged apart, in films without other incidents ({len(results['object_seeds'])} of the "
        "seeds), at the thresholds of the other films.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
