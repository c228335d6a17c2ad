"""Anybody's scores: every format, every mistake that a file can hold, and figures against scikit-learn's."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
from damaged_archives import DAMAGES, damaged_archive
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet
from sklearn.metrics import average_precision_score, roc_auc_score

from operators.alerting import AlertSettings
from operators.figures.events import Span
from operators.figures.ranked import figures
from pipeline.evaluation.foreign_scores import judge_scores
from pipeline.evaluation.judged import CAUSAL, CENTRED, RAW
from pipeline.evaluation.score_files import ForeignScoresError, read_labels, read_scores

SCORES = {"yard": [0.25, 0.5, 1.0], "01": [0.125], "hall, back": [-3.0, 1e6]}
LABELS = {"yard": [0, 1, 1], "01": [0], "hall, back": [1, 0]}


def write(file, rows, column):
    """``rows`` in the format of the file's suffix."""
    match file.suffix:
        case ".npz":
            np.savez(file, **{name: np.array(values) for name, values in rows.items()})
        case ".json":
            file.write_text(json.dumps(rows))
        case ".csv":
            lines = [f'"{name}",x,{value}' for name, values in rows.items() for value in values]
            file.write_text("\n".join([f"video,other, {column}", *lines, ""]))
        case ".parquet":
            videos = [name for name, values in rows.items() for _ in values]
            table = {"other": ["x"] * len(videos), column: [v for row in rows.values() for v in row], "video": videos}
            parquet.write_table(pa.table(table), file)
    return file


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet", ".json"])
def test_every_format_holds_the_same(tmp_path, suffix):
    scores = read_scores(write(tmp_path / f"scores{suffix}", SCORES, "score"))
    labels = read_labels(write(tmp_path / f"labels{suffix}", LABELS, "label"))
    assert {name: row.tolist() for name, row in scores.items()} == SCORES
    assert {name: row.tolist() for name, row in labels.items()} == LABELS  # True is 1
    assert list(scores) == list(SCORES)


def test_rows_of_two_videos_may_be_mixed_and_keep_their_order(tmp_path):
    table = {"video": pa.array(["b", "a", "b", "a"]).dictionary_encode(), "score": pa.array([1, 2, 3, 4], pa.int32())}
    parquet.write_table(pa.table(table), tmp_path / "s.parquet")
    (tmp_path / "s.csv").write_text("\ufeffscore,video\n1,b\n2,a\n\n3,b\n4,a\n", encoding="utf-8")
    for name in ("s.parquet", "s.csv"):
        found = read_scores(tmp_path / name)
        assert {key: row.tolist() for key, row in found.items()} == {"b": [1.0, 3.0], "a": [2.0, 4.0]}


