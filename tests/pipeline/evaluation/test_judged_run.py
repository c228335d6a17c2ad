"""A run beside its labels, with clocks, clips and incidents that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from judged_runs import alert, clips, row, run, settings, write_run

from operators.figures.events import Span
from pipeline.evaluation.judged import CAUSAL, CENTRED, RAW
from pipeline.evaluation.judged_run import judge_run
from pipeline.runs.folder import CameraPart, Run, RunChain, RunError, read_run


def one(scored, alerts=(), *, name="yard", **told):
    """The judgement of a run of a single abnormal video."""
    video = row(name, scored, **({"label": 1} | told))
    return judge_run(run([(video, scored)], {name: alerts}))


def test_the_columns_are_the_runs_own_and_the_centred_average():
    found = one(clips([0.0, 0.5, 1.0]), intervals=[(16, 20)]).videos[0]
    assert found.clip_scores[RAW].tolist() == [0.0, 0.5, 1.0]
    assert found.clip_scores[CAUSAL].tolist() == [0.0, 0.25, 0.75]
    # Of three, as two have no middle: (0 + 0 + .5)/3, (0 + .5 + 1)/3, (.5 + 1 + 1)/3
    assert found.clip_scores[CENTRED] == pytest.approx([1 / 6, 0.5, 2.5 / 3])
    frames = found.columns[RAW]
    assert frames.frame_scores.tolist() == [0.0] * 16 + [0.5] * 16 + [1.0] * 16
    assert np.flatnonzero(frames.frame_labels).tolist() == [16, 17, 18, 19]
    assert frames.score == 0.5


def test_the_causal_column_is_what_the_run_kept_not_what_would_be_computed():
    """A hole or another version restarts the live average: nobody but the run knows."""
    scored = clips([0.0, 0.5, 1.0])
    kept = replace(scored, smoothed=np.array([0.0, 0.5, 0.75], np.float32))
    found = judge_run(run([(row("yard", scored), kept)])).videos[0]
    assert found.clip_scores[CAUSAL].tolist() == [0.0, 0.5, 0.75]


def test_incidents_and_alerts_on_the_recordings_clock():
    # 16 frames a second from 10 s on. Abnormal from frame 24 to 40: 11.5 s to 12.5 s.
    scored = clips([0.1, 0.8, 0.9, 0.1], start=[10, 11, 12, 13], end=[11, 12, 13, 14])
    found = one(scored, [alert(13.0, 14.0)], intervals=[(24, 40)]).videos[0]
    assert (found.incidents, found.watched) == ((Span(11.5, 12.5),), Span(10.0, 14.0))
    assert found.alerts[CAUSAL] == (Span(13.0, 14.0),)
    assert found.sheet(CAUSAL).delays == (1.5,)
    # The raw scores cross the threshold a clip sooner, and fall below it at 14 s.
    assert found.alerts[RAW] == (Span(12.0, 14.0),)
    assert found.sheet(RAW).delays == (0.5,)


@pytest.mark.parametrize("fps", [24, 30])
def test_an_alert_of_the_last_clip_counts_though_events_tell_microseconds(fps, tmp_path):
    # Of 5 clips of 16 frames: at 30 a second the last ends at 2.6666…, and its alert is written as of 2.666667.
    ends = (np.arange(5) + 1) * 16 / fps
    scored = clips([0.1, 0.1, 0.1, 0.1, 0.9], start=ends - 16 / fps, end=ends)
    last = round(float(ends[-1]), 6)
    written = run([(row("yard", scored, label=1, intervals=[(64, 80)]), scored)], {"yard": [alert(last, last)]})
    found = judge_run(read_run(write_run(replace(written, folder=tmp_path / "run")))).videos[0]
    sheet = found.sheet(CAUSAL)
    assert (sheet.alerts, sheet.found, sheet.false_alarms) == (1, 1, 0)
    assert found.alerts[CAUSAL] == (Span(float(ends[-1]), float(ends[-1])),)
    assert found.watched.end >= found.end[-1]


def test_a_varying_frame_rate_moves_no_incident():
    # 16 frames in 2 s, then 16 in 8 s: frame 24 is at 6 s, not at the 7.5 s of a constant rate.
    scored = clips([0.1, 0.9], start=[0, 2], end=[2, 10])
    assert one(scored, intervals=[(24, 32)]).videos[0].incidents == (Span(6.0, 10.0),)


def test_clips_of_resampled_pictures_stand_for_all_pictures_between():
    # 25 pictures a second seen at 8: a clip of 16 spans 50 of them.
    scored = clips([0.1, 0.9], start=[0, 2], end=[2, 4], first_frame=[0, 50], end_frame=[50, 100])
    found = one(scored, intervals=[(75, 100)]).videos[0]
    assert (found.frames, found.incidents) == (100, (Span(3.0, 4.0),))
    assert found.columns[RAW].frame_scores.tolist() == pytest.approx([0.1] * 50 + [0.9] * 50)


def test_segments_follow_one_another_where_the_clock_jumps():
    # The clock falls back to 0 at frame 32, of which 4 frames are in no clip, and leaps an hour ahead at frame 68.
    scored = clips(
        [0.0, 1.0, 1.0, 0.0, 0.0],
        start=[100, 101, 0, 1, 3600],
        end=[101, 102, 1, 2, 3601],
        first_frame=[0, 16, 36, 52, 68],
        end_frame=[16, 32, 52, 68, 84],
        segment=["a", "a", "b", "b", "c"],
    )
    found = one(scored, [alert(1.0, 2.0, "b")], intervals=[(36, 44)]).videos[0]
    assert found.breaks == (0, 2, 4)
    assert found.start.tolist() == [100.0, 101.0, 102.25, 103.25, 104.25]
    assert found.incidents == (Span(102.25, 102.75),)
    assert found.alerts[CAUSAL] == (Span(103.25, 104.25),)
    assert found.watched == Span(100.0, 105.25)  # nobody watched the hour
    # No average spans two segments, and their ends are not each other's neighbours.
    assert found.clip_scores[CENTRED] == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1 / 3, 0.0])
    # An alert that is open at a segment's end is over; the next segment's first clip opens another.
    assert found.alerts[RAW] == (Span(102.0, 102.0), Span(103.25, 104.25))


def test_frames_behind_the_last_clip_are_not_judged_and_said_to_be():
    judged = one(clips([0.5]), intervals=[(8, 20), (18, 20)], frames=20)
    found = judged.videos[0]
    assert (found.frames, int(found.columns[RAW].frame_labels.sum())) == (16, 8)
    assert found.watched == Span(0.0, 1.25)
    assert judged.notes == ("4 frames were not judged: they come after the last whole clip of their video.",)


def test_a_cut_off_film_is_judged_as_far_as_it_goes():
    judged = one(clips([0.5]), intervals=[(8, 300)], damage="cut off after 0:00:01")
    assert judged.videos[0].incidents == (Span(0.5, 1.0),)
    assert judged.notes == ("yard: cut off after 0:00:01",)


def test_an_annotation_of_another_copy_is_an_error():
    with pytest.raises(RunError, match=r"yard: .* frames \[8, 300\) are abnormal, and 16 were decoded"):
        one(clips([0.5]), intervals=[(8, 300)])


def test_of_an_abnormal_video_without_intervals_the_whole_is_one_incident():
    judged = one(clips([0.1, 0.9, 0.1, 0.9]), [alert(2.0, 3.0), alert(4.0, 4.0)])
    found = judged.videos[0]
    assert found.incidents is None
    assert found.columns[RAW].frame_labels is None
    sheet = found.sheet(CAUSAL)
    assert (sheet.incidents, sheet.found, sheet.alerts, sheet.false_alarms) == (1, 1, 1, 0)
    assert "1 abnormal videos have no intervals" in judged.notes[0]


def test_in_a_normal_video_every_alert_is_false():
    judged = one(clips([0.1, 0.9]), [alert(2.0, 2.0)], label=0)
    sheet = judged.sheets(CAUSAL)[0]
    assert (sheet.incidents, sheet.alerts, sheet.false_alarms) == (0, 1, 1)


def test_what_cannot_be_judged_is_listed_with_its_reason():
    scored = clips([0.5])
    none = clips([])
    judged = judge_run(
        run(
            [
                (row("good", scored), scored),
                (row("bad", none, error="bad.mp4: not a video"), none),
                (row("short", none, frames=3), none),
                (row("hurt", none, damage="hurt.mp4: nothing could be decoded"), none),
                (row("unlabelled", scored, label=None), scored),
            ]
        )
    )
    assert [video.name for video in judged.videos] == ["good"]
    assert {one.name: one.reason for one in judged.left_out} == {
        "bad": "bad.mp4: not a video",
        "short": "shorter than one clip (3 frames)",
        "hurt": "hurt.mp4: nothing could be decoded",
        "unlabelled": "no label; replay a manifest with label 0 or 1",
    }


def test_a_run_without_labels_is_an_error_of_one_line():
    scored = clips([0.5])
    with pytest.raises(RunError, match="run: none of 1 videos can be judged; yard: no label; replay a manifest"):
        judge_run(run([(row("yard", scored, label=None), scored)]))


def test_a_part_of_the_data_set():
    scored = clips([0.5])
    whole = run([(row(name, scored, split=split), scored) for name, split in (("a", "train"), ("b", "test"))])
    assert [video.name for video in judge_run(whole, split="test").videos] == ["b"]
    assert judge_run(whole).notes == ("1 of 2 videos are of split train; --split test judges only the others.",)
    with pytest.raises(RunError, match="no video of split validation there; the manifest names test, train"):
        judge_run(whole, split="validation")


def test_a_cameras_recordings_are_judged_by_its_own_settings():
    scored = clips([0.4, 0.4])
    whole = run([(row("yard", scored), scored)])
    lower = RunChain(**(whole.settings.chain.model_dump() | {"open_threshold": 0.3, "close_threshold": 0.3}))
    own = CameraPart(clip=whole.settings.clip, chain=lower)
    told = settings().model_copy(update={"cameras": {"gate": own}})
    gate = Run(whole.folder, told, (row("yard", scored, camera="gate"),), whole.clips, whole.alerts)
    assert judge_run(whole).videos[0].alerts[RAW] == ()
    assert judge_run(gate).videos[0].alerts[RAW] == (Span(1.0, 2.0),)


def test_an_alert_of_a_segment_without_clips_is_an_error():
    with pytest.raises(RunError, match="yard: an alert of segment 'elsewhere'"):
        one(clips([0.9]), [alert(1.0, 2.0, "elsewhere")])


def test_a_folder_is_judged_as_what_was_written(tmp_path):
    scored = clips([0.1, 0.8, 0.9, 0.1])
    video = row("yard", scored, label=1, intervals=[(16, 32)], group="gate")
    written = run([(video, scored)], {"yard": [alert(3.0, 4.0)]}, tmp_path / "run")
    again, memory = judge_run(read_run(write_run(written))).videos[0], judge_run(written).videos[0]
    assert (again.incidents, again.alerts, again.watched) == (memory.incidents, memory.alerts, memory.watched)
    for column in (RAW, CAUSAL, CENTRED):
        assert again.clip_scores[column].tolist() == memory.clip_scores[column].tolist()
    assert again.columns[RAW].group == "gate"
