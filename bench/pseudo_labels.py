"""Check `mistwatch evaluate` on MIST's published pseudo labels of ShanghaiTech and the data set's masks.

    python bench/pseudo_labels.py --data ../shared/data/shanghaitech

writes bench/results/pseudo_labels.json and .md, in seconds. The labels and masks have 53 videos in common. Their frame
AUC was computed elsewhere (pseudo_label_auc.json), with each clip's label repeated over its 16 frames. The bench does
not judge a model of ours. It shows that the figures are the field's.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recorded import record

from pipeline.evaluation.assessment import assess
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import COLUMNS, RAW
from pipeline.evaluation.score_files import read_labels, read_scores

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

SHOWN = ("frame_auc", "frame_ap", "frame_recall_at_2", "per_video_auc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "shanghaitech")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of pseudo_labels.json and .md")
    options = parser.parse_args()
    results = figures(options.data)
    record(options.results, "pseudo_labels", results, page(results))
    print(page(results), end="")


def figures(folder: Path) -> dict[str, Any]:
    """Return the figures for the JSON file."""
    known = json.loads((folder / "pseudo_label_auc.json").read_text())
    scores, labels = (folder / name for name in ("mist_i3d_pseudo_labels.npz", "frame_masks.npz"))
    judged = judge_scores(read_scores(scores), read_labels(labels), frames_per_score=16)
    found = assess(judged)
    ours = found.figures[RAW]["frame_auc"].value
    assert ours is not None
    return {
        "videos": len(judged.videos),
        "frames": judged.frames,
        "notes": list(judged.notes),
        "known": known,
        "frame_auc": ours,
        "difference": abs(ours - known["frame_auc"]),
        "asked": 1e-6,
        "columns": {column: {name: one.summary() for name, one in of.items()} for column, of in found.figures.items()},
    }


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# ShanghaiTech: MIST's own pseudo labels",
        "",
        f"The {results['videos']} videos ({results['frames']} frames) for which both MIST's published I3D pseudo "
        f"labels and a mask are available. Their frame AUC is {results['frame_auc']:.9f}, {results['difference']:.0e} "
        f"from the known value. {' '.join(results['notes'])} The page does not judge a model of ours. It shows that "
        "`mistwatch evaluate` computes the field's figures. `bench/pseudo_labels.py` writes this page.",
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---|" + "--:|" * len(COLUMNS),
    ]
    for name in SHOWN:
        cells = []
        for column in COLUMNS:
            one = results["columns"][column][name]
            low, high = one["interval_95"]
            cells.append(f"{one['value']:.4f} ({low:.4f} to {high:.4f})")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
