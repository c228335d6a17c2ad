"""Frozen: frames keep arriving, and every picture was there before, bit by bit.

A decoder, recorder or encoder that hangs repeats pictures. An encoder that codes one standing picture again and again
gives a few decoded pictures in turn, one set for each key frame. So a picture counts as new only if no picture of the
last minute equals it. A loop of recorded footage up to a minute long is found as well. Sampled are some 144 whole
rows.

A sensor's noise never gives the same picture twice, so a scene in which nothing moves is not frozen. Some cameras
have no noise: rendered scenes, and strong noise reduction at a low bit rate. Their still pictures are truly equal, so
a freeze is reported only for cameras known to be noisy:

* in looks in which nothing moves, most cells had changed by a bit nevertheless (``NOISY_LOOKS`` of them, and hardly
  any without a new picture): 20 s without a new picture are a freeze;
* otherwise, for cameras that are never still: two minutes without a new picture, if things stand in the picture that
  are not in the usual one, and no earlier standstill lasted longer than a tenth of that.

A standstill that was ordinary before is ordinary: less than three times the longest one so far is never reported.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from operators.tamper.holding import Lasting
from operators.tamper.look import Floats, Look

#: Seconds without a new picture: several key frames of ordinary cameras lie in them.
NOISY_SECONDS = 20.0
UNKNOWN_SECONDS = 120.0
#: Seconds of new pictures that end it.
END_SECONDS = 3.0
#: Looks whose pictures are remembered: a minute.
REMEMBERED_LOOKS = 60
#: Still looks that prove noise.
NOISY_LOOKS = 30
#: Share of still looks without a new picture up to which a camera counts as noisy.
NOISY_REPEATS = 0.05
#: Share of cells that noise changes between two looks of a still scene, at least.
NOISY_CELLS = 0.5
#: Footage before a camera whose noise is unknown is judged, seconds.
UNKNOWN_LEARNING_SECONDS = 600.0
#: A standstill must be so many times as long as the longest before.
LONGER = 3.0

_STILL = 3.0  # grey levels by which no cell changes between looks in which nothing moves
# Grey levels and cells of things that are not in the usual picture. That is a mean: where people pass for a seventh of
# the time, it lies some 15 levels off the empty place.
_STANDS_OUT, _STANDS_OUT_SHARE = 24.0, 0.01


class Frozen:
    """Seconds without a new picture; :attr:`measure` and :attr:`threshold` are in seconds.

    Memory: 60 digests and one map. Pure and not thread-safe.
    """

    def __init__(self) -> None:
        self._lasting = Lasting(1e-6, END_SECONDS)  # the standstill itself is what lasts
        self._recent: deque[int] = deque(maxlen=REMEMBERED_LOOKS)
        self._before: Floats | None = None
        self._watched = 0.0
        self._noisy = self._still_repeats = 0  # still looks with a new picture, and without
        self._repeats = 0  # looks of the present standstill
        self._longest = 0.0
        self._stands_out = False
        self.measure = 0.0

    @property
    def is_open(self) -> bool:
        """Return whether the picture is frozen."""
        return self._lasting.is_open

    @property
    def is_repeat(self) -> bool:
        """Return whether the newest picture was there before."""
        return self.measure > 0

    @property
    def is_noisy(self) -> bool:
        """Return whether noise is proven."""
        return self._noisy >= NOISY_LOOKS and self._still_repeats <= NOISY_REPEATS * self._noisy

    @property
    def threshold(self) -> float:
        """Seconds without a new picture that are a freeze."""
        return max(NOISY_SECONDS if self.is_noisy else UNKNOWN_SECONDS, LONGER * self._longest)

    def push(self, look: Look, step_seconds: float, usual_grey: Floats | None) -> bool:
        """Take the next look; return whether the state changes with it.

        Args:
            usual_grey: of the usual picture; None while it is unknown.
        """
        self._watched += step_seconds
        is_new = look.digest not in self._recent
        self._recent.append(look.digest)
        take = self._new_picture if is_new else partial(self._repeat, usual_grey=usual_grey)
        changed = take(look, step_seconds)
        self._before = look.grey
        return changed

    def close(self) -> None:
        """End a freeze; what is known of the camera stays."""
        self._lasting.close()
        self.measure, self._repeats = 0.0, 0

    def _new_picture(self, look: Look, step_seconds: float) -> bool:
        was_open = self.is_open
        ended = self._lasting.push(step_seconds, raised=False, cleared=True)
        if not was_open:
            self._still_repeats += self._repeats
            self._longest = max(self._longest, self.measure)
        if not self.is_open:
            self.measure, self._repeats = 0.0, 0
            self._learn_noise(look)
        return ended

    def _learn_noise(self, look: Look) -> None:
        if self._before is None:
            return
        difference = np.abs(look.grey - self._before)
        if float(difference.max()) < _STILL:
            if float((difference > 0).mean()) >= NOISY_CELLS:
                self._noisy += 1
            else:
                self._still_repeats += 1
        if self._noisy + self._still_repeats > 20 * NOISY_LOOKS:  # of other hours, another noise
            self._noisy //= 2
            self._still_repeats //= 2

    def _repeat(self, look: Look, step_seconds: float, *, usual_grey: Floats | None) -> bool:
        self.measure += step_seconds
        self._repeats += 1
        if usual_grey is not None and self._repeats == 1:  # later the usual picture may have taken it in
            outstanding = np.abs(look.grey - usual_grey) > _STANDS_OUT
            self._stands_out = float(outstanding.mean()) >= _STANDS_OUT_SHARE
        is_frozen = self.measure >= self.threshold and (self.is_noisy or self._is_judged_busy)
        return self._lasting.push(step_seconds, raised=is_frozen, cleared=False)

    @property
    def _is_judged_busy(self) -> bool:
        return (
            self._watched - self.measure >= UNKNOWN_LEARNING_SECONDS
            and self._stands_out
            and self._longest <= UNKNOWN_SECONDS / 10
            and self._still_repeats <= NOISY_LOOKS
        )
