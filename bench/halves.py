"""Learn detectors from the first half of a film, and judge its second half.

    python bench/halves.py [--film ../shared/data/cctv/vtest.avi]

writes bench/results/halves.json and .md, and docs/halves.webp: the strangest moments of the second half with their
heat. The detectors are those of `mistwatch learn` with its defaults. The film has no labels, and nothing in it is known
to be an incident. So every alert counts as a false one, and the page says what the pictures show.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from recorded import record

from models.card import Alerting
from models.data.normal_footage import read_footage
from models.detectors.base import read_detector
from models.jobs.thresholds import smoothed_as_live
from operators.drift import LEARNED_SHARE, LEVEL
from operators.heat_kind import HeatKind
from pipeline.calibration.search import lower_bound, upper_bound
from pipeline.errors import MistwatchError
from pipeline.evaluation.alarms import alert_spans
from pipeline.evaluation.report.data import Look
from pipeline.evaluation.report.pictures import thumbnails
from pipeline.live.judging import chain_settings
from pipeline.scoring.served_model import ServedModel
from pipeline.settings import AlertTuning
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PICTURE = ROOT / "docs" / "halves.webp"
DETECTORS = ("motion", "fused")
#: At each end of the interval of a rate lie 2.5 %.
ONE_SIDED = 0.975
SHOWN, APART_SECONDS = 4, 3.0  #: moments that are drawn, and the least time between two of them
HEIGHT = 270  #: of a drawn picture, pixels
#: What the pictures of the recorded run show, by the film, and the seconds of the film that were looked at.
SEEN: dict[str, tuple[tuple[tuple[float, float], ...], str]] = {
    "vtest.avi": (
        ((51, 60), (66, 67), (77, 78)),
        "They show people who walk at an ordinary pace, over the lawn close to the camera (51 to 59 s) and on the "
        "paved place (66.6 s, 77.8 s). A person would call none of it an incident, so these are false alarms, although "
        "no person crosses the lawn in the eight pictures of the first half that were looked at.",
    )
}
UNSEEN = "A description of them is still missing."


@dataclass(frozen=True)
class Half:
    """The scored clips of the second half, in order.

    Attributes:
        start, end: (n,), seconds since the film's first picture.
        scores: (n,), raw.
        heat: (n, h, w).
    """

    start: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    heat: npt.NDArray[np.float32]

    def strangest(self) -> list[int]:
        """Return the clips with the highest scores, the strangest first, none close to a stranger one."""
        found: list[int] = []
        for clip in np.argsort(-self.scores, kind="stable").tolist():
            if all(abs(self.end[clip] - self.end[other]) >= APART_SECONDS for other in found):
                found.append(clip)
        return found[:SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, default=ROOT.parent / "shared" / "data" / "cctv" / "vtest.avi")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "halves", help="folder of the learned detectors")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    try:
        whole = read_footage("bench", [options.film], hold_out=0.2)
        (film,) = whole.films
        seconds = whole.seconds / 2
        found, rows = {}, []
        for detector in DETECTORS:
            product = learn(detector, options.film, seconds, options.kept / detector)
            alerting, clip, half = score(product, options.film, film.origin + film.since_start(seconds))
            found[detector] = judged(half, alerting)
            rows.append((detector, half, clip))
        draw(options.film, rows, options.picture)
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {"film": options.film.name, "seconds": round(seconds, 2), "detectors": found}
    record(options.results, "halves", results, page(results))
    print(page(results), end="")


def learn(detector: str, film: Path, seconds: float, out: Path) -> Path:
    """Learn a detector from the first seconds of the film by the command, and return its product.

    Raises:
        MistwatchError: the command has failed.
    """
    command = [
        sys.executable,
        "-m",
        "pipeline.cli",
        "learn",
        film,
        "--minutes",
        str(seconds / 60),
        "--camera",
        film.stem,
    ]
    done = subprocess.run([*command, "--detector", detector, "--out", out], cwd=ROOT, check=False)
    if done.returncode:
        raise MistwatchError(f"mistwatch learn has ended with status {done.returncode}")
    return out / "product"


def score(product: Path, film: Path, since: float) -> tuple[Alerting, ClipSpec, Half]:
    """Score the clips that start at or after a moment of the film's clock.

    Raises:
        MistwatchError: the film or the detector cannot be read.
    """
    family, card = read_detector(product)
    scorer = family.load(card, product, print).open()
    clip: ClipSpec = card.clip.spec
    places, scores, heat = [], [], []
    with closing(FileSource("bench", film).frames([clip.frame_spec], threading.Event())) as frames:
        for window in cut(frames, clip):
            if isinstance(window, ClipWindow) and window.start >= since:
                found = scorer.run(window.pixels[None])
                places.append((window.start, window.end))
                scores.append(float(found["SCORE"][0, 0]))
                heat.append(found["HEAT"][0])
    start, end = np.array(places).T
    return card.alerting, clip, Half(start, end, np.array(scores), np.stack(heat))


def judged(half: Half, alerting: Alerting) -> dict[str, Any]:
    """Return the figures of a detector at its suggested threshold."""
    served = ServedModel("bench", "1", ClipSpec(), alerting.open_threshold, alerting.close_threshold, alerting.kernel)
    settings = chain_settings(AlertTuning(), served, max_in_flight=1).alert
    alerts = alert_spans(smoothed_as_live(half.scores, alerting.kernel), half.start, half.end, (0,), settings)
    hours = float(half.end[-1] - half.start[0]) / 3600
    bounds = (bound(len(alerts), confidence=ONE_SIDED) / hours for bound in (lower_bound, upper_bound))
    return {
        "kernel": alerting.kernel,
        "open_threshold": alerting.open_threshold,
        "clips": len(half.scores),
        "seconds": round(3600 * hours, 2),
        "alerts": [[round(one.start, 2), round(one.end, 2)] for one in alerts],
        "per_hour": round(len(alerts) / hours, 1),
        "interval_95": [round(one, 1) for one in bounds],
        "share_above": round(float((half.scores > LEVEL + 1e-6).mean()), 3),
        "strangest": [
            {"seconds": round(float(half.end[clip]), 2), "score": round(float(half.scores[clip]), 3)}
            for clip in half.strangest()
        ],
    }


def draw(film: Path, rows: Sequence[tuple[str, Half, ClipSpec]], file: Path) -> None:
    """Draw the strangest moments, a row for each detector, with heat, time and score."""
    times = FileSource("bench", film).frame_times()
    sheets = []
    for detector, half, clip in rows:
        # A clip ends with the duration of its last picture.
        last = {one: int(np.searchsorted(times, half.end[one] - 1e-6)) - 1 for one in half.strangest()}
        decoded = thumbnails(film, list(last.values()), height=HEIGHT)
        for one, number in last.items():
            jpeg = decoded[number].jpeg(Look(half.heat[one], clip.frame_spec, HeatKind.ANOMALY))
            picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
            ImageDraw.Draw(picture).text(
                (6, 4),
                f"{detector}  {half.end[one]:.1f} s  {half.scores[one]:.2f}",
                fill="white",
                stroke_width=2,
                stroke_fill="black",
                font_size=16,
            )
            sheets.append(picture)
    width, height = sheets[0].size
    whole = Image.new("RGB", (SHOWN * width, len(rows) * height))
    for ordinal, picture in enumerate(sheets):
        whole.paste(picture, (ordinal % SHOWN * width, ordinal // SHOWN * height))
    whole.save(file, quality=70, method=6)


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# The second half of a film",
        "",
        f"`mistwatch learn` with its defaults on the first {results['seconds']:.0f} s of `{results['film']}`, judged "
        "on the clips of the rest. No incident is known in it, so every alert counts as a false one. The thresholds "
        "are those that the detectors suggest. Intervals are exact for a Poisson rate. `bench/halves.py` writes this "
        "page.",
        "",
        "| detector | opens at | alerts | false alarms an hour | 95 % interval | clips with a score above 0.25 |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for detector, one in results["detectors"].items():
        low, high = one["interval_95"]
        lines.append(
            f"| {detector} | {one['open_threshold']:g} | {len(one['alerts'])} in {one['seconds']:.0f} s | "
            f"**{one['per_hour']:.0f}** | {low:.0f} to {high:.0f} | {one['share_above']:.1%} |"
        )
    lines += [
        "",
        f"About {LEARNED_SHARE:.0%} of clips like the learned ones have a score above 0.25. The film is too short to "
        "say more of the rate than the interval does.",
        "",
        "`docs/halves.webp` shows the strangest moments of each detector, with their heat:",
        "",
    ]
    for detector, one in results["detectors"].items():
        moments = ", ".join(f"{each['seconds']:.1f} s ({each['score']:.2f})" for each in one["strangest"])
        lines.append(f"* {detector}: {moments}")
    lines += ["", seen(results)]
    return "\n".join(lines) + "\n"


def seen(results: dict[str, Any]) -> str:
    """Return what the pictures of these moments show, as far as each of them has been looked at."""
    stretches, text = SEEN.get(results["film"], ((), UNSEEN))
    moments = [each["seconds"] for one in results["detectors"].values() for each in one["strangest"]]
    known = all(any(start <= moment <= end for start, end in stretches) for moment in moments)
    return text if known else UNSEEN


if __name__ == "__main__":
    main()
