"""Kinds of tampering, and the begin and end of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class TamperKind(StrEnum):
    """Kinds of tampering."""

    FROZEN = "frozen"  #: frames arrive, and the picture stands still
    CORRUPT = "corrupt"  #: damaged pictures: lost packets, grey or green areas, smeared rows
    COVERED = "covered"  #: the scene's structure is gone: hand, cloth, paint, or no light at all
    BLINDED = "blinded"  #: the same in a bright picture: a lamp in the lens
    DEFOCUSED = "defocused"  #: light and dark are in their places, and edges are gone
    MOVED = "moved"  #: another view, for good


ALL_KINDS = frozenset(TamperKind)

#: Kinds of one operator, named by the picture of the begin: only one of them is open at a time.
OBSCURED_KINDS = frozenset({TamperKind.COVERED, TamperKind.BLINDED, TamperKind.DEFOCUSED})

# Reasons of an end.
CLEARED = "cleared"  #: the usual picture is back
ADOPTED = "adopted"  #: the new picture has lasted so long that it is the usual one from now on


@dataclass(frozen=True, slots=True)
class Moment:
    """Place of a picture in time.

    Attributes:
        pts_seconds: on the clock of the segment.
        taken_at: wall-clock time (UTC); None where it is unknown.
    """

    segment: str
    pts_seconds: float
    taken_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TamperTransition:
    """The begin or the end of one tampering.

    Attributes:
        first: the first picture that showed it; the begin is reported later, see ``last``.
        last: the picture at which the transition was decided.
        measure: the operator's measure there; its meaning is that of the operator.
        threshold: the measure had to pass this for a begin.
        end_reason: ``cleared``, ``adopted`` or the reason given to ``close``; None for the begin.
    """

    camera: str
    kind: TamperKind
    first: Moment
    last: Moment
    measure: float
    threshold: float
    end_reason: str | None = None
