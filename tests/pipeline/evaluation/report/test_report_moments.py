"""What a report picks out: false alarms, missed incidents, and the videos that went worst."""

from __future__ import annotations

import pytest

from pipeline.evaluation.report.data import Alert, Incident, Timeline
from pipeline.evaluation.report.moments import (
    REPEATED,
    badness,
    false_alarms,
    judged,
    lowest_incidents,
    missed,
    nearest_to_alarms,
    select_videos,
)


def film(name="a", smoothed=(0.1, 0.2, 0.9, 0.1), **more) -> Timeline:
    """Clips of a second each."""
    count = len(smoothed)
    return Timeline(name, range(count), range(1, count + 1), smoothed, smoothed, **more)


def test_alerts_and_incidents_are_paired_as_the_score_sheet_does():
    video = film(
        incidents=[Incident(start=2, end=3, kind="fall"), Incident(start=30, end=31)],
        alerts=[Alert(3.0, 4.0, 0.9), Alert(3.5, 5.0, 0.8), Alert(20.0, 21.0, 0.7)],
    )
    verdict = judged(video, tolerance=2.0)
    assert [one.kind for one in verdict.found] == ["fall"]
    assert [one.start for one in verdict.missed] == [30]
    assert [one.opened for one in verdict.useful] == [3.0]
    assert [one.opened for one in verdict.false] == [3.5, 20.0]


def test_nothing_is_judged_where_nobody_knows_what_happened():
    alarmed = film(alerts=[Alert(3.0, 4.0, 0.9)], label=1)
    assert judged(alarmed, 2.0).false == ()
    assert judged(film(alerts=None, incidents=[Incident(start=0, end=1)]), 2.0).missed == ()


def test_a_normal_video_needs_no_incidents_to_have_false_alarms():
    verdict = judged(film(label=0, alerts=[Alert(3.0, 4.0, 0.9)]), 2.0)
    assert len(verdict.false) == 1


def test_false_alarms_come_by_their_peak_and_repetitions_last():
    videos = [
        film("a", incidents=[Incident(start=0, end=10)], alerts=[Alert(1, 2, 0.95), Alert(5, 6, 0.99)]),
        film("b", label=0, alerts=[Alert(1, 2, 0.6), Alert(5, 6, 0.8, started=4)]),
    ]
    moments = false_alarms([judged(video, 2.0) for video in videos], most=10)
    assert [(moment.video, moment.score, moment.kind) for moment in moments] == [
        (1, 0.8, ""),
        (1, 0.6, ""),
        (0, 0.99, REPEATED),
    ]
    assert moments[0].start == 4  # the pictures begin where the alert's first clip does


def test_one_noisy_camera_does_not_fill_the_strip():
    noisy = film("a", label=0, alerts=[Alert(t, t + 1, 0.9) for t in range(20)])
    quiet = film("b", label=0, alerts=[Alert(1, 2, 0.5)])
    moments = false_alarms([judged(video, 2.0) for video in (noisy, quiet)], most=12)
    assert [moment.video for moment in moments] == [0, 0, 0, 1]


def test_missed_incidents_come_by_how_little_they_were_noticed():
    video = film(
        smoothed=(0.1, 0.4, 0.2, 0.3), incidents=[Incident(start=1, end=2), Incident(start=2, end=3)], alerts=[]
    )
    moments = missed([video], [judged(video, 2.0)], most=10)
    assert [(moment.start, moment.score) for moment in moments] == [(2, 0.2), (1, 0.4)]
    assert lowest_incidents([video], 1)[0].score == 0.2


def test_nearest_to_an_alarm_is_outside_incidents_and_one_a_video():
    videos = [
        film("a", smoothed=(0.3, 0.9, 0.8, 0.2), incidents=[Incident(start=1, end=2)]),
        film("b", smoothed=(0.7, 0.6, 0.1, 0.1), label=0),
        film("c", smoothed=(0.9, 0.9, 0.9, 0.9), label=1),  # nobody knows when
    ]
    moments = nearest_to_alarms(videos, most=10, tolerance=1.0)
    assert [(moment.video, moment.start, moment.score) for moment in moments] == [(1, 0, 0.7), (0, 0, 0.3)]


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (film(label=0, alerts=[Alert(1, 2, 0.6)]), film(label=0, alerts=[])),
        (film(smoothed=(0.9, 0.1), label=0), film(smoothed=(0.2, 0.1), label=0)),
        (film(smoothed=(0.1, 0.3), label=1), film(smoothed=(0.1, 0.9), label=1)),
        (
            film(smoothed=(0.1, 0.3), incidents=[Incident(start=1, end=2)]),
            film(smoothed=(0.1, 0.8), incidents=[Incident(start=1, end=2)]),
        ),
        (film(smoothed=(0.9, 0.9), label=0, alerts=[Alert(1, 2, 0.9)]), film(smoothed=(1.0, 1.0), label=0, alerts=[])),
    ],
)
def test_what_went_worse_is_more_trouble(worse, better):
    assert badness(worse, judged(worse, 2.0)) > badness(better, judged(better, 2.0))


def test_a_video_without_a_clip_is_no_trouble():
    assert badness(film(smoothed=(), label=1), judged(film(smoothed=()), 2.0)) == 0


def test_all_of_a_few_and_of_many_the_worst_and_the_best():
    assert select_videos([0.1, 0.9, 0.5], most=3) == ([0, 1, 2], [])
    worst, best = select_videos([n / 100 for n in range(100)], most=8)
    assert worst == [99, 98, 97, 96, 95, 94]
    assert best == [0, 1]
