"""The stage ``product``: the model that is served, calibrated and judged by videos that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.detectors.mist.footage import Footage
from models.detectors.mist.kept_encoder import kept_encoder
from models.detectors.mist.kept_generator import kept_generator
from models.detectors.mist.product import Trained, write_product
from models.detectors.mist.pseudo_labels import LABELS_FILE
from models.detectors.mist.stages.scores import read_scores, score_video
from models.detectors.mist.video_scores import Evidence
from models.jobs.separation import probe_scores

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from models.jobs.video_plan import Plan
    from pipeline.manifests.manifest import Video


def compute(
    folder: Path,
    footage: Footage,
    plan: Plan,
    names: Mapping[Path, str],
    networks: Mapping[str, Path],
    seeds: Sequence[Sequence[Path]],
    divided: Sequence[Sequence[int]],
    config: MistConfig,
    about: Mapping[str, Any],
) -> None:
    """Write the product; see :func:`models.detectors.mist.product.write_product`.

    Args:
        networks: folders of the stages ``generator``, ``pseudo-labels`` and ``encoder``, by their names; without an
            encoder only the first.
        seeds: for each seed the folders of its folds.
        divided: the folds, as ordinals of the videos outside the test.
    """
    trained = Trained(kept_generator(networks["generator"]))
    if "encoder" in networks:
        labels = networks["pseudo-labels"] / LABELS_FILE
        trained = Trained(trained.generator, kept_encoder(networks["encoder"]), labels)

    def scores(videos: Sequence[Video]) -> list[Any]:
        return [score_video(footage, names[video.path], video, trained.generator, trained.encoder) for video in videos]

    by_name = {names[video.path]: video for video in plan.known}
    evidence = Evidence(
        folds=[read_scores(folders, by_name) for folders in seeds],
        validation=scores(plan.validation),
        test=scores(plan.test),
        probe=_probe(footage, plan.known, names, divided) if seeds else None,
    )
    write_product(folder, config, trained, evidence, about)


def _probe(
    footage: Footage, known: Sequence[Video], names: Mapping[Path, str], divided: Sequence[Sequence[int]]
) -> dict[str, float]:
    """Return the decision values of the baseline on the same folds."""
    features = [footage.training(video).features for video in known]
    whole = [values if values.ndim == 2 else values.mean(axis=1) for values in features]  # of a grid's cells
    values = probe_scores(whole, [video.label for video in known], divided)
    return {names[video.path]: float(value) for video, value in zip(known, values, strict=True)}
