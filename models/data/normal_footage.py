"""Normal footage of one camera: its films in order, on one clock, in pieces of which some are held back.

The clock of the footage starts at 0 and runs through the films one after another, without the time between them. It
stands still while a film's own clock jumps ahead, in a pause of the recording. A piece is a stretch of it. Pieces are
held back evenly over the whole footage, because a camera's day changes: the last fifth of it would say nothing about
the morning.

Footage that is added to what a detector has learned has an earlier part (:mod:`models.data.kept_clips`), whose films
may be gone. Clock, films and pieces are those of the added films alone.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.errors import UsageError
from pipeline.sources.archive import BY_NAMES, CameraFiles, cameras_of
from pipeline.sources.base import FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.files import FileSource
from pipeline.sources.film_files import PassedOver, films_below
from pipeline.sources.recordings import Recording
from pipeline.sources.scale import upright
from pipeline.sources.timeline import BACKWARD_LIMIT_SECONDS, FORWARD_LIMIT_PERIODS, FORWARD_LIMIT_SECONDS
from pipeline.windows import ClipSpec, cut

if TYPE_CHECKING:
    from models.data.kept_clips import KeptClips

#: Length of a piece: a twentieth of the footage within these bounds, seconds.
_PIECE_SECONDS = (2.0, 60.0)
_PIECES = 20
#: Times closer to a border than this are at it, whatever sums of times round to.
_TIE_SECONDS = 1e-6
#: Least clips that are learned from, and held back, for a fit that means anything.
LEAST_CLIPS = 40
#: Number of cameras that an error names.
_NAMED = 5
_MOMENT = re.compile(r"(?:(?:\d+:)?\d+:)?\d+(?:\.\d+)?")
_BARELY_SCALED = FrameSpec(16, 16)
#: Pictures over which a rate is measured: seconds, so that the jitter of single pictures does not count.
_RATE_PICTURES = 100
#: A rate may be off a multiple of the clips' rate by this many pictures: then a twentieth of the clips have another
#: gap between two pictures.
_UNEVEN_PICTURES = 0.05
#: Share of the footage's pictures that may come at other rates.
_UNEVEN_SHARE = 0.05


class FootageError(UsageError):
    """Footage cannot be learned from. One line that names it."""


class Stretch(NamedTuple):
    """A stretch of the footage, seconds of its clock; it ends before ``end``."""

    start: float
    end: float

    def meets(self, start: float, end: float) -> bool:
        """Return whether any moment of start…end lies in it."""
        return self.start < end and start < self.end


class Pause(NamedTuple):
    """A jump ahead of a film's own clock.

    Attributes:
        end: time of the first picture after it, seconds of the film's own clock.
        seconds: its length.
    """

    end: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Film:
    """One film of the footage.

    Attributes:
        content: hash of its content.
        start: of its first picture, seconds of the footage's clock.
        seconds: its length without pauses.
        origin: time of its first picture, seconds of its own clock.
        rates: pictures a second, of each hundred pictures or so.
        height, width: of its pictures as people see them, pixels.
        pauses: in their order.
    """

    path: Path
    content: str
    start: float
    seconds: float
    origin: float
    rates: tuple[float, ...]
    height: int
    width: int
    pauses: tuple[Pause, ...] = ()

    @property
    def rate(self) -> float:
        """Pictures a second, in most of the film."""
        return float(np.median(self.rates))

    def at(self, own: float) -> float:
        """Return the moment of the footage's clock at a time of the film's own clock, seconds."""
        return self.start + own - self.origin - sum(pause.seconds for pause in self.pauses if pause.end <= own)

    def since_start(self, moment: float) -> float:
        """Return the seconds since the film's first picture, pauses included, at a moment of the footage's clock."""
        since = moment - self.start
        for pause in self.pauses:
            if since + self.origin + pause.seconds >= pause.end:
                since += pause.seconds
        return since


class Shown(Protocol):
    """The pictures of a clip, as :class:`pipeline.windows.ClipWindow` has them."""

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """uint8 (T, H, W, 3) RGB."""
        ...


class PlacedClip(NamedTuple):
    """A clip with its place in the footage.

    Attributes:
        film: ordinal of its film; -1 in the earlier part.
        start, end: seconds of the footage's clock; 0 in the earlier part.
        piece: ordinal of its piece; below 0 in the earlier part.
        run: ordinal of the unbroken run of clips that it belongs to, within its piece; below 0 in the earlier part.
        held_back: its piece is not learned from.
    """

    film: int
    start: float
    end: float
    piece: int
    run: int
    held_back: bool
    window: Shown


@dataclass(frozen=True, slots=True)
class NormalFootage:
    """The footage.

    Attributes:
        seconds: its length, or the part of it that is used, from the start.
        hold_out: share of the pieces that is held back.
        excluded: stretches that are not used.
        earlier: what is kept of the footage to which this one is added; None where nothing was learned before.
    """

    camera: str
    films: tuple[Film, ...]
    seconds: float
    hold_out: float
    excluded: tuple[Stretch, ...] = ()
    earlier: KeptClips | None = None

    @property
    def piece_seconds(self) -> float:
        """Length of a piece."""
        least, most = _PIECE_SECONDS
        return min(max(self.seconds / _PIECES, least), most)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that its clips depend on, beside their cutting; plain JSON."""
        return {
            "films": [film.content for film in self._used],
            "seconds": self.seconds,
            "hold_out": self.hold_out,
            "excluded": [list(one) for one in self.excluded],
            **({} if self.earlier is None else {"earlier": self.earlier.identity}),
        }

    @property
    def shows_one_scene(self) -> bool:
        """Return whether all of it must be one view."""
        return True

    def is_held_back(self, piece: int) -> bool:
        """Return whether a piece is held back: so many of any stretch of pieces as the share says."""
        return self._held_back_before(piece + 1) > self._held_back_before(piece)

    def ordinal_of_kind(self, piece: int) -> int:
        """Return the ordinal of a piece among those that are held back, or among those that are not, as it is."""
        held_back = self._held_back_before(piece)
        return held_back if self.is_held_back(piece) else piece - held_back

    def lengths(self) -> tuple[float, float]:
        """Return the seconds that are learned from, and those that are held back; excluded ones are in neither."""
        pieces = (piece * self.piece_seconds for piece in range(math.ceil(self.seconds / self.piece_seconds)))
        borders = {*pieces, self.seconds, *(min(moment, self.seconds) for one in self.excluded for moment in one)}
        found = [0.0, 0.0]
        for start, end in pairwise(sorted(borders)):
            if not any(one.meets(start, end) for one in self.excluded):
                found[self.is_held_back(int((start + _TIE_SECONDS) / self.piece_seconds))] += end - start
        return found[0], found[1]

    def lengths_with_earlier(self) -> tuple[float, float]:
        """Return the seconds that are learned from, and those that are held back, of the earlier part as well."""
        learned, held_back = self.lengths()
        if self.earlier is None:
            return learned, held_back
        return self.earlier.learned_seconds + learned, self.earlier.held_back_seconds + held_back

    def _held_back_before(self, piece: int) -> int:
        # Rounded, as 0.2 · 15 is 3 + 4e-16.
        return int(round(piece * self.hold_out, 9))

    def even_rate(self, least: float) -> float:
        """Return a rate at which clips of all footage have the same time between two pictures.

        It is that of the slowest film over a whole number, as low as ``least`` allows, a slower film's own. The
        footage's rates are multiples of it: at any other rate, the gaps between two pictures of a clip would
        alternate, and things would seem to move slowly and fast in turn.

        Args:
            least: pictures a second.

        Raises:
            FootageError: the films, or parts of them, share no such rate.
        """
        slowest = min(film.rate for film in self._used)
        # A little is added, as the rate of a camera of 30 pictures a second may be measured as 29.99.
        for every in range(max(1, int(slowest / least + 0.01)), 0, -1):
            if self._comes_at(slowest / every):
                # To 6 digits, not places: a slow camera's rate is far below 1.
                return float(f"{slowest / every:.6g}")
        raise FootageError(
            f"camera {self.camera}: the pictures come at rates without a common part (got {_differing(self._used)}); "
            "expected one rate, or multiples of one; use films of one rate, and cut a film where its rate changes"
        )

    def check_rate(self, fps: float) -> None:
        """Check that its rates are multiples of the rate of clips that were learned before.

        Raises:
            FootageError: they are not.
        """
        if not self._comes_at(fps):
            raise FootageError(
                f"camera {self.camera}: its pictures come at another rate than in the footage learned before (got "
                f"{_differing(self._used)}); expected {fps:g} a second or a multiple; set the camera to the earlier "
                "rate, or learn all footage into another folder"
            )

    @property
    def _used(self) -> list[Film]:
        return [film for film in self.films if film.start < self.seconds]

    def _comes_at(self, fps: float) -> bool:
        """Return whether nearly all pictures come at multiples of a rate."""
        pictures = np.array([rate for film in self._used for rate in film.rates]) / fps
        uneven = np.abs(pictures - np.maximum(np.rint(pictures), 1)) > _UNEVEN_PICTURES
        return bool(uneven.mean() <= _UNEVEN_SHARE)

    def check_spacing(self, fps: float, frames: int) -> None:
        """Check that clips of so many frames, at a rate, fit into a piece of the greatest length.

        Raises:
            FootageError: they are longer.
        """
        longest = _PIECE_SECONDS[1]
        if round(frames / fps, 2) > longest:
            raise FootageError(
                f"camera {self.camera}: its pictures come too seldom to compare them (got one in {1 / fps:.5g} s); "
                f"expected at least {frames} in {longest:g} s; set the camera to a higher rate"
            )

    def check_enough(self, learned: int, held_back: int) -> None:
        """Check the numbers of clips that can be learned from and held back.

        Raises:
            FootageError: either is below :data:`LEAST_CLIPS`.
        """
        if min(learned, held_back) < LEAST_CLIPS:
            raise FootageError(
                f"camera {self.camera}: the footage is too short to hold any of it back (got {self.seconds:.0f} s, "
                f"{learned} clips to learn from and {held_back} held back); expected at least {LEAST_CLIPS} of each: "
                "use longer footage"
            )

    def clips(self, spec: ClipSpec, report: Callable[[str], None] | None = None) -> Iterator[PlacedClip]:
        """Yield the clips in order; none of them spans two pieces or meets an excluded stretch.

        Args:
            report: called with a line for each film that is damaged or has several video streams.

        Raises:
            FootageError: the pictures of a film change their size.
            SourceError: a film cannot be read.
        """
        run = -1
        last: tuple[int, str, int] | None = None
        for ordinal, film in enumerate(self.films):
            if film.start >= self.seconds:
                return
            source = self._open(film, report)
            sizes: set[tuple[int, int]] = set()
            with closing(source.frames([spec.frame_spec], threading.Event())) as frames:  # type: ignore[type-var]
                for window in cut(frames, spec):
                    if isinstance(window, SegmentOver):
                        continue
                    # Not by the reason of a segment's end: where the clock jumps as well, that is the reason.
                    sizes.add((window.middle.width, window.middle.height))
                    if len(sizes) > 1:
                        found = " and ".join(f"{width}×{height}" for width, height in sorted(sizes))
                        raise FootageError(
                            f"{film.path}: its pictures change their size (got {found}); expected one; cut the film, "
                            "or take the odd pictures out"
                        )
                    start = film.at(window.start)
                    end = start + window.end - window.start
                    piece = int((start + _TIE_SECONDS) / self.piece_seconds)
                    # A clip ends with its last picture's duration, which may reach a little into the next piece.
                    if end > self.seconds + 1 / film.rate:
                        break
                    if end > (piece + 1) * self.piece_seconds + _TIE_SECONDS:
                        continue
                    if not any(x.meets(start, end) for x in self.excluded):
                        place = (piece, window.segment.id, window.index)
                        if last is None or place != (*last[:2], last[2] + 1):
                            run += 1
                        last = place
                        yield PlacedClip(ordinal, start, end, piece, run, self.is_held_back(piece), window)

    def _open(self, film: Film, report: Callable[[str], None] | None) -> Recording:
        return FileSource(self.camera, film.path, known_hash=film.content, on_damage=report, on_choice=report)


