"""What a PTS says: one table, and what holds of any times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.timeline import Timeline, Verdict

GO, DROP, FORWARD, BACK = Verdict.GO_ON, Verdict.DROP, Verdict.JUMP_FORWARD, Verdict.JUMP_BACK


@pytest.mark.parametrize(
    ("times", "verdicts", "nominal_fps"),
    [
        ([0.0, 0.1, 0.2], [GO, GO, GO], 10.0),
        ([None, 0.1, 0.2], [DROP, GO, GO], 10.0),  # the first picture of an RTSP connection
        ([0.0, None, 0.2], [GO, DROP, GO], None),
        ([0.0, 0.1, 0.1, 0.2], [GO, GO, DROP, GO], 10.0),  # multi-slice streams repeat one
        ([0.0, 0.2, 0.1, 0.3], [GO, GO, DROP, GO], 10.0),
        ([10.0, 9.0, 10.1], [GO, DROP, GO], 10.0),
        ([10.0, 8.9, 9.0], [GO, BACK, GO], 10.0),
        ([100.0, 0.0, 0.1], [GO, BACK, GO], 10.0),
        ([0.0, 5.0, 10.1], [GO, GO, FORWARD], 10.0),
        ([0.0, 5.1, 5.2], [GO, FORWARD, GO], None),
        ([0.0, 10.0, 110.0, 210.1], [GO, GO, GO, FORWARD], 0.1),  # time lapse: ten periods
        ([5.0, 95443.7, 95443.8], [GO, FORWARD, GO], 25.0),  # 32 bits of 90 kHz wrap after 13 hours
    ],
)
def test_verdicts(times, verdicts, nominal_fps):
    timeline = Timeline(nominal_fps)
    assert [timeline.judge(time) for time in times] == verdicts


@given(times=st.lists(st.none() | st.floats(0, 30), max_size=60))
def test_between_jumps_time_goes_on_in_steps_that_are_no_jumps(times):
    timeline = Timeline(10.0)
    last = None
    for time in times:
        verdict = timeline.judge(time)
        if verdict is DROP:
            assert time is None or (last is not None and last - 1.0 <= time <= last)
            continue
        assert time is not None
        if last is None:
            assert verdict is GO
        elif verdict is GO:
            assert last < time <= last + 5.0
        elif verdict is FORWARD:
            assert time > last + 5.0
        else:
            assert time < last - 1.0
        last = time
