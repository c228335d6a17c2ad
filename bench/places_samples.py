"""The published decisions of hierarchical classifiers on three pictures of Mapillary Vistas, judged level by level.

    python bench/places_samples.py --data ../shared/data/hierarchy

writes bench/results/places_samples.json and .md. P. Meletis and G. Dubbelman (2018) published sample results of their
network: ``sample_results/2`` has pictures, masks with the palette indices of the 66 labels of Vistas, and the decisions
as colours. Masks and decisions have one size and are compared pixel by pixel, without scaling. 109 names are drawn as
94 colours: pixels of a colour that stands for several classes are left out and counted. Which classes are several
depends on the level: the three kinds of riders are one class at the first. The figures judge our counting on real
pictures, not a model of ours, and three pictures say little of the authors' network.

Leaving pixels out is not neutral. A right decision in a shared colour is left out, while wrong ones count, so a class
without another colour has an accuracy of 0. The means over classes without a shared colour stand beside those over all
classes. Their pixels that were given a shared colour are left out, though they are wrong.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recorded import record

from models.places.masks import ColourList, MaskError, read_colours, read_indices
from models.places.tree import LabelTree, read_tree
from operators.figures.segments import VOID, SegmentCounts, count_segments, segment_figures
from pipeline.errors import MistwatchError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
TREE = ROOT / "configs" / "places" / "meletis-2018.yaml"

PICTURES = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "hierarchy")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    try:
        results = judged(options.data, read_tree(TREE))
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    record(options.results, "places_samples", results, page(results))
    print(page(results), end="")


def judged(data: Path, tree: LabelTree) -> dict[str, Any]:
    """Return the figures of the published decisions by level.

    Raises:
        MistwatchError: the data are missing or cannot be read.
    """
    drawn = read_drawn(data / "training_problem_def.json")
    levels = []
    for level in range(1, tree.depth + 1):
        names, class_of_node = tree.classes_at(level)
        of_names = [VOID if name == "Unlabeled" else int(class_of_node[tree.index[name]]) for name in drawn.names]
        of_labels = [VOID if node == VOID else int(class_of_node[node]) for node in tree.node_of_labels("vistas")]
        counts = [
            count(data / "sample_results" / "2", number, drawn, of_names, of_labels, len(names)) for number in PICTURES
        ]
        total = sum(counts[1:], start=counts[0])
        shared = ambiguous(drawn, of_names)
        unclear = {of_names[drawn.names.index(name)] for names_of_colour in shared for name in names_of_colour}
        clear = [one for one in range(len(names)) if one not in unclear]
        levels.append(
            {
                "level": level,
                "classes": len(names),
                **figures(total, clear),
                "pictures": [figures(one, clear) for one in counts],
                "ambiguous_colours": shared,
            }
        )
    return {"pictures": len(PICTURES), "names": len(drawn.names), "colours": len(set(drawn.colours)), "levels": levels}


def read_drawn(file: Path) -> ColourList:
    """Return the names and colours of the authors' flat list.

    Raises:
        MaskError: the file is missing or is not the list.
    """
    try:
        flat = json.loads(file.read_text(encoding="utf-8"))
        return ColourList(tuple(flat["cids2labels"]), tuple((r, g, b) for r, g, b in flat["cids2colors"]))
    except FileNotFoundError:
        raise MaskError(f"{file}: no such file; expected the authors' list of classes") from None
    except (ValueError, KeyError, TypeError) as error:
        raise MaskError(f"{file}: not the authors' list of classes ({error!r})") from None


def count(
    folder: Path, number: int, drawn: ColourList, of_names: Sequence[int], of_labels: Sequence[int], classes: int
) -> SegmentCounts:
    """Return the counts of a picture.

    Args:
        of_names, of_labels: the class of each drawn name and of each label of Vistas, or VOID.

    Raises:
        MaskError: a file cannot be read, or the sizes differ.
    """
    file = folder / f"ground_truth_{number}.png"
    truth = read_indices(file, of_labels)
    given = read_colours(folder / f"predictions_{number}.png", drawn, of_names, leave_out=True)
    if truth.shape != given.shape:
        raise MaskError(f"{file}: another size than the decisions (got {truth.shape}); expected {given.shape}")
    return count_segments(truth, given, classes)


def figures(counts: SegmentCounts, clear: Sequence[int]) -> dict[str, Any]:
    """Return the figures of counts, with the number of classes over which each mean is taken.

    Args:
        clear: the classes without a shared colour.
    """
    found = segment_figures(counts)
    own = found.only(clear)
    return {
        "mean_accuracy": round(found.mean_accuracy, 6),
        "mean_iou": round(found.mean_iou, 6),
        "classes_with_truth": int(np.isfinite(found.accuracy).sum()),
        "classes_with_truth_or_decisions": int(np.isfinite(found.iou).sum()),
        "mean_accuracy_of_clear_classes": round(own.mean_accuracy, 6),
        "mean_iou_of_clear_classes": round(own.mean_iou, 6),
        "pixels": int(counts.table.sum()),
        "void": counts.void,
        "ambiguous": counts.ambiguous,
    }


def ambiguous(drawn: ColourList, of_names: Sequence[int]) -> list[list[str]]:
    """Return the names of each colour that stands for several classes."""
    classes: dict[tuple[int, int, int], set[int]] = {}
    for colour, own in zip(drawn.colours, of_names, strict=True):
        classes.setdefault(colour, set()).add(own)
    return [list(drawn.drawn_as(colour)) for colour, own in classes.items() if len(own) > 1]


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# Published sample results of hierarchical classifiers",
        "",
        f"Decisions that P. Meletis and G. Dubbelman published for {results['pictures']} pictures of Mapillary Vistas, "
        "judged against the masks at each level of the label tree (`configs/places/meletis-2018.yaml`). These are the "
        "authors' decisions, not those of a model of ours. The figures check the counting, and a test compares them "
        "with scikit-learn's. `bench/places_samples.py` writes this page.",
        "",
        "| level | picture | mean pixel accuracy | its classes | mean IoU | its classes | both, of classes without a "
        "shared colour | pixels | void | ambiguous |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for level in results["levels"]:
        for name, one in [("**all**", level), *((str(number), one) for number, one in enumerate(level["pictures"], 1))]:
            lines.append(
                f"| {level['level']} | {name} | {one['mean_accuracy']:.3f} | {one['classes_with_truth']} "
                f"| {one['mean_iou']:.3f} | {one['classes_with_truth_or_decisions']} "
                f"| {one['mean_accuracy_of_clear_classes']:.3f}, {one['mean_iou_of_clear_classes']:.3f} "
                f"| {one['pixels']:,} | {one['void']:,} | {one['ambiguous']:,} |"
            )
    lines += [
        "",
        f"{results['names']} names are drawn as {results['colours']} colours. Pixels of a colour that several classes "
        "of the level share are left out as ambiguous, and pixels without a true class as void. A right decision in a "
        "shared colour is thus left out, while wrong ones count: a class without another colour has an accuracy of 0, "
        "which lowers the means. Pixels of other classes that were given a shared colour are left out, though they are "
        "wrong, which raises theirs. At the third level the front sides of signs are void, because Vistas does not "
        "label their kinds. Kinds that were decided elsewhere have an IoU of 0 there.",
        "",
    ]
    for level in results["levels"]:
        shared = "; ".join(", ".join(names) for names in level["ambiguous_colours"])
        lines.append(f"* Shared colours at level {level['level']}: {shared}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