def read_footage(
    camera: str,
    places: Sequence[Path],
    *,
    hold_out: float,
    minutes: float | None = None,
    excluded: Sequence[Stretch] = (),
    passed_over: PassedOver | None = None,
) -> NormalFootage:
    """Return the footage at ``places``; of each film one picture is decoded.

    Args:
        places: films, and folders of films, in order. The films of a folder come in the order of the times in their
            names, or of the names.
        minutes: use only so much, from the start.
        passed_over: receives the files in folders that are not films.

    Raises:
        FootageError: a place is missing or holds no film, names state several cameras, films differ in their size, a
            film's clock goes back, or a stretch lies outside the footage.
        SourceError: a film cannot be read.
    """
    films: list[Film] = []
    for path in _films(places, passed_over if passed_over is not None else PassedOver()):
        film = _read_film(camera, path, sum(one.seconds for one in films))
        first = films[0] if films else film
        if (film.height, film.width) != (first.height, first.width):
            raise FootageError(
                f"{path}: pictures of {film.width}×{film.height}, and those of {first.path} have "
                f"{first.width}×{first.height}; expected the films of one camera with one size"
            )
        if any(one.content == film.content for one in films):
            raise FootageError(f"{path}: a copy of another film of the footage; name each film once")
        films.append(film)
    whole = sum(film.seconds for film in films)
    for stretch in excluded:
        if stretch.start >= whole:
            raise FootageError(
                f"--exclude {clock(stretch.start)}-{clock(stretch.end)}: the footage ends at {clock(whole)}"
            )
    seconds = whole if minutes is None else min(whole, 60 * minutes)
    return NormalFootage(camera, tuple(films), seconds, hold_out, tuple(excluded))


