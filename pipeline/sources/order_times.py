"""Times of pictures by their order, for films whose container does not state when each picture is shown.

AVI and ASF have no presentation times, MPEG program streams have some, and a bare stream that was copied into another
container often has the times of decoding in their stead. FFmpeg then makes up presentation times, which do not advance
where pictures wait for others (B frames). But a decoder gives its pictures in the order in which they are shown, so
that the n-th picture is shown at the n-th time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice, pairwise, takewhile

import av
import av.container
import numpy as np
import numpy.typing as npt

from pipeline.sources.hidden_pictures import ShownPackets

#: FFmpeg's options by which packets have the container's own times and no others; PyAV asks for made-up ones by itself.
OWN_TIMES = {"fflags": "+nofillin-genpts"}

#: Number of packets by which a film is judged whose container states times for all packets or for none.
_JUDGED_PACKETS = 64

#: Containers that may state a time for some pictures and not for others.
_STATE_SOME = frozenset({"mpeg", "mpegts"})

#: In these even a stream that looks as if no picture waits for another one may have B frames later on.
_REORDERING_CODECS = frozenset({"h264", "hevc", "vvc"})

#: Between two stated times so far apart for each picture between them there is a pause, not a slow film. Seconds.
_LONGEST_STEP_SECONDS = 1.0

#: How far FFmpeg's times may be from the order's and still be believed, pictures.
_TOLERANCE_PICTURES = 2.0

#: So much of a step two steps may differ by the rounding of times.
_CLEARLY_UNEVEN = 0.125

#: Number of pictures within which a stated time is looked for.
LOOK_PICTURES = 64

#: Opens the film with these options of FFmpeg.
OpenFilm = Callable[[Mapping[str, str]], tuple[av.container.InputContainer, av.VideoStream]]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OrderTimes:
    """Times of a film's pictures in the order of showing, by its packets in the order of decoding.

    Attributes:
        times: float64 (pictures,), seconds: when the n-th picture is shown. It falls only where the clock was set back.
        places: int64 (packets,), number of pictures that the packets before each one hold.
        stated: float64 (packets,), seconds: when the container says that the packet's picture is shown; NaN where it
            does not say, or where that is not to be believed.
        one_packet_each: whether it is certain that each picture has a packet of its own; a parser that cuts a stream
            into packets makes two of a picture that is sent as two fields.
    """

    times: Floats
    places: npt.NDArray[np.int64]
    stated: Floats
    one_packet_each: bool

    @property
    def has_one_clock(self) -> bool:
        """Return whether the clock was never set back."""
        return bool((np.diff(self.times) >= 0).all())


@dataclass(frozen=True, slots=True)
class _Packets:
    """Times of the packets in the order of decoding, ticks of the stream's clock; NaN where there is none."""

    pts: Floats
    dts: Floats
    is_key: npt.NDArray[np.bool_]
    is_shown: npt.NDArray[np.bool_]