def test_a_column_of_numbers_is_as_good_as_a_row(tmp_path):
    np.savez(tmp_path / "s.npz", one=np.array([[0.1], [0.2]], np.float32))
    assert read_scores(tmp_path / "s.npz")["one"] == pytest.approx([0.1, 0.2])


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.npz", {"yard": np.array([0.1, np.nan, np.inf])}, r"yard: score 1 is nan; .* \(2 are not\)"),
        ("s.npz", {"yard": np.zeros((2, 2))}, r"yard: expected a row of numbers, got float64 of shape"),
        ("s.npz", {"yard": np.array(["a"])}, r"yard: expected a row of numbers, got <U1"),
        ("s.npz", {"yard": np.array([1j])}, "yard: expected real numbers"),
        ("s.npz", {"yard": np.array([None])}, "yard: holds a pickle, which is not loaded .*; store numbers: "),
        ("s.npz", {}, "holds no video"),
        ("s.npz", b"no zip", "not an archive of plain arrays"),
        ("s.json", b"[1, 2]", "expected an object"),
        ("s.json", b'{"yard": [1, [2]]}', "expected one list of numbers"),
        ("s.json", b'{"yard": [1, NaN]}', "yard: score 1 is nan"),
        ("s.json", b'{"yard": ', "not JSON"),
        ("s.json", b'{"yard": ' + b"[" * 100_000, "not JSON: nested too deeply"),
        ("s.csv", b"video,value\nyard,1\n", "s.csv:1: no column score; expected video and score"),
        ("s.csv", b"", "s.csv:1: no column video"),
        ("s.csv", b"video,score\nyard,0.5\nyard,high\n", "s.csv:3: expected a score, a number; got 'high'"),
        ("s.csv", b"video,score\nyard\n", "s.csv:2: expected a score, a number; got 'nothing'"),
        ("s.csv", b"video,score\n", "holds no video"),
        ("s.csv", b"video,score\n\xff\xfe,1\n", "not CSV"),
        ("s.parquet", b"PAR1", "not a Parquet table"),
        ("s.txt", b"0.1", r"expected a file \.npz, \.npy, \.csv, \.parquet, \.json, got \.txt"),
        ("s", b"0.1", "got no suffix"),
    ],
)
def test_what_is_no_file_of_scores_is_refused_in_one_line(tmp_path, name, content, message):
    file = tmp_path / name
    np.savez(file, **content) if isinstance(content, dict) else file.write_bytes(content)
    with pytest.raises(ForeignScoresError, match=message) as error:
        read_scores(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_parquet_table_without_rows_holds_no_video(tmp_path):
    for types in (pa.string(), pa.dictionary(pa.int32(), pa.string())):
        schema = pa.schema([("video", types), ("score", pa.float64())])
        parquet.write_table(schema.empty_table(), tmp_path / "s.parquet")
        with pytest.raises(ForeignScoresError, match=r"s\.parquet: holds no video"):
            read_scores(tmp_path / "s.parquet")


def test_what_a_parquet_table_may_lack(tmp_path):
    file = tmp_path / "s.parquet"
    for table, message in (
        ({"video": ["a"], "value": [1.0]}, "no column score"),
        ({"video": ["a", "a"], "score": [1.0, None]}, "a: score 1 is nan"),
        ({"video": ["a", None], "score": [1.0, 2.0]}, "a row has no video"),
        ({"video": ["a"], "score": ["high"]}, "not a Parquet table of numbers"),
    ):
        parquet.write_table(pa.table(table), file)
        with pytest.raises(ForeignScoresError, match=message):
            read_scores(file)


@pytest.mark.parametrize("label", [2, -1, 0.5, float("nan")])
def test_a_label_is_0_or_1(tmp_path, label):
    np.savez(tmp_path / "l.npz", yard=np.array([0, 1, label]))
    with pytest.raises(ForeignScoresError, match=r"l\.npz: yard: label 2 is .*; expected 0 or 1"):
        read_labels(tmp_path / "l.npz")


def test_labels_may_be_0_and_255_in_the_whole_file(tmp_path):
    np.savez(tmp_path / "l.npz", yard=np.array([0, 255, 255], np.uint8), gate=np.array([0], np.uint8))
    found = {name: row.tolist() for name, row in read_labels(tmp_path / "l.npz").items()}
    assert found == {"yard": [False, True, True], "gate": [False]}
    np.savez(tmp_path / "l.npz", yard=np.array([0, 255], np.uint8), gate=np.array([1], np.uint8))
    with pytest.raises(ForeignScoresError, match=r"gate: label 0 is 1; expected 0 or 255, as elsewhere in the file"):
        read_labels(tmp_path / "l.npz")


def test_labels_from_an_annotation(tmp_path):
    """START and END are counted from 1 and both included."""
    file = tmp_path / "Test_Annotation.txt"
    file.write_text("X/a_x264.mp4 6 X 2 3 6 6\nNormal/b_x264.mp4 2 Normal -1 -1\n")
    found = {name: row.astype(int).tolist() for name, row in read_labels(file).items()}
    assert found == {"a_x264": [0, 1, 1, 0, 0, 1], "b_x264": [0, 0]}
    file.write_text("a_x264.mp4 X 2 3 -1 -1\n")
    with pytest.raises(ForeignScoresError, match="a_x264: the number of its frames is missing"):
        read_labels(file)
    file.write_text("v=aB__#1_label_B4-0-0 0 1517\n")  # XD-Violence
    with pytest.raises(ForeignScoresError, match=r"txt:1: expected NAME CATEGORY .*; or store labels as an archive"):
        read_labels(file)


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 3, 1)])
def test_a_row_as_a_matrix(tmp_path, shape):
    np.savez(tmp_path / "s.npz", yard=np.array([0.25, 0.5, 1.0], np.float16).reshape(shape))
    assert read_scores(tmp_path / "s.npz")["yard"].tolist() == [0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.zeros((17, 10)), r"values\.mean\(axis=1\)"),
        (np.zeros((5, 4, 4)), r"values\.any\(axis=\(1, 2\)\)"),
        (np.array({"yard": 1}), r"np\.load\('s\.npy', allow_pickle=True\)\.item\(\)"),
    ],
)
def test_what_is_ambiguous_is_refused_with_the_step_that_helps(tmp_path, values, step):
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(ForeignScoresError, match=rf"s\.npy: .*{step}") as error:
        read_scores(tmp_path / "s.npy")
    assert "\n" not in str(error.value)


