"""One limit of time that the steps of a stop share, and steps at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable


class Deadline:
    """A moment at which steps that follow each other must be over.

    Args:
        seconds: from now until then.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def share(self, at_most: float, *, keep: float = 0.0) -> float:
        """Return how many seconds the next step may take, at least 0.

        Args:
            at_most: its own limit.
            keep: seconds that the steps after it need.
        """
        return max(0.0, min(at_most, self._at - self._clock() - keep))


def at_once(steps: Iterable[Callable[[], object]], seconds: float) -> None:
    """Take steps at the same time, and wait for at most ``seconds``; one that hangs is left to its daemon thread.

    Raises:
        Exception: the first failure of a step.
    """
    deadline = Deadline(seconds)
    failures: list[Exception] = []

    def take(step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=take, args=(step,), name="stop", daemon=True) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline.share(seconds))
    if failures:
        raise failures[0]