def order_times(open_film: OpenFilm, is_stopped: Callable[[], bool] = lambda: False) -> OrderTimes | None:
    """Return the times of the film's pictures by their order; None where those that FFmpeg gives are right.

    Most films are judged by their first packets. Where times are missing or wrong, and with MPEG streams, all packets
    are read.

    Args:
        open_film: opens the film with these options of FFmpeg.
        is_stopped: called now and then; once it is true, the result does not matter any more.
    """
    container, stream = open_film(OWN_TIMES)
    with closing(container):
        codec, can_state_some = stream.codec_context.name, container.format.name in _STATE_SOME
        may_reorder = stream.codec_context.has_b_frames or codec in _REORDERING_CODECS
        if not (may_reorder or can_state_some) or not stream.time_base:
            return None
        reading = takewhile(lambda _row: not is_stopped(), _read(container, stream))
        rows = list(islice(reading, None if can_state_some else _JUDGED_PACKETS))
        head = _table(rows)
        is_missing = np.isnan(head.pts)
        if not rows or (is_missing.all() and np.isnan(head.dts).all()):
            return None  # bare pictures without any time
        is_decoding_order = may_reorder and not is_missing.any() and bool((np.diff(head.pts) >= 0).all())
        if not is_missing.any() and not is_decoding_order:
            return None
        beginning = _beginning(open_film)
        if not is_missing.any() and not beginning.falls:
            return None
        packets = _table([*rows, *reading])
        packets.is_shown[beginning.without_picture] = False
        if is_decoding_order:
            packets = _Packets(np.full(len(packets.pts), np.nan), packets.pts, packets.is_key, packets.is_shown)
        packets = _times_where_they_belong(packets)
        tick = float(stream.time_base)
        period = 1 / float(stream.average_rate or stream.guessed_rate or 25) / tick
        shown = _shown(packets)
        ticks = in_order(shown.pts, shown.dts, shown.is_key, period=period, longest_step=_LONGEST_STEP_SECONDS / tick)
        if not np.isnan(shown.pts).all() and _agrees(open_film, ticks):
            return None
        numerator, denominator = stream.time_base.numerator, stream.time_base.denominator
        return OrderTimes(
            times=ticks * numerator / denominator,
            places=np.cumsum(packets.is_shown) - packets.is_shown,
            stated=packets.pts * numerator / denominator,
            one_packet_each=not can_state_some,
        )


def in_order(pts: Floats, dts: Floats, is_key: npt.NDArray[np.bool_], *, period: float, longest_step: float) -> Floats:
    """Return when the n-th picture is shown, float64 (n,), from the times of the packets in the order of decoding.

    Pictures are shown as they are decoded, only later: all by the same time, which the first key picture states. Where
    a time of decoding is missing, it lies evenly between those that are stated. Any unit of time.

    Args:
        pts, dts: (n,), when each packet is shown and decoded; NaN where that is not stated.
        is_key: (n,), whether the packet is a key picture.
        period: of a picture, for packets behind the last stated time and before the first.
        longest_step: a longer time from picture to picture is a pause.
    """
    decoded = _filled(dts, period, longest_step)
    times = decoded.astype(np.float64)
    borders = [0, *(np.flatnonzero(np.diff(decoded) < 0) + 1), len(decoded)]  # where the clock was set back
    for begin, end in pairwise(borders):
        run = slice(begin, end)
        telling = np.flatnonzero(is_key[run] & ~np.isnan(pts[run]) & ~np.isnan(dts[run]))
        if len(telling):
            times[run] += pts[run][telling[0]] - dts[run][telling[0]]
    return times


def _filled(dts: Floats, period: float, longest_step: float) -> Floats:
    known = np.flatnonzero(~np.isnan(dts))
    if not len(known):
        return np.arange(len(dts), dtype=np.float64) * period
    filled = dts.copy()
    first, last = known[0], known[-1]
    filled[:first] = dts[first] - np.arange(first, 0, -1) * period
    filled[last:] = dts[last] + np.arange(len(dts) - last) * period
    for begin, end in pairwise(known):
        if end - begin > 1:
            step = (dts[end] - dts[begin]) / (end - begin)
            step = step if 0 <= step <= longest_step else period
            filled[begin:end] = dts[begin] + np.arange(end - begin) * step
    return filled


def _times_where_they_belong(packets: _Packets) -> _Packets:
    """Return the packets with each time at one packet: the one that begins in the block that states it.

    A parser that cuts a stream into pictures gives the time of a block to the picture that ends in it as well as to
    the one that begins there, or now and then to the first of these alone.
    """
    repeated = np.append(packets.dts[:-1] == packets.dts[1:], False)  # NaN equals nothing
    pts, dts = packets.pts.copy(), packets.dts.copy()
    pts[repeated] = dts[repeated] = np.nan
    for early in taken_too_early(dts):
        pts[early + 1], dts[early + 1] = pts[early], dts[early]
        pts[early] = dts[early] = np.nan
    return _Packets(pts, dts, packets.is_key, packets.is_shown)