def test_one_array(tmp_path):
    np.save(tmp_path / "s.npy", np.array([0.25, 0.5]))
    assert {name: row.tolist() for name, row in read_scores(tmp_path / "s.npy").items()} == {"one array": [0.25, 0.5]}


def test_a_pickle_is_refused_whatever_its_suffix(tmp_path):
    for name in ("s.pkl", "s.npz", "s"):
        (tmp_path / name).write_bytes(pickle.dumps({"yard": [0.5]}))
        with pytest.raises(ForeignScoresError, match=rf"{name}: holds a pickle, which is not loaded"):
            read_scores(tmp_path / name)


def test_a_file_must_be_there(tmp_path):
    with pytest.raises(ForeignScoresError, match=r"gone\.npz: no such file"):
        read_scores(tmp_path / "gone.npz")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ForeignScoresError, match=r"folder\.csv: cannot be read: Is a directory"):
        read_scores(tmp_path / "folder.csv")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_one_line_with_file_and_member(tmp_path, damage):
    file = damaged_archive(tmp_path / "s.npz", damage)
    with pytest.raises(ForeignScoresError, match=r"s\.npz: yard: not a plain array") as error:
        read_scores(file)
    assert "\n" not in str(error.value)


# -- which frames a score stands for ---------------------------------------------------------------------------------


def judged(scores, labels, **options):
    return judge_scores(
        {name: np.array(row, float) for name, row in scores.items()},
        {name: np.array(row, bool) for name, row in labels.items()},
        **options,
    )


@pytest.mark.parametrize(
    ("scores", "labels", "frames_per_score", "frames"),
    [(2, 32, 16, 32), (2, 47, 16, 32), (2, 33, 16, 32), (2, 31, 16, 31), (2, 17, 16, 17), (5, 5, 1, 5), (1, 1, 16, 1)],
)
def test_labels_behind_the_last_whole_clip_are_left_out(scores, labels, frames_per_score, frames):
    found = judged({"v": [0.5] * scores}, {"v": [0] * labels}, frames_per_score=frames_per_score)
    assert found.frames == frames
    assert len(found.notes) == (labels != scores * frames_per_score)


@pytest.mark.parametrize(("scores", "labels", "frames_per_score"), [(2, 48, 16), (2, 16, 16), (0, 16, 16), (5, 6, 1)])
def test_a_larger_difference_is_an_error(scores, labels, frames_per_score):
    with pytest.raises(ForeignScoresError, match=f"v: {scores} scores of {frames_per_score} frames .* {labels} have"):
        judged({"v": [0.5] * scores}, {"v": [0] * labels}, frames_per_score=frames_per_score)


