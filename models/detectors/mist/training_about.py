"""The part of a model card about the training."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.manifests.manifest import manifest_digest

if TYPE_CHECKING:
    from models.detectors.mist.config import MistConfig
    from models.jobs.video_plan import Plan
    from pipeline.manifests.manifest import Video


def about_training(
    config: MistConfig,
    plan: Plan,
    names: Mapping[Path, str],
    *,
    extra: Sequence[Video],
    skipped: Sequence[str],
    damaged: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Return the data, the recipe, the seed and the machine of a training, as plain JSON.

    Args:
        names: of all videos, by their paths.
        extra: ordinary footage.
        skipped, damaged: names of videos.
    """
    everything = (*plan.known, *plan.test)
    own = {video.path: names[video.path] for video in everything if video.is_alone}
    recipe = {"generator": config.recipe.model_dump(mode="json")}
    if config.encoder is not None:
        recipe["pseudo_labels"] = config.pseudo_labels.model_dump(mode="json")
        recipe["encoder"] = config.encoder.model_dump(mode="json")
    return {
        "data": config.data,
        "manifest_sha256": manifest_digest(everything),
        "videos": len(plan.train),
        "abnormal_videos": sum(video.label for video in plan.train),
        "validation_videos": len(plan.validation),
        "groups": sorted({own.get(video.path, video.group) for video in plan.train}),
        "validation_groups": sorted({own.get(video.path, video.group) for video in plan.validation}),
        "skipped": list(skipped),
        "damaged": list(damaged),
        **_about_extra(config, extra, names),
        "clip_stride": config.training_stride,
        "mirrored": config.mirrored,
        "recipe": recipe,
        "seed": seed,
        "torch": torch.__version__.split("+")[0],
        **_about_linear_head(config),
        "machine": platform.machine(),
    }


def _about_extra(config: MistConfig, extra: Sequence[Video], names: Mapping[Path, str]) -> dict[str, Any]:
    if config.extra_normals is None:
        return {}
    videos = [names[video.path] for video in extra]
    weight = config.extra_normals.weight
    return {"extra_normals": {"weight": weight, "videos": videos, "manifest_sha256": manifest_digest(extra)}}


def _about_linear_head(config: MistConfig) -> dict[str, Any]:
    return {} if config.recipe.heads == "generator" else {"scikit-learn": version("scikit-learn")}
