"""Obscured: the structure that a camera usually sees is gone.

Of the usual structure U, the share that the present picture keeps in its place is

    kept = Σ min(s, c·U) / Σ c·U    over the textured cells,

with the present structure s, and c the contrast of the light as a multiple of the usual one (at most 1) where light
and dark are still in their places, so dim light alone is not a loss: the cells' grey must be correlated with the usual
by 0.8, or less in a view that people or cars fill, whose ordinary pictures do not reach that either. Where little
contrast is left, the picture must be as dark as that: paint on a lens lets some light through, but takes none away.
The picture as a whole must be bare, too, unless it agrees with the usual by 0.8: a camera that is turned away, and a
lorry in front of it, show other structure.

The kinds: *defocused* where light and dark are in their places; else *blinded* where half of the cells are near
white; else *covered*.

Not reported, or late: light that is switched off leaves light and dark in their places, if there is any light left. A
black picture is a lens cap or a dark night, so it must last five minutes. Dusk and fog come slowly and are learned
(:data:`operators.tamper.usual.MEMORY_SECONDS`).
"""

from __future__ import annotations

import numpy as np

from operators.tamper.holding import Lasting
from operators.tamper.kinds import TamperKind
from operators.tamper.look import Look, structure
from operators.tamper.usual import Usual

#: Share of the usual structure that must be lost. bench/tamper.py measures what crowds and rain take.
THRESHOLD = 0.6
#: The lost share below which the view counts as free again.
END_THRESHOLD = 0.45
#: Structure of the whole picture, as a share of the usual, above which the camera sees something else.
BARE = 0.5
BEGIN_SECONDS, END_SECONDS = 10.0, 5.0
#: Seconds that a black picture must last.
BLACK_SECONDS = 300.0

_IN_PLACE, _LEAST_IN_PLACE = 0.8, 0.4  # correlation of grey; in any view, of which a hand or cloth leaves less
_BELOW_USUAL = 0.2  # what it may lack of the usual correlation, where that is below one
_DIM = 0.3  # contrast below which a codec has taken the structure of a picture in place
_NO_LIGHT = 16.0  # luma of video black
_BRIGHTER = 0.2  # how much brighter, as a share of the usual, a picture may be than its contrast says: paint is
_BLACK, _BLACK_CONTRAST = 32.0, 2.0  # mean luma and spread of a picture without light (16 is video black)
_WHITE, _WHITE_SHARE = 215.0, 0.5  # luma of cells near white, and their share


class Obscured:
    """The share of the usual structure that is lost; :attr:`measure` is 0 to 1.

    Memory: a few numbers. Pure and not thread-safe.
    """

    threshold = THRESHOLD

    def __init__(self) -> None:
        self._lasting = Lasting(BEGIN_SECONDS, END_SECONDS)
        self.measure = 0.0
        self.kind = TamperKind.COVERED  #: as the newest look shows it

    @property
    def is_open(self) -> bool:
        """Return whether the view is obscured."""
        return self._lasting.is_open

    @property
    def is_suspect(self) -> bool:
        """Return whether the newest look should not be learned from."""
        return self.is_open or self._lasting.is_pending

    @property
    def is_unlike(self) -> bool:
        """Return whether the newest look differs from the usual picture by more than an end allows."""
        return self.measure >= END_THRESHOLD

    def push(self, look: Look, step_seconds: float, usual: Usual) -> bool:
        """Take the next look; return whether the state changes with it."""
        if not (usual.is_known and usual.has_texture):
            return False
        correlation, contrast = usual.lighting(look.grey)
        is_clear = correlation >= _IN_PLACE
        in_place = correlation >= max(_LEAST_IN_PLACE, min(_IN_PLACE, usual.agreement - _BELOW_USUAL))
        mean, spread = float(look.grey.mean()), float(look.grey.std())
        if is_dim := in_place and contrast < _DIM:
            brightness = (mean - _NO_LIGHT) / max(float(usual.grey.mean()) - _NO_LIGHT, 1.0)
            in_place = is_dim = brightness <= contrast + _BRIGHTER
        light = float(np.clip(contrast, 0.05, 1.0)) if in_place else 1.0
        now, textured = structure(look.detail), usual.textured
        expected = usual.structure * np.float32(light)
        total = float(expected[textured].sum())
        self.measure = 1 - float(np.minimum(now, expected)[textured].sum()) / total
        bare = float(now.sum()) / float(expected.sum()) < BARE
        is_black = mean < _BLACK and spread < _BLACK_CONTRAST
        if not self.is_open:
            self.kind = self._kind(look, in_place=in_place)
        return self._lasting.push(
            step_seconds,
            raised=self.measure >= THRESHOLD and (bare or is_clear) and not is_dim,
            cleared=self.measure < END_THRESHOLD,
            begin_seconds=BLACK_SECONDS if is_black else None,
        )

    def close(self) -> None:
        """End it."""
        self._lasting.close()

    @staticmethod
    def _kind(look: Look, *, in_place: bool) -> TamperKind:
        if in_place:
            return TamperKind.DEFOCUSED
        if float((look.grey >= _WHITE).mean()) >= _WHITE_SHARE:
            return TamperKind.BLINDED
        return TamperKind.COVERED
