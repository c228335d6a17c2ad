"""Scores of videos that the networks have not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.detectors.mist.encoder_scoring import encoder_logits
from models.detectors.mist.footage import Footage
from models.detectors.mist.generator_scoring import clip_logits
from models.detectors.mist.video_scores import ClipTimes, VideoScores
from models.jobs.rows import read_rows, write_rows

if TYPE_CHECKING:
    from models.detectors.mist.encoder_scoring import Network
    from models.detectors.mist.generator import Generator
    from pipeline.manifests.manifest import Video

SCORES_FILE = "scores.jsonl"


def score_video(
    footage: Footage, name: str, video: Video, generator: Generator, encoder: Network | None
) -> VideoScores:
    """Return the scores of a video's clips, cut as live, by each stage.

    Args:
        video: not among those that the networks were trained on.
        encoder: of stage 2; None where the generator alone was trained.
    """
    seen = footage.live(video)
    return VideoScores(
        name,
        video,
        clip_logits(generator, seen.features),
        encoder_logits(encoder, seen.inputs) if encoder is not None else None,
        ClipTimes(seen.starts, seen.ends, seen.segments),
        clip_logits(generator, footage.training(video).features) if encoder is None else None,
    )


def write_scores(folder: Path, scores: Sequence[VideoScores]) -> None:
    """Write the scores of a fold's videos into its folder. Raises OSError."""
    write_rows(folder / SCORES_FILE, [one.row() for one in scores])


def read_scores(folders: Sequence[Path], videos: Mapping[str, Video]) -> list[VideoScores]:
    """Return the scores of all folds of one seed, in the order of ``videos``, which are given by their names."""
    rows = {row["video"]: row for folder in folders for row in read_rows(folder / SCORES_FILE)}
    return [VideoScores.from_row(rows[name], videos) for name in videos if name in rows]