def clock(seconds: float) -> str:
    """Return a moment of the footage as people read it, rounded down to seconds.

    >>> clock(3725.9)
    '1:02:05'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def parse_stretch(text: str) -> Stretch:
    """Parse ``FROM-TO``, moments of the footage's clock: ``90-95``, ``1:30-1:35`` or ``0:01:30-0:01:35``.

    >>> parse_stretch("1:02:05-1:02:10.5")
    Stretch(start=3725.0, end=3730.5)

    Raises:
        FootageError: another form, or an end that is not after its start.
    """
    moments = [_MOMENT.fullmatch(part.strip()) for part in text.split("-")]
    if len(moments) == 2 and all(moments):
        start, end = (
            sum(float(part) * 60**place for place, part in enumerate(reversed(found[0].split(":"))))
            for found in moments
            if found is not None
        )
        if start < end:
            return Stretch(start, end)
    raise FootageError(f"--exclude {text}: expected FROM-TO on the footage's clock, such as 0:12:30-0:13:05")


def _films(places: Sequence[Path], passed_over: PassedOver) -> list[Path]:
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            try:
                films = list(films_below(place, passed_over))
            except OSError as error:
                raise FootageError(f"{place}: the folder cannot be read: {error.strerror}") from None
            if not films:
                raise FootageError(f"{place}: a folder without videos; expected those of one camera")
            found += films
        elif place.exists():
            found.append(place)
        else:
            # It may be a mistyped address, with a password in it.
            raise FootageError(f"{shown(str(place))}: no such file or folder")
    groups = cameras_of(found, BY_NAMES)
    cameras = [one for one in groups if isinstance(one, CameraFiles)]
    if len(cameras) > 1:
        names = ", ".join(one.camera for one in cameras[:_NAMED]) + ", …" * (len(cameras) > _NAMED)
        raise FootageError(
            f"{places[0]}: the names of these files state {len(cameras)} cameras ({names}); expected the footage of one"
        )
    in_order: list[Path] = []
    for one in groups:
        in_order += [part.path for part in one.parts] if isinstance(one, CameraFiles) else [one]
    return in_order


def _read_film(camera: str, path: Path, start: float) -> Film:
    source = FileSource(camera, path)
    source.check()
    times = source.frame_times()
    with closing(source.frames([_BARELY_SCALED], threading.Event())) as frames:  # type: ignore[type-var]
        first = next(iter(frames))
    steps = np.diff(times)
    period = float(np.median(steps)) if len(steps) else 0.0
    if isinstance(first, SegmentOver) or not period > 0:
        raise SourceError(
            f"{path}: {len(times)} pictures, with times that do not rise; expected a film", code="not_a_video"
        )
    back = np.maximum.accumulate(times) - times
    if back.max() > BACKWARD_LIMIT_SECONDS:
        at = int(np.argmax(back > BACKWARD_LIMIT_SECONDS))
        raise FootageError(
            f"{path}: its clock goes back by {back[at]:.1f} s, {clock(times[at - 1] - times[0])} after its start; "
            "expected one that runs on; cut the film there"
        )
    shown = upright(first.native)
    jumps = np.flatnonzero(steps > max(FORWARD_LIMIT_SECONDS, FORWARD_LIMIT_PERIODS * period))
    # The picture before a pause is shown for a period.
    pauses = tuple(Pause(float(times[at + 1]), float(steps[at]) - period) for at in jumps)
    return Film(
        path=path,
        content=source.content_hash,
        start=start,
        seconds=float(times[-1] - times[0]) + period - sum(pause.seconds for pause in pauses),
        origin=float(times[0]),
        rates=_rates(steps),
        height=shown.height,
        width=shown.width,
        pauses=pauses,
    )


def _differing(films: Sequence[Film]) -> str:
    """Return the rates of two films for an error, or those within the film whose rate changes most."""
    most = max(films, key=lambda film: max(film.rates) / min(film.rates))
    slowest, fastest = (choose(films, key=lambda film: film.rate) for choose in (min, max))
    if max(most.rates) / min(most.rates) > fastest.rate / slowest.rate:
        return f"{min(most.rates):.3g} to {max(most.rates):.3g} a second within {most.path}"
    return f"{slowest.rate:.3g} a second in {slowest.path}, {fastest.rate:.3g} in {fastest.path}"


def _rates(steps: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Return the rate of each hundred pictures or so, from the times between them, seconds; one of them above 0."""
    rising = steps[steps > 0]
    rates = []
    for part in np.array_split(rising, max(1, len(rising) // _RATE_PICTURES)):
        median = np.median(part)
        usual = part[np.abs(part - median) <= 0.5 * median]  # not those of lost pictures
        rates.append(1 / float(usual.mean()) if len(usual) else 1 / float(median))
    return tuple(rates)
