"""What surrounds a replay's scores: how far it is, how long recordings are, and what a topic has been given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_films import film

from pipeline.replay.lengths import Lengths
from pipeline.replay.published import PUBLISHED_FILE, Published
from pipeline.replay.results import rate_and_length
from pipeline.runs.folder import VideoRow
from pipeline.runs.recordings import Wanted
from pipeline.sources.frame_index import FrameIndex


def test_lengths_are_known_once_all_recordings_have_said_theirs(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no film")
    wanted = [
        Wanted("a", film(tmp_path / "a.avi", frames=20)),
        Wanted("bad", tmp_path / "bad.mp4"),
        Wanted("b", film(tmp_path / "b.avi", frames=50)),
    ]
    lengths = Lengths(wanted)
    assert lengths.total_seconds is None
    lengths.start()
    lengths._thread.join(60)
    assert lengths.total_seconds == pytest.approx(7.0)  # at 10 frames a second
    lengths.done("b")
    assert lengths.done_seconds == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("times", "segments", "given", "rate", "seconds"),
    [
        ([0.0, 0.1, 0.2, 0.3], [0], None, 10.0, 0.4),
        ([5.0, 5.5, 6.0, 0.0, 0.5], [0, 3], None, 2.0, 2.5),  # the clock was set back: 1 s and 0.5 s between frames
        ([0.0, 0.1, 0.4], [0], None, 5.0, 0.6),  # a rate that varies: 2 periods in 0.4 s
        ([0.0, 0.1, 0.2, 0.3], [1], None, 10.0, 0.3),  # the first could not be decoded, and belongs to no segment
        ([0.0], [0], None, None, 0.0),
        ([0.0], [0], 4.0, 4.0, 0.25),
    ],
)
def test_frames_a_second_and_seconds(
    times: list[float], segments: list[int], given: float | None, rate: float | None, seconds: float
) -> None:
    index = FrameIndex(np.array(times), np.array(segments, np.int64))
    found, length = rate_and_length(index, given)
    assert found == (None if rate is None else pytest.approx(rate))
    assert length == pytest.approx(seconds)


def test_a_topic_is_told_once_of_each_recording_and_again_where_that_was_cut_off(tmp_path: Path) -> None:
    rows = [VideoRow(name=name, path=name, content_hash="0") for name in "abc"]

    def unknown(topic: str = "t", run: str = "r") -> Iterator[str]:
        published = Published(tmp_path, topic, run)
        return (row.name for row in rows if not published.has(row))

    first = Published(tmp_path, "t", "r")
    for row in rows:
        first.add(row)
    first.add(rows[0])
    assert len((tmp_path / PUBLISHED_FILE).read_text().splitlines()) == 3
    assert list(unknown()) == []
    assert list(unknown(topic="another")) == list(unknown(run="another")) == ["a", "b", "c"]
    file = tmp_path / PUBLISHED_FILE
    file.write_bytes(file.read_bytes()[:-5])
    assert list(unknown()) == ["c"]
    Published(tmp_path, "t", "r").add(rows[2])
    assert list(unknown()) == []
