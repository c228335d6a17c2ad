"""Write one table of all families from the figures that other benches have recorded.

    python bench/families.py

writes bench/results/families.json and .md. It measures nothing: the figures are those of bench/one_class_ped2.py,
bench/courtyard_families.py, bench/classifier_fights.py and bench/fights_folds.py, as recorded. The best at each cost
are the detectors for which no cheaper one in the same column is better.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorded import record

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """A detector of the table.

    Attributes:
        needs: footage or pictures that it learns from.
        ped2, courtyard, fights: its names in the results of the benches; empty where it was not judged.
    """

    needs: str
    ped2: str = ""
    courtyard: str = ""
    fights: str = ""


NORMAL = "normal footage"
ROWS = {
    "`learn --detector motion`": Row(NORMAL, "motion", "motion"),
    "`learn --detector memory_bank`": Row(NORMAL, "memory_bank", "memory_bank"),
    "`learn --detector student_teacher`": Row(NORMAL, "student_teacher", "student_teacher"),
    "`learn --detector fused`": Row(NORMAL, "fused", "fused"),
    "`learn --detector fused`, pictures not enlarged": Row(NORMAL, "fused-light"),
    "`learn --detector autoencoder`": Row(NORMAL, "autoencoder", "autoencoder"),
    "`learn --detector autoencoder`, clips of 4": Row(NORMAL, "autoencoder-clips"),
    "`learn --detector outlier --estimator lof`": Row(NORMAL, "outlier-lof", "outlier-lof"),
    "`learn --detector outlier --estimator forest`": Row(NORMAL, "outlier-forest", "outlier-forest"),
    "`learn --detector outlier --estimator svm`": Row(NORMAL, "outlier-svm", "outlier-svm"),
    "`train classifier`, EfficientNet-Lite0": Row("labelled frames", "", "classifier", "efficientnet-lite0"),
    "`train classifier`, VGG-16": Row("labelled frames", "", "classifier-vgg16", "vgg16"),
    "`train mist`": Row("labelled videos", "", "courtyard", "mist"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the benches' results")
    options = parser.parse_args()
    results = {"detectors": {name: row_of(row, options.results) for name, row in ROWS.items()}}
    record(options.results, "families", results, page(results))
    print(page(results), end="")


def row_of(row: Row, folder: Path) -> dict[str, Any]:
    """Return the recorded figures of a detector, those that there are."""
    found: dict[str, Any] = {"needs": row.needs}
    if row.ped2 and (ped2 := read(folder, f"one_class_ped2-{row.ped2}")):
        found["ped2"] = {
            "frame_auc": ped2["frame_auc"][str(ped2["kernel"])],
            "frame_recall_at_2": ped2.get("frame_recall_at_2"),
            "pro": ped2["pro"],
            "cost": ped2["milliseconds_a_frame"]["median"],
        }
    courtyard = read(folder, "courtyard_families").get("detectors", {}).get(row.courtyard)
    if courtyard:
        found["courtyard"] = {
            "frame_auc": courtyard["frame_auc"],
            "frame_recall_at_2": courtyard["frame_recall_at_2"],
            "cost": round(courtyard["milliseconds_a_clip"] * courtyard["clips_a_second"], 1),
            "milliseconds_a_clip": courtyard["milliseconds_a_clip"],
            "learning_processor_minutes": courtyard["learning_processor_minutes"],
        }
    fights = read(folder, "classifier_fights")
    if row.fights == "mist" and fights:
        found["fights"] = {"video_auc": fights["mist"]["video_auc"]}
    elif of := fights.get("classifiers", {}).get(row.fights):
        found["fights"] = {"video_auc": of["video_auc"]}
    return found


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return the results of a bench; empty where it has not been run."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def best_at_cost(points: dict[str, tuple[float, float]]) -> set[str]:
    """Return the names for which no other is as cheap and better.

    Args:
        points: cost and figure of each, higher is better.
    """
    return {
        name
        for name, (cost, figure) in points.items()
        if not any(other <= cost and better > figure for key, (other, better) in points.items() if key != name)
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    found = results["detectors"]
    best = {
        data: best_at_cost(
            {name: (one[data]["cost"], one[data]["frame_auc"]["value"]) for name, one in found.items() if data in one}
        )
        for data in ("ped2", "courtyard")
    }
    lines = [
        "# All families",
        "",
        "Figures of other pages, side by side. Bold: no detector that costs less in that column has a higher AUC. "
        "Ped2: one class, learned from normal videos, AUC of frames. Courtyard: AUC and recall of frames on unseen "
        "rendered days. Fights: AUC of videos, by folds of films. Costs are processor time on one core of a busy "
        "machine: of a frame of Ped2, of a clip of the courtyard, and of a second of the courtyard at the detector's "
        "own rate. In brackets: 95 % intervals. Learning: 5 minutes of normal footage, or 20 minutes of labelled "
        "frames. `bench/families.py` writes this page.",
        "",
        "| detector | learns from | Ped2 AUC | recall at 2 % | PRO | ms a frame | courtyard AUC | recall at 2 % "
        "| ms a clip | ms a second | minutes to learn | fights AUC |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in found.items():
        ped2, courtyard, fights = (one.get(data, {}) for data in ("ped2", "courtyard", "fights"))
        cells = [
            figure(ped2.get("frame_auc"), name in best["ped2"]),
            figure(ped2.get("frame_recall_at_2"), highlighted=False),
            figure(ped2.get("pro"), highlighted=False),
            number(ped2.get("cost")),
            figure(courtyard.get("frame_auc"), name in best["courtyard"]),
            figure(courtyard.get("frame_recall_at_2"), highlighted=False),
            number(courtyard.get("milliseconds_a_clip")),
            number(courtyard.get("cost")),
            number(courtyard.get("learning_processor_minutes"), 1),
            figure(fights.get("video_auc"), highlighted=False),
        ]
        lines.append(f"| {name} | {one['needs']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def figure(found: dict[str, Any] | None, highlighted: bool) -> str:
    """Return a figure with its interval, bold where it is highlighted."""
    if found is None:
        return "–"
    low, high = found.get("interval_95_by_film", found["interval_95"])
    value = f"{found['value']:.3f}"
    return f"{f'**{value}**' if highlighted else value} ({low:.2f} to {high:.2f})"


def number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
