"""Train a classifier on few pictures of one kind of incident, and judge it on unseen days of the rendered courtyard.

    python bench/few_pictures.py

writes bench/results/few_pictures.json and .md. A picture is a single frame: of the middle of an incident of the kind
(carts, which are large and alike, and falls, which are neither), or of anything else (an ordinary moment, or another
incident). A day gives one of the kind and two others. The recipe is configs/train/classifier.yaml, with pictures of the
camera's shape. For each number of pictures, five draws are trained on so many of the kind and so many others, of days
that the test does not have. A fifth of them is the validation, by which the training stops, so no figure depends on a
choice after a look at the test. Features are kept under runs/few-pictures. A bench that was stopped resumes there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from recorded import record
from rich.console import Console
from rich.progress import track
from sklearn.metrics import roc_auc_score

from models.backbones import weights
from models.detectors.classifier.divisions import validation_of
from models.detectors.classifier.head_training import scores_of, train_head
from models.detectors.classifier.networks import CHANNELS, PooledHead, load_maps
from models.detectors.classifier.recipe import ClassifierRecipe
from models.detectors.classifier.stages import features
from models.jobs.recipes import read_recipe
from models.jobs.stages import SCRATCH
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import IncidentKind, SceneSettings
from pipeline.errors import MistwatchError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "few-pictures"
RECIPE = ROOT / "configs" / "train" / "classifier.yaml"
CHANGES = ("height=216", "width=384", "margin=0", "augmentation.views=4")
#: Reserved for this bench: days to learn from, and days to test on.
LEARN_SEED, TEST_SEED = 19501, 19801
DAY_SECONDS = 60.0
KINDS = (IncidentKind.CART, IncidentKind.FALL)
SHOWN, TEST_SHOWN = 120, 60  #: pictures of the kind
OTHERS = 2  #: pictures of anything else, for each of them
NUMBERS, DRAWS = (5, 20, 80), 5
_STORE = "pictures.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shown", type=int, default=SHOWN, help="pictures of a kind to draw from")
    parser.add_argument("--test-shown", type=int, default=TEST_SHOWN, help="pictures of a kind to test on")
    parser.add_argument("--numbers", type=int, nargs="+", default=list(NUMBERS), help="pictures of each class")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of features and trainings")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the .json and .md")
    options = parser.parse_args()
    if max(options.numbers) > options.shown:
        parser.error(f"--numbers {max(options.numbers)}: expected at most the {options.shown} of --shown")
    recipe = read_recipe(ClassifierRecipe, RECIPE, CHANGES)
    try:
        weights.fetch(weights.published("efficientnet-lite0").name)
        found = {}
        for kind in KINDS:
            kept = options.kept / kind.value
            pool = described(kept / "learn", LEARN_SEED, kind, options.shown, recipe)
            test = described(kept / "test", TEST_SEED, kind, options.test_shown, recipe)
            found[kind.value] = {
                "pool": numbers_of(pool),
                "test": numbers_of(test),
                "draws": {
                    str(number): [one_draw(number, draw, pool, test, recipe, kept) for draw in range(DRAWS)]
                    for number in options.numbers
                },
            }
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": {"file": str(RECIPE.relative_to(ROOT)), "changes": CHANGES},
        "seeds": {"learn": LEARN_SEED, "test": TEST_SEED},
        "kinds": found,
        "cores": os.cpu_count(),
    }
    record(options.results, "few_pictures", results, page(results))
    print(page(results), end="")


Described = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]  #: (n, 1 + views, D), and 1 for the kind, (n,)


def numbers_of(pictures: Described) -> dict[str, int]:
    """Return the numbers of pictures of the kind and of others."""
    return {"shown": int(pictures[1].sum()), "others": int((pictures[1] == 0).sum())}


def described(folder: Path, first_seed: int, kind: IncidentKind, shown: int, recipe: ClassifierRecipe) -> Described:
    """Return the features of pictures of the days from ``first_seed`` on, and whether each shows the kind."""
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "about.json"
    wanted = {"seed": first_seed, "shown": shown, "recipe": recipe.model_dump(mode="json")}
    if not about.exists() or json.loads(about.read_text()) != wanted:
        drawn = list(track(pictures(first_seed, kind, shown, recipe), "rendering", console=Console(stderr=True)))
        np.savez(folder / _STORE, pictures=np.stack([one for one, _ in drawn]), labels=[own for _, own in drawn])
        for file in (folder / features.FILE, *(folder / SCRATCH).glob("*")):
            file.unlink(missing_ok=True)
        about.write_text(json.dumps(wanted))
    with np.load(folder / _STORE) as stored:
        drawn_pictures, labels = stored["pictures"], stored["labels"].astype(np.int64)
    if not (folder / features.FILE).exists():
        head = PooledHead(CHANNELS[recipe.backbone], 2)
        features.compute(folder, drawn_pictures, load_maps(recipe.backbone), head, recipe, 0, lambda _done: None)
    return np.load(folder / features.FILE), labels


def pictures(
    first_seed: int, kind: IncidentKind, shown: int, recipe: ClassifierRecipe
) -> Iterator[tuple[npt.NDArray[np.uint8], bool]]:
    """Yield pictures, uint8 (H, W, 3), and whether each shows the kind: of a day one that does, and some that do not.

    The first of the others shows another incident, where the day has one.
    """
    height, width = recipe.stored
    found, seed = 0, first_seed
    while found < shown:
        scene = Courtyard(SceneSettings(seed=seed, seconds=DAY_SECONDS))
        middles = [((one.first_frame + one.last_frame) // 2, one.kind) for one in scene.incidents]
        of_kind = [at for at, of in middles if of is kind]
        others = [at for at, of in middles if of is not kind][:1]
        quiet = [at for at in range(0, scene.frame_count, 25) if not scene.truth(at)]
        others += quiet[len(quiet) // 2 :][: OTHERS - len(others)]
        for own, frames in ((True, of_kind[:1]), (False, others if of_kind else [])):
            for number in frames:
                picture = cv2.resize(scene.frame(number), (width, height), interpolation=cv2.INTER_AREA)
                yield np.asarray(picture, np.uint8), own
        found += bool(of_kind)
        seed += 1


def one_draw(
    number: int, draw: int, pool: Described, test: Described, recipe: ClassifierRecipe, kept: Path
) -> dict[str, float]:
    """Train on ``number`` pictures of each class, and return the AUC on the test pictures and the seconds it took."""
    drawn = np.random.default_rng([number, draw])
    read, truth = pool
    chosen = np.sort(
        np.concatenate([drawn.choice(np.flatnonzero(truth == own), number, replace=False) for own in (0, 1)])
    )
    learned, validation = validation_of(truth[chosen], [str(at) for at in chosen], recipe.examples.validation, draw)
    head = PooledHead(CHANNELS[recipe.backbone], 2, recipe.head.dropout)
    began = time.process_time()
    train_head(
        head,
        read,
        truth,
        chosen[learned].tolist(),
        chosen[validation].tolist(),
        recipe.head,
        2,
        draw,
        kept / f"{number}-{draw}",
    )
    took = time.process_time() - began
    scores = scores_of(head, test[0], range(len(test[0])))[:, 1]
    return {"auc": round(float(roc_auc_score(test[1], scores)), 4), "processor_seconds": round(took, 1)}


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    first = next(iter(results["kinds"].values()))
    lines = [
        "# Courtyard: one kind of incident from few pictures",
        "",
        f"A classifier (`{results['recipe']['file']}`, {', '.join(results['recipe']['changes'])}), trained on so many "
        "pictures of the kind and as many of anything else. It is judged on "
        f"{first['test']['shown']} pictures of the kind and {first['test']['others']} others of unseen days, half of "
        f"which show other incidents. Each line has five draws from {first['pool']['shown']} pictures of the kind and "
        f"{first['pool']['others']} others. All carts of the rendered courtyard look alike. `bench/few_pictures.py` "
        "writes this page.",
        "",
        "| kind | pictures of each class | AUC, mean of the draws | least to most | standard deviation |",
        "|---|--:|--:|--:|--:|",
    ]
    for kind, found in results["kinds"].items():
        for number, draws in found["draws"].items():
            values = [one["auc"] for one in draws]
            lines.append(
                f"| {kind} | {number} | **{np.mean(values):.3f}** | {min(values):.3f} to {max(values):.3f} "
                f"| {spread(values):.3f} |"
            )
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation of the draws."""
    return float(np.std(values, ddof=1))


if __name__ == "__main__":
    main()
