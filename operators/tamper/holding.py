"""A condition that must last before it counts."""

from __future__ import annotations

from operators import checks


class Lasting:
    """Begins when a condition has held for ``begin_seconds`` without a break, ends after ``end_seconds`` of another.

    Pure and not thread-safe.
    """

    def __init__(self, begin_seconds: float, end_seconds: float) -> None:
        """Raise ValueError for durations that are not positive."""
        checks.seconds("begin_seconds", begin_seconds)
        checks.seconds("end_seconds", end_seconds)
        self._begin_seconds, self._end_seconds = begin_seconds, end_seconds
        self.is_open = False
        self._held = 0.0  # seconds of the condition that is awaited

    @property
    def is_pending(self) -> bool:
        """Return whether the condition for a begin holds and has not lasted yet."""
        return not self.is_open and self._held > 0

    def push(self, step_seconds: float, *, raised: bool, cleared: bool, begin_seconds: float | None = None) -> bool:
        """Take the next look; return whether the state changes with it.

        Args:
            step_seconds: footage since the look before.
            raised, cleared: the conditions of a begin and of an end.
            begin_seconds: lasting asked for by this look; None: the usual one.
        """
        if not (cleared if self.is_open else raised):
            self._held = 0.0
            return False
        self._held += step_seconds
        needed = self._end_seconds if self.is_open else (begin_seconds or self._begin_seconds)
        if self._held < needed:
            return False
        self.is_open, self._held = not self.is_open, 0.0
        return True

    def close(self) -> None:
        """Return to the state of the start."""
        self.is_open, self._held = False, 0.0
