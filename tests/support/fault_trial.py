"""One worker through one fault: interrupted, recovered, interrupted again, ended by SIGTERM, drained and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from delivery_counts import Counts, Message, count, illegal_alerts, read_messages
from forked_worker import Bench, Forge, drain


@dataclass(frozen=True)
class Fault:
    """A fault that can be begun and ended, more than once.

    Attributes:
        begin, end: make it, undo it.
        lasts: seconds.
    """

    begin: Callable[[], object]
    end: Callable[[], object]
    lasts: float


@dataclass(frozen=True)
class Result:
    """The counts of one trial.

    Attributes:
        counts: of everything accepted.
        recovery_seconds: from the end of the fault to the next event that reached the topic.
        stop_seconds: from SIGTERM, sent during the second fault, to the worker's end.
        illegal: see :func:`illegal_alerts`.
        dropped: clips without a score before the second fault, all cameras and reasons.
    """

    counts: Counts
    recovery_seconds: float
    stop_seconds: float
    illegal: list[str]
    dropped: float
    messages: list[Message]


def try_fault(forge: Forge, bench: Bench, fault: Fault, *, patience: float = 180.0, sigterm: bool = True) -> Result:
    """Put a worker through a fault, and through a SIGTERM during it.

    Args:
        patience: limit for the recovery, seconds.
        sigterm: send SIGTERM during a second fault; else after the recovery.
    """
    with forge.start(bench) as worker:
        _until(lambda: bench.arrived() > 3, "alerts arrive", 120, bench)
        fault.begin()
        time.sleep(fault.lasts)
        fault.end()
        ended, before = time.monotonic(), bench.arrived()
        _until(lambda: bench.arrived() > before, "alerts arrive again", patience, bench)
        recovery = time.monotonic() - ended
        after = len(bench.accepted)
        _until(lambda: len(bench.accepted) > after + 3, "alerts are accepted again", patience, bench)
        assert worker.alive(), bench.log.read_text()[-3000:]
        dropped = bench.metric("mistwatch_clips_dropped_total")
        if sigterm:
            fault.begin()
            time.sleep(1.0)
        stopped = worker.terminate()
        assert worker.status == 0, bench.log.read_text()[-3000:]
        if sigterm:
            fault.end()
    drain(forge, bench)
    messages = read_messages(bench.kafka, bench.topic)
    counts = count(bench.accepted, messages)
    return Result(counts, recovery, stopped, illegal_alerts(messages), dropped, messages)


def _until(condition: Callable[[], bool], what: str, timeout: float, bench: Bench) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}; {bench.log.read_text()[-3000:]}"
        time.sleep(0.05)
