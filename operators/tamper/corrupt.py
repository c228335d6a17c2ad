"""Corrupt: pictures of which a part could not be decoded.

Two signs. The decoder marks pictures in which it had to conceal lost data; the share of marked frames is averaged
over ten seconds. Damage that happened before the stream reached us (in a recorder, in a camera's own encoder) has no
mark: it shows as a decoder's grey or green, or as rows that are copies of one another, in cells that are usually
sound.
"""

from __future__ import annotations

from operators.tamper.holding import Lasting
from operators.tamper.look import Look

#: Share of marked frames in ten seconds, or of damaged cells above the usual share: a lost packet now and then spoils a
#: few pictures up to the next key frame, and is not worth an event.
THRESHOLD = 0.1
#: The share below which it is over.
END_THRESHOLD = 0.03
BEGIN_SECONDS, END_SECONDS = 10.0, 20.0

_AVERAGED_SECONDS = 10.0
_MEMORY_SECONDS = 600.0  # of the usual share of cells that look damaged: letter boxes, a fence of upright bars


class Corrupt:
    """The larger of the two shares; :attr:`measure` is 0 to 1.

    Memory: a few numbers. Pure and not thread-safe.
    """

    threshold = THRESHOLD

    def __init__(self) -> None:
        self._lasting = Lasting(BEGIN_SECONDS, END_SECONDS)
        self._marked = 0.0
        self._usual = 0.0
        self._watched = 0.0
        self.measure = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether the pictures are corrupt."""
        return self._lasting.is_open

    @property
    def is_suspect(self) -> bool:
        """Return whether the newest look should not be learned from."""
        return self.is_open or self._lasting.is_pending

    def push(self, look: Look, step_seconds: float, marked_share: float) -> bool:
        """Take the next look; return whether the state changes with it.

        Args:
            marked_share: share of the frames since the look before that the decoder marked, 0 to 1.
        """
        self._watched += step_seconds
        self._marked += min(1.0, step_seconds / _AVERAGED_SECONDS) * (marked_share - self._marked)
        self.measure = max(self._marked, look.damaged - self._usual)
        changed = self._lasting.push(
            step_seconds, raised=self.measure >= THRESHOLD, cleared=self.measure < END_THRESHOLD
        )
        if self._watched > 0 and (not self.is_suspect or self._watched <= BEGIN_SECONDS):
            weight = min(1.0, step_seconds / min(self._watched, _MEMORY_SECONDS))
            self._usual += weight * (look.damaged - self._usual)
        return changed

    def close(self) -> None:
        """End it; what is known of the camera stays."""
        self._lasting.close()
