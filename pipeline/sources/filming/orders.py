"""Orders of films of a camera's stream, and the reports on them: what the worker and a decoder process exchange."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class RingLimits:
    """Limits of the packets that a camera keeps for its films.

    Attributes:
        most_bytes: of the packets of a camera.
        most_seconds: packets that are older are not needed; their group of pictures is kept until all of it is.
    """

    most_bytes: int
    most_seconds: float


@dataclass(frozen=True, slots=True)
class FilmOrder:
    """A film that is to be made.

    Attributes:
        number: names the film in its reports; it rises with each order of a camera.
        segment: id of the segment in which the alert began.
        starts_at: PTS of the alert's first frame, seconds on the segment's clock.
        pre_roll_seconds: film that is wanted before it.
        post_roll_seconds: film that is wanted after the end, which is given later.
        most_seconds: longest film, counted from the wanted start.
        most_bytes: largest film.
    """

    number: int
    segment: str
    starts_at: float
    pre_roll_seconds: float
    post_roll_seconds: float
    most_seconds: float
    most_bytes: int


@dataclass(frozen=True, slots=True)
class FilmEnd:
    """The end of the alert of a film that is being made: the same numbers as in its order."""

    number: int
    segment: str
    ends_at: float


class FilmState(StrEnum):
    """The state of a film, as its reports have it."""

    BEGUN = "begun"  #: its first picture is known
    DONE = "done"  #: it is written
    FAILED = "failed"  #: it is not, and never will be


class FilmProblem(StrEnum):
    """Why a film failed, or is not complete."""

    CODEC = "codec"  #: the stream is not H.264 or HEVC, or has no times
    FORGOTTEN = "forgotten"  #: the packets are not kept any more: of the pre-roll, or of the whole film
    NO_KEY_FRAME = "no_key_frame"  #: no picture to begin with has come
    STREAM_OVER = "stream_over"  #: the connection, or the stream's clock, ended before the post-roll did
    TOO_LONG = "too_long"  #: the film has its greatest length
    TOO_LARGE = "too_large"  #: it has its greatest size
    TOO_MANY = "too_many"  #: too many films of the camera are being made
    DISK = "disk"  #: it cannot be written
    STOPPED = "stopped"  #: the camera was stopped
    DECODER = "decoder_crashed"  #: the process that made it has ended
    ERROR = "error"  #: the packets cannot be put into a film


@dataclass(frozen=True, slots=True)
class FilmReport:
    """The state of a film.

    Attributes:
        lead_seconds: time from the film's first picture to the alert's first frame; below 0 where the film begins
            later. None where the film has failed.
        seconds: length of the film when it is done, else None.
        problem: why it failed, or what it lacks; None: nothing.
        details: one line for the log on a problem; else empty.
    """

    camera: str
    number: int
    state: FilmState
    lead_seconds: float | None = None
    seconds: float | None = None
    problem: FilmProblem | None = None
    details: str = ""


@runtime_checkable
class FilmingSource(Protocol):
    """A source that can make films of its stream. Both methods return at once, and may be called by any thread.

    Attributes:
        live: a film goes on while the camera does; that of a recording is there soon after its alert's end.
    """

    live: bool

    def begin_film(self, order: FilmOrder, descriptor: int) -> None:
        """Begin a film; its reports come by the callback ``on_film``, also when it fails at once.

        Args:
            descriptor: of the file to write to, which stays the caller's to close.
        """
        ...

    def end_film(self, end: FilmEnd) -> None:
        """Let a film go on until the post-roll after this; unknown numbers are left out."""
        ...