def taken_too_early(dts: Floats) -> list[int]:
    """Return the packets whose time is that of the next one, which has none: with it there, the steps are even.

    Args:
        dts: (n,), times of decoding, rising; NaN where there is none. Any unit of time.
    """
    known = np.flatnonzero(~np.isnan(dts))
    found: list[int] = []
    for before, here, behind in zip(known, known[1:], known[2:], strict=False):
        if behind == here + 1:  # the next one has a time of its own
            continue
        left, right = dts[here] - dts[before], dts[behind] - dts[here]
        uneven = left / (here - before) - right / (behind - here)
        if_moved = left / (here + 1 - before) - right / (behind - here - 1)
        step = (left + right) / (behind - before)
        if uneven > step * _CLEARLY_UNEVEN and abs(if_moved) < uneven / 4:
            found.append(int(here))
    return found


Row = tuple[float, float, bool, bool]


def _read(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[Row]:
    """Yield PTS, DTS, whether it is a key picture and whether one is shown, of each packet that can be read."""
    shown = ShownPackets(stream.codec_context.name, stream.codec_context.extradata)
    with suppress(av.FFmpegError):
        for packet in container.demux(stream):
            if is_picture(packet):
                pts = float("nan") if packet.pts is None else float(packet.pts)
                dts = float("nan") if packet.dts is None else float(packet.dts)
                yield pts, dts, packet.is_keyframe, shown.shows(packet)


def is_picture(packet: av.Packet[av.VideoStream]) -> bool:
    """Return whether a packet is one of the film's: not the end's, nor one that an edit list hides."""
    return bool(packet.size) and not packet.is_discard


def _table(rows: list[Row]) -> _Packets:
    pts, dts, is_key, is_shown = zip(*rows, strict=True) if rows else ((), (), (), ())
    return _Packets(
        np.array(pts, np.float64), np.array(dts, np.float64), np.array(is_key, np.bool_), np.array(is_shown, np.bool_)
    )


def _shown(packets: _Packets) -> _Packets:
    """Return the packets of which a picture is shown."""
    chosen = packets.is_shown
    return _Packets(packets.pts[chosen], packets.dts[chosen], packets.is_key[chosen], packets.is_shown[chosen])


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first packets, decoded.

    Attributes:
        falls: whether the pictures, as they are shown, have times that fall: those are the times of decoding.
        without_picture: ordinals of packets that came to nothing: pictures that lead up to the first key picture from
            a group that is not there.
    """

    falls: bool
    without_picture: list[int]


def _beginning(open_film: OpenFilm) -> _Beginning:
    container, stream = open_film(OWN_TIMES)
    stamps: list[int | None] = []
    shown: list[int] = []
    is_whole = True
    with closing(container), suppress(av.FFmpegError):
        for packet in takewhile(lambda _packet: len(stamps) < _JUDGED_PACKETS, container.demux(stream)):
            if is_picture(packet):
                stamps.append(packet.pts)
            packet.pts = len(stamps) - 1 if is_picture(packet) else None  # goes through the decoder
            try:
                shown += [picture.pts for picture in packet.decode() if picture.pts is not None]
            except av.FFmpegError:
                is_whole = False
        shown += [picture.pts for picture in stream.codec_context.decode(None) if picture.pts is not None]
    times = [time for ordinal in shown if (time := stamps[ordinal]) is not None]
    # The last ones may wait for others that were not read.
    over = range(len(stamps) if len(stamps) < _JUDGED_PACKETS else _JUDGED_PACKETS // 2)
    return _Beginning(
        falls=any(later < earlier for earlier, later in pairwise(times)),
        without_picture=sorted(set(over) - set(shown)) if is_whole else [],
    )


def _agrees(open_film: OpenFilm, ticks: Floats) -> bool:
    """Return whether the times that FFmpeg fills in are all different, and about those of the order."""
    container, stream = open_film({})
    with closing(container):
        filled = _shown(_table(list(_read(container, stream)))).pts
    if len(filled) != len(ticks) or np.isnan(filled).any():
        return False
    filled, ticks = np.sort(filled), np.sort(ticks)
    steps = np.diff(filled)
    return bool((steps > 0).all() and np.abs(filled - ticks).max() <= _TOLERANCE_PICTURES * np.median(steps))
