"""The limit of time that the steps of a stop share."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.live.deadline import Deadline, at_once


def test_steps_share_what_is_left_and_keep_some_for_the_next_ones() -> None:
    now = 100.0
    deadline = Deadline(10.0, clock=lambda: now)
    assert deadline.share(4.0) == 4.0
    assert deadline.share(8.0, keep=3.0) == 7.0
    now = 106.0
    assert deadline.share(8.0, keep=3.0) == 1.0
    now = 108.0
    assert deadline.share(8.0, keep=3.0) == 0.0
    assert deadline.share(8.0) == 2.0
    now = 111.0
    assert deadline.share(8.0) == 0.0


def test_steps_run_at_the_same_time_and_one_that_hangs_is_left() -> None:
    both, never = threading.Barrier(2, timeout=60), threading.Event()
    began = time.monotonic()
    at_once([both.wait, both.wait], 60)
    at_once([never.wait], 0.1)
    assert time.monotonic() - began < 30


def test_a_failure_of_a_step_is_raised_after_the_others_are_over() -> None:
    done = threading.Event()
    with pytest.raises(OSError, match="full"):
        at_once([_fail, done.set], 60)
    assert done.is_set()


def _fail() -> None:
    raise OSError("full")
