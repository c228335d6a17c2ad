"""Pick kernel, thresholds and cooldown for a model, on courtyards that are not in any training or report.

    python bench/courtyard_pick.py [--model FOLDER] [--first-seed 1901] [--count 12]

prints the best settings of a grid. Among the settings that find enough incidents in time and spend little time in
alert, the one with the fewest false alarms is first. Copy the choice into the training configuration
(``alerting.chosen``) by hand, and the cooldown into the demo. Seeds 1901-1999 are reserved for this. Films and scores
stay under runs/courtyard-pick.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from courtyard import ROOT, Scorer, Watch, alerts_of, watch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from models.serving.export import ExportError
from operators.chain import ChainSettings
from operators.figures.events import FIGURES, ScoreSheet
from operators.smoothing import delay_seconds
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.errors import MistwatchError

KEPT = ROOT / "runs" / "courtyard-pick"
KERNELS = (1, 2, 3, 5)
OPEN = [round(0.50 + 0.02 * step, 2) for step in range(24)]
BELOW = (0.05, 0.1, 0.2, 0.3)  #: difference between the opening and the closing threshold
COOLDOWNS = (1.0, 2.0, 4.0, 6.0)  #: seconds
ENOUGH = 0.84  #: recall; above the target, because the best of many settings is also the luckiest
SHARE = 0.05  #: largest share of the time without incidents spent in alert


class Candidate(NamedTuple):
    """Settings, and the score sheet that they give."""

    kernel: int
    opens: float
    closes: float
    cooldown: float
    sheet: ScoreSheet
    late: float  #: seconds by which the 95th percentile of the delays exceeds the target

    @property
    def rank(self) -> tuple[float, ...]:
        """Sort key, smallest first: targets missed, then false alarms, then incidents not found."""
        recall, share = FIGURES["recall"](self.sheet) or 0.0, FIGURES["share_in_alert_outside"](self.sheet) or 0.0
        missed = (recall < ENOUGH) + (share > SHARE) + (self.late > 0)
        return missed, self.sheet.false_alarms, -self.sheet.found, self.late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="courtyard", help="committed model, or folder written by training")
    parser.add_argument("--first-seed", type=int, default=1901)
    parser.add_argument("--count", type=int, default=12, help="number of consecutive seeds")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of each film")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--show", type=int, default=20, help="number of settings printed, the best first")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.count)
    try:
        scenes = [SceneSettings(seed=seed, seconds=60 * options.minutes) for seed in seeds]
        with Progress(console=Console(stderr=True)) as bars:
            scorer = Scorer(options.model, progress=bars.console.print)
            watches = watch(scenes, scorer, options.kept, bars)
    except (SceneError, ExportError, MistwatchError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")

    candidates = [
        candidate(watches, scorer, kernel, opens, round(opens - below, 2), cooldown)
        for kernel, opens, below, cooldown in product(KERNELS, OPEN, BELOW, COOLDOWNS)
    ]
    candidates.sort(key=lambda each: each.rank)
    table = Table("kernel", "opens", "closes", "cooldown", "found", "recall", "false alarms", "in alert", "p95 late by")
    for each in candidates[: options.show]:
        sheet = each.sheet
        table.add_row(
            str(each.kernel),
            f"{each.opens:.2f}",
            f"{each.closes:.2f}",
            f"{each.cooldown:g} s",
            f"{sheet.found} of {sheet.incidents}",
            f"{FIGURES['recall'](sheet):.3f}",
            f"{sheet.false_alarms} in {sheet.camera_seconds / 3600:.2f} h",
            f"{FIGURES['share_in_alert_outside'](sheet):.1%}",
            f"{each.late:+.2f} s",
        )
    Console().print(table)


def candidate(
    watches: list[Watch], scorer: Scorer, kernel: int, opens: float, closes: float, cooldown: float
) -> Candidate:
    """Judge the kept scores of all cameras under these settings."""
    chain = with_settings(scorer.chain, kernel, opens, closes, cooldown)
    sheets = []
    for each in watches:
        clips = [[one.clip.start, one.clip.end, one.clip.score] for one in each.smoothed]
        sheets.append(alerts_of(each.settings, each.incidents, clips, scorer.card.name, chain).sheet)
    sheet = sum(sheets, ScoreSheet())
    fps = scorer.clip.fps or watches[0].settings.fps
    allowed = scorer.clip.frames / fps + delay_seconds(kernel, scorer.clip.stride, fps) + 1.0
    delay = FIGURES["p95_delay"](sheet)
    return Candidate(kernel, opens, closes, cooldown, sheet, float("inf") if delay is None else delay - allowed)


def with_settings(chain: ChainSettings, kernel: int, opens: float, closes: float, cooldown: float) -> ChainSettings:
    """Return ``chain`` with other settings of smoothing and alerts."""
    alert = replace(chain.alert, open_threshold=opens, close_threshold=closes, cooldown_seconds=cooldown)
    return replace(chain, kernel=kernel, alert=alert)


if __name__ == "__main__":
    main()