@pytest.mark.parametrize(
    ("scores", "labels", "step"),
    [
        ((32, 32), (265, 433), r"every video has 32 scores, .* scores\[np\.arange\(frames\) \* 32 // frames\]"),
        ((18, 29), (265, 433), r"its last score is of padding at the end, store scores\[:-1\]"),
        ((19, 30), (265, 433), r"its last 2 scores are of padding at the end, store scores\[:-2\]"),
        ((265, 433), (265, 433), r"every video has a score a frame: --frames-per-score 1$"),
        ((100, 433), (265, 433), r"--frames-per-score sets the frames of a score$"),
    ],
)
def test_the_step_for_numbers_that_do_not_match(scores, labels, step):
    with pytest.raises(ForeignScoresError, match=step):
        judged(
            {name: [0.5] * count for name, count in zip("ab", scores, strict=True)},
            {name: [0] * count for name, count in zip("ab", labels, strict=True)},
        )


def test_segments_of_equal_shares_written_out_by_the_named_step():
    """Of 2 segments over 5 frames, the first has frames 0 to 2: the step is Python, and its frames match."""
    scores, frames = np.array([0.25, 0.75]), 5
    written_out = scores[np.arange(frames) * 2 // frames]
    assert written_out.tolist() == [0.25, 0.25, 0.25, 0.75, 0.75]
    assert judged({"a": written_out}, {"a": [0] * frames}, frames_per_score=1).frames == frames


def test_what_only_one_side_has_is_listed_and_what_is_empty_left_out():
    found = judged({"a": [0.1], "b": [0.2], "e": []}, {"c": [0], "b": [1], "e": [0]}, frames_per_score=4)
    assert ([one.name for one in found.videos], found.only_scores, found.only_labels) == (["b"], ("a",), ("c",))
    assert [(one.name, one.reason) for one in found.left_out] == [("e", "it has no score")]
    with pytest.raises(ForeignScoresError, match=r"no video in common: 1 videos \(a\) have scores and 1 .* \(b.mp4\)"):
        judged({"a": [0.1]}, {"b.mp4": [1]})
    with pytest.raises(ForeignScoresError, match="none of 1 videos has a score"):
        judged({"a": []}, {"a": [1]})


def test_a_video_is_abnormal_by_all_its_labels():
    # Frames 16 and 17 are behind the one whole clip, and abnormal.
    one = judged({"v": [0.5]}, {"v": [0] * 16 + [1, 1]}).videos[0]
    assert (one.label, one.frames, one.columns[RAW].frame_labels.any()) == (1, 16, False)


# -- figures ---------------------------------------------------------------------------------------------------------


def test_the_columns_by_hand():
    found = judged({"v": [0.0, 0.6, 0.3, 0.9]}, {"v": [0, 1, 0, 1]}, frames_per_score=1, kernel=2)
    one = found.videos[0]
    assert one.clip_scores[RAW].tolist() == [0.0, 0.6, 0.3, 0.9]
    assert one.clip_scores[CAUSAL] == pytest.approx([0.0, 0.3, 0.45, 0.6])
    # Of 3 around, the ends repeated: (0 + 0 + .6)/3, (0 + .6 + .3)/3, (.6 + .3 + .9)/3, (.3 + .9 + .9)/3
    assert one.clip_scores[CENTRED] == pytest.approx([0.2, 0.3, 0.6, 0.7])
    assert one.columns[RAW].score == pytest.approx(0.45)
    highest = judged({"v": [0.0, 0.6]}, {"v": [0, 1]}, frames_per_score=1, video_score="max")
    assert highest.videos[0].columns[RAW].score == 0.6


@given(st.data())
def test_the_frames_figures_are_scikit_learns_of_scores_written_out(data):
    each = data.draw(st.integers(1, 5))
    scores, labels, all_scores, all_labels = {}, {}, [], []
    for name in "ab":
        count = data.draw(st.integers(1, 6))
        scores[name] = data.draw(arrays(np.float64, count, elements=st.sampled_from([-1.0, 0.0, 0.25, 7.0])))
        behind = data.draw(st.integers(0, each - 1))
        labels[name] = data.draw(arrays(np.bool_, count * each + behind))
        all_scores += np.repeat(scores[name], each).tolist()
        all_labels += labels[name][: count * each].tolist()
    found = figures(judge_scores(scores, labels, frames_per_score=each).column(RAW))
    if len(set(all_labels)) < 2:
        assert found["frame_auc"].value is None
        assert found["frame_auc"].reason
    else:
        assert found["frame_auc"].value == pytest.approx(roc_auc_score(all_labels, all_scores), abs=1e-12)
        assert found["frame_ap"].value == pytest.approx(average_precision_score(all_labels, all_scores), abs=1e-12)


def test_mists_published_pseudo_labels_have_their_known_area(data):
    """MIST's own I3D pseudo labels of ShanghaiTech against the data set's masks: the yardstick of the judgement."""
    folder = data / "shanghaitech"
    known = json.loads((folder / "pseudo_label_auc.json").read_text())
    found = judge_scores(
        read_scores(folder / "mist_i3d_pseudo_labels.npz"), read_labels(folder / "frame_masks.npz"), frames_per_score=16
    )
    assert (len(found.videos), found.frames) == (known["videos"], known["frames"])
    area = figures(found.column(RAW), names=["frame_auc"])["frame_auc"].value
    assert area == pytest.approx(known["frame_auc"], abs=1e-6)
    assert found.only_scores  # training videos, whose masks nobody has published
    assert found.only_labels  # test videos, which get no pseudo labels


# -- alerts ----------------------------------------------------------------------------------------------------------

ALERTS = AlertSettings(open_threshold=0.5, close_threshold=0.5, cooldown_seconds=0.0)


def test_alerts_by_hand():
    # Two frames a score at 4 a second: half a second each. Abnormal: 0.5 s to 1.5 s.
    scores, labels = {"v": [0.1, 0.2, 0.8, 0.9, 0.1, 0.7]}, {"v": [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]}
    one = judged(scores, labels, frames_per_score=2, kernel=1, alerts=ALERTS, fps=4.0).videos[0]
    assert one.incidents == (Span(0.5, 1.5),)
    # The third clip ends at 1.5 s, the one below the threshold at 2.5 s; the last one is open at the video's end.
    assert one.alerts[RAW] == (Span(1.5, 2.5), Span(3.0, 3.0))
    sheet = one.sheet(RAW)
    assert (sheet.incidents, sheet.found, sheet.alerts, sheet.false_alarms) == (1, 1, 2, 1)
    assert (sheet.delays, sheet.camera_seconds) == ((1.0,), 3.0)


def test_alerts_need_a_clock_and_scores_that_thresholds_are_for():
    with pytest.raises(ValueError, match="fps, the frames a second"):
        judged({"v": [0.5]}, {"v": [0]}, alerts=ALERTS)
    with pytest.raises(ForeignScoresError, match=r"v: thresholds are for scores in \[0, 1\]"):
        judged({"v": [1.5]}, {"v": [0]}, alerts=ALERTS, fps=25.0)
    without = judged({"v": [1.5]}, {"v": [0]})
    assert without.sheets(CAUSAL) == []
    assert "thresholds" in without.no_alerts


def test_a_score_stands_for_one_frame_at_least():
    with pytest.raises(ValueError, match="frames_per_score must be a whole number of at least 1"):
        judged({"v": [0.5]}, {"v": [0]}, frames_per_score=0)
