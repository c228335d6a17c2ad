"""One array of all videos, divided by a list."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from operators.figures.ranked import figures as ranked_figures
from pipeline.errors import UsageError
from pipeline.evaluation.end_to_end import divided_labels, divided_scores, read_lengths
from pipeline.evaluation.judged import CAUSAL, RAW
from pipeline.evaluation.score_files import ForeignScoresError
from pipeline.evaluation.subject import ScoreFiles
from pipeline.manifests.manifest import ManifestError

#: Clips of 16 frames: 2 whole ones and a half, 1 whole one, 1 and a frame.
LENGTHS = {"a": 40, "b": 16, "c": 17}


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ("a.mp4 40\nb.mp4 16\nc.mp4 17\n", ["a.mp4", "b.mp4", "c.mp4"]),
        (
            "X/a.mp4 40 X 3 4 -1 -1 \n\nX/b.mp4 16 Normal -1 -1\nX/c.mp4 17 X 1 2 5 6 9 9\n",
            ["X/a.mp4", "X/b.mp4", "X/c.mp4"],
        ),
        ("a.mp4 X 3 4 -1 -1 40\nb.mp4 Normal -1 -1 -1 -1 16\nc.mp4 X 1 2 -1 -1 17\n", ["a.mp4", "b.mp4", "c.mp4"]),
    ],
)
def test_the_lengths_of_a_list(tmp_path, lines, names):
    (tmp_path / "list.txt").write_text(lines)
    assert read_lengths(tmp_path / "list.txt") == dict(zip(names, (40, 16, 17), strict=True))


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        ("a.mp4\n", ForeignScoresError, r"list\.txt:1: expected NAME FRAMES, got 'a\.mp4'"),
        ("a.mp4 3\na.mp4 3\n", ForeignScoresError, r"list\.txt:2: a\.mp4 is named twice"),
        ("\n", ForeignScoresError, r"list\.txt: names no video"),
        ("a.mp4 many 3\n", ManifestError, r"list\.txt:1: expected NAME \[FRAMES\]"),
        ("a.mp4 0\n", ManifestError, r"list\.txt:1: expected NAME \[FRAMES\]"),
    ],
)
def test_a_list_without_lengths(tmp_path, lines, error, message):
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(error, match=message):
        read_lengths(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("frames_per_score", "counts"),
    [
        (16, (3, 1, 2)),  # a last score of fewer frames
        (16, (2, 1, 1)),  # whole clips only
        (1, (40, 16, 17)),
        (1, (32, 16, 16)),  # scores of frames, of whole clips
        (8, (5, 2, 3)),
        (8, (5, 2, 2)),
        (8, (4, 2, 2)),
    ],
)
def test_scores_are_divided_by_what_was_kept(frames_per_score, counts):
    values = np.arange(sum(counts), dtype=float)
    found = divided_scores(values, LENGTHS, frames_per_score)
    assert [len(found[name]) for name in LENGTHS] == list(counts)
    assert np.concatenate(list(found.values())).tolist() == values.tolist()


@pytest.mark.parametrize("counts", [(40, 16, 17), (32, 16, 16)])
def test_labels_are_divided_by_what_was_kept(counts):
    found = divided_labels(np.arange(sum(counts)) % 3 == 0, LENGTHS, 16)
    assert [len(found[name]) for name in LENGTHS] == list(counts)


def test_an_array_of_another_length_is_refused_with_the_numbers():
    with pytest.raises(
        ForeignScoresError,
        match="one array of 5 scores of 16 frames; the 3 listed videos have 73 frames, which are 4 or 6 scores",
    ):
        divided_scores(np.zeros(5), LENGTHS, 16)


@pytest.fixture
def flat(tmp_path):
    """Files of three videos end to end, and the scores and labels of their frames."""
    rng = np.random.default_rng(5)
    scores = [rng.random(count) for count in (2, 1, 1)]
    labels = [rng.integers(0, 2, length).astype(bool) for length in (32, 16, 16)]
    np.save(tmp_path / "scores.npy", np.concatenate(scores, dtype=np.float32))
    np.savez(tmp_path / "gt.npz", scores=np.concatenate(labels).astype(np.uint8))
    (tmp_path / "list.txt").write_text("".join(f"{name}.mp4 {frames}\n" for name, frames in LENGTHS.items()))
    return tmp_path, np.repeat(np.concatenate(scores).astype(np.float32), 16), np.concatenate(labels)


def files(folder, **options):
    return ScoreFiles(
        scores=folder / "scores.npy",
        labels=folder / "gt.npz",
        frames_per_score=16,
        kernel=2,
        video_score="mean",
        **options,
    )


def test_a_flat_pair_is_judged_as_one_video_and_says_so(flat):
    folder, scores, labels = flat
    judged = files(folder).judged()
    (video,) = judged.videos
    assert video.frames == 64
    assert "judged as one video" in judged.notes[0]
    assert "--videos LIST" in judged.notes[0]
    assert ranked_figures(judged.column(RAW))["frame_auc"].value == pytest.approx(roc_auc_score(labels, scores))


def test_a_flat_pair_and_its_list_are_videos(flat):
    folder, scores, labels = flat
    judged = files(folder, videos=folder / "list.txt").judged()
    assert [(video.name, video.frames) for video in judged.videos] == [("a.mp4", 32), ("b.mp4", 16), ("c.mp4", 16)]
    assert judged.notes == ()
    # Every frame is judged as in the one array, and no average crosses a border.
    assert ranked_figures(judged.column(RAW))["frame_auc"].value == pytest.approx(roc_auc_score(labels, scores))
    assert [video.clip_scores[CAUSAL][0] for video in judged.videos] == [
        video.clip_scores[RAW][0] for video in judged.videos
    ]


def test_flat_scores_and_labels_by_name(flat):
    folder, scores, labels = flat
    np.savez(folder / "gt.npz", c=labels[48:], a=labels[:32], b=labels[32:48])
    with pytest.raises(
        ForeignScoresError, match=r"no video in common: .*; one array of all videos is divided by --videos"
    ):
        files(folder).judged()
    judged = files(folder, videos=folder / "list.txt").judged()
    assert [video.name for video in judged.videos] == ["a", "b", "c"]
    assert ranked_figures(judged.column(RAW))["frame_auc"].value == pytest.approx(roc_auc_score(labels, scores))


def test_the_list_is_for_one_array(flat):
    folder, _, labels = flat
    np.savez(folder / "gt.npz", a=labels[:32], b=labels[32:48])
    np.savez(folder / "named.npz", a=np.zeros(2), b=np.zeros(1))
    (folder / "named.npz").rename(folder / "scores.npy")
    with pytest.raises(UsageError, match="--videos is for one array of all videos"):
        files(folder, videos=folder / "list.txt").judged()


def test_a_list_of_other_videos_names_the_file(flat):
    folder, *_ = flat
    (folder / "list.txt").write_text("a.mp4 4000\n")
    with pytest.raises(ForeignScoresError, match=r"scores\.npy: one array of 4 scores .*; the list is .*list\.txt"):
        files(folder, videos=folder / "list.txt").judged()
