"""Quantise the committed models, and keep ranges and figures beside their weights.

    python bench/committed_precisions.py fights --data ../shared/data/fights
    python bench/committed_precisions.py courtyard [--videos 120]

writes models/weights/NAME/int8-ranges.json and the entry ``precisions`` of its card. An export takes int8 by itself
where the figures pass the accuracy gate (models/serving/accuracy.py). fights: calibration clips from the films that the
weights were trained on, figures from the films that they never saw. courtyard: both from newly rendered scenes of seeds
that nothing else uses, one half each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.card import BUILT_IN, read_card
from models.serving.accuracy import complaint, in_words
from models.serving.precisions import ValidationSets, halves, keep_int8
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.manifests.courtyard import recordings, write_data_set
from pipeline.manifests.fights import fights

ROOT = Path(__file__).resolve().parent.parent
#: First seed of the courtyard's validation videos. Training has 1000 to 1899, the benches have 9101 and above.
FIRST_SEED = 5000
SECONDS = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("fights", "courtyard"))
    parser.add_argument("--data", type=Path, default=ROOT / "../shared/data/fights", help="folder of the fights set")
    parser.add_argument("--videos", type=int, default=120, help="number of the courtyard's videos")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "precision", help="folder of rendered videos")
    parser.add_argument("--into", type=Path, help="folder of the model; by default the committed one")
    options = parser.parse_args()
    folder = options.into or BUILT_IN / options.model
    try:
        sets = of_fights(folder, options.data) if options.model == "fights" else of_courtyard(options)
        cost = keep_int8(folder, sets, progress=print)
    except MistwatchError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    refused = complaint(cost)
    print(f"refused: {refused}" if refused else f"accepted: {in_words(cost)}")


def of_fights(folder: Path, data: Path) -> ValidationSets:
    """Divide the fights by the card of the model in ``folder``."""
    held_out = set(read_card(folder).held_out_sources)
    videos = fights(data)
    return ValidationSets(
        [video for video in videos if video.group not in held_out],
        [video for video in videos if video.group in held_out],
        "the training films of the fights set",
        "the fights set, films that the weights never saw",
    )


def of_courtyard(options: argparse.Namespace) -> ValidationSets:
    """Render the validation videos that no earlier run has kept."""
    scene = SceneSettings(FIRST_SEED, seconds=SECONDS, incidents_per_minute=0)
    planned = recordings(options.kept, scene, videos=options.videos, abnormal=0.5)
    written = write_data_set(options.kept, planned, jobs=2)
    name = f"rendered courtyards of seeds {FIRST_SEED} to {FIRST_SEED + options.videos - 1}"
    return halves(written.videos, name)


if __name__ == "__main__":
    main()
