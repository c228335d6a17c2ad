"""The split on the model card: who was learned from, who chose, and whom the weights never saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_mist import CONFIG, film, films, job

from models.detectors.mist.video_scores import ClipTimes, VideoScores
from models.jobs.errors import TrainingError
from models.jobs.video_plan import VideoChoice
from pipeline.manifests.manifest import Video

SMALL = CONFIG.model_copy(update={"folds": None, "seeds": 1})


def test_a_group_of_both_halves_is_not_held_out(tmp_path):
    """As ShanghaiTech's scenes are; cameras 0 to 3 train or choose, and 3 to 5 are tested."""
    videos = [replace(v, split="test" if i > 7 else None) for i, v in enumerate(films(tmp_path))]
    for label in (0, 1):
        path = tmp_path / f"more-{label}.mp4"
        film(path, bool(label), 90 + label)
        videos.append(Video(path, label, split="test", group="camera 3"))
    config = SMALL.model_copy(update={"videos": VideoChoice(layout="shanghaitech", validation=0.25)})
    card = job(videos, tmp_path / "run", config).card
    learned, chosen = set(card.training["groups"]), set(card.training["validation_groups"])
    assert (len(learned), len(chosen)) == (3, 1)
    assert learned | chosen == {f"camera {i}" for i in range(4)}
    assert not learned & chosen
    assert card.figures["test"]["groups"] == 3
    assert card.held_out_sources == ["camera 4", "camera 5"]


def test_a_copy_of_a_test_film_is_not_trained_on(tmp_path):
    videos = [replace(v, split="test" if i > 7 else None) for i, v in enumerate(films(tmp_path))]
    copy = tmp_path / "other name.mp4"
    copy.write_bytes(videos[9].path.read_bytes())
    config = SMALL.model_copy(update={"videos": VideoChoice(validation=0.25)})
    with pytest.raises(TrainingError, match=r"other name\.mp4 \(split \w+\) is a copy of .*09\.mp4 \(split test\)"):
        job([*videos, Video(copy, 1, group="camera 0")], tmp_path / "run", config)
    assert not (tmp_path / "run" / "features").exists()


@pytest.mark.parametrize("stage", ["stage_1", "stage_2"])
def test_scores_that_are_not_finite_are_not_evidence(tmp_path, stage):
    logits = {"stage_1": np.zeros(2, np.float32), "stage_2": np.zeros(2, np.float32)}
    logits[stage] = np.array([0, np.nan], np.float32)
    times = ClipTimes(np.zeros(2), np.ones(2), np.zeros(2, np.int64))
    with pytest.raises(TrainingError, match=f"^gate.mp4: stage {stage[-1]} gives scores that are not finite"):
        VideoScores("gate.mp4", Video(tmp_path / "gate.mp4", 0), **logits, times=times)
