"""All kinds of tampering of one camera, from its looks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from operators.tamper.corrupt import Corrupt
from operators.tamper.frozen import Frozen
from operators.tamper.kinds import (
    ADOPTED,
    ALL_KINDS,
    CLEARED,
    OBSCURED_KINDS,
    Moment,
    TamperKind,
    TamperTransition,
)
from operators.tamper.look import Look
from operators.tamper.moved import Moved
from operators.tamper.obscured import Obscured
from operators.tamper.usual import Usual

#: Footage from one look to the next that counts, seconds, at most: a camera of one picture a minute must show several.
MOST_STEP_SECONDS = 2.0
#: Footage after which a new view is the usual one, seconds, and a picture without structure. An operator who turned the
#: camera needs no alert for ever. A lens that was not wiped for a day needs none either.
ADOPT_VIEW_SECONDS, ADOPT_OBSCURED_SECONDS = 3600.0, 86_400.0


@dataclass(slots=True)
class _Open:
    """A tampering that was reported."""

    first: Moment
    lasted_seconds: float = 0.0


class TamperMachine:
    """Notices the begin and the end of each kind of tampering, both reported once.

    It knows no segments: neither a new connection nor another picture size clears a covered lens. Time is the footage
    between looks, gaps left out.

    Frozen pictures have no news for the other operators, damaged ones say little of the view, and the view through a
    covered lens says nothing of the place of the camera. So an operator sees only looks at which those before it take
    no offence.

    Pure and not thread-safe.
    """

    def __init__(self, camera: str, kinds: Collection[TamperKind] = ALL_KINDS) -> None:
        """
        Args:
            kinds: to be reported; the others are watched too, because they say which looks show nothing.
        """
        self._camera = camera
        self._kinds = frozenset(kinds)
        self._usual = Usual()
        self._frozen, self._corrupt, self._obscured, self._moved = Frozen(), Corrupt(), Obscured(), Moved()
        self._newest: Moment | None = None
        self._since: dict[TamperKind, Moment] = {}  # first looks of what may become a begin
        self._open: dict[TamperKind, _Open] = {}

    @property
    def open(self) -> frozenset[TamperKind]:
        """The kinds that have begun and not ended."""
        return frozenset(self._open)

    def push(self, look: Look, moment: Moment, marked_share: float = 0.0) -> list[TamperTransition]:
        """Take the next look, in the order of the stream; return the begins and ends that it causes.

        Args:
            marked_share: share of the frames since the look before that the decoder marked as corrupt.
        """
        step = self._step(moment)
        self._newest = moment
        found = self._judge(look, moment, step, marked_share)
        for one in self._open.values():
            one.lasted_seconds += step
        found += self._adopt(moment)
        return [one for one in found if one.kind in self._kinds]

    def close(self, reason: str) -> list[TamperTransition]:
        """End all that is open with ``reason``: nothing more comes."""
        if self._newest is None:
            return []
        found = [self._end(kind, self._newest, reason) for kind in list(self._open)]
        return [one for one in found if one.kind in self._kinds]

    def _step(self, moment: Moment) -> float:
        """Return the footage since the look before, seconds; of a new segment's first look nothing is known."""
        before = self._newest
        if before is None or before.segment != moment.segment:
            return 0.0
        return min(max(0.0, moment.pts_seconds - before.pts_seconds), MOST_STEP_SECONDS)

    def _judge(self, look: Look, moment: Moment, step: float, marked_share: float) -> list[TamperTransition]:
        """Hand the look to the operators in their order, and to the usual picture if none takes offence."""
        usual, found = self._usual, []
        changed = self._frozen.push(look, step, usual.grey if usual.is_known else None)
        found += self._follow(TamperKind.FROZEN, self._frozen, moment, changed, suspect=self._frozen.is_repeat)
        changed = self._corrupt.push(look, step, marked_share)
        found += self._follow(TamperKind.CORRUPT, self._corrupt, moment, changed, suspect=self._corrupt.is_suspect)
        if self._frozen.is_open or self._corrupt.is_suspect:
            return found
        changed = self._obscured.push(look, step, usual)
        kind = self._obscured.kind
        found += self._follow(kind, self._obscured, moment, changed, suspect=self._obscured.is_suspect)
        if self._obscured.is_suspect:
            return found
        changed = self._moved.push(look, step, usual)
        found += self._follow(TamperKind.MOVED, self._moved, moment, changed, suspect=self._moved.is_suspect)
        if not self._moved.is_suspect:
            usual.learn(look, step, slowly=self._moved.is_unlike or self._obscured.is_unlike)
        return found

    def _follow(
        self,
        kind: TamperKind,
        operator: Frozen | Corrupt | Obscured | Moved,
        moment: Moment,
        changed: bool,
        *,
        suspect: bool,
    ) -> list[TamperTransition]:
        """Remember since when an operator is suspicious, and return the begin or end that it reports."""
        key = TamperKind.COVERED if kind in OBSCURED_KINDS else kind
        if suspect or changed:
            self._since.setdefault(key, moment)
        else:
            self._since.pop(key, None)
        if not changed:
            return []
        if not operator.is_open:
            self._since.pop(key, None)
            return [self._end(kind, moment, CLEARED)]
        first = self._since[key]
        self._open[kind] = _Open(first)
        return [TamperTransition(self._camera, kind, first, moment, operator.measure, operator.threshold)]

    def _adopt(self, moment: Moment) -> list[TamperTransition]:
        """End what has lasted so long that it is usual now, and learn the picture afresh."""
        limits = {TamperKind.MOVED: ADOPT_VIEW_SECONDS, **dict.fromkeys(OBSCURED_KINDS, ADOPT_OBSCURED_SECONDS)}
        over = [kind for kind, one in self._open.items() if one.lasted_seconds >= limits.get(kind, float("inf"))]
        found = [self._end(kind, moment, ADOPTED) for kind in over]
        if over:
            self._usual.forget()
        return found

    def _end(self, kind: TamperKind, moment: Moment, reason: str) -> TamperTransition:
        operator = self._operator(kind)
        ended = TamperTransition(
            self._camera, kind, self._open.pop(kind).first, moment, operator.measure, operator.threshold, reason
        )
        if reason != CLEARED:
            operator.close()
        return ended

    def _operator(self, kind: TamperKind) -> Frozen | Corrupt | Obscured | Moved:
        if kind in OBSCURED_KINDS:
            return self._obscured
        if kind is TamperKind.MOVED:
            return self._moved
        return self._frozen if kind is TamperKind.FROZEN else self._corrupt
