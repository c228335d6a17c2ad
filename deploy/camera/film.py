"""Reading of an H.264 file as the pictures that a camera sends: encoded, in order, each with its time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from deploy.errors import DeployError

#: Ticks a second of the RTP clock of every H.264 stream (RFC 6184, 8.2.1).
CLOCK = 90_000

_KEY, _DELIMITER, _FILLER = 5, 9, 12  # types of NAL units (H.264, table 7-1): slice of an IDR picture, …


class FilmError(DeployError):
    """A file cannot be played as a camera. The text is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture.

    Attributes:
        units: its NAL units, without start codes; never empty.
        ticks: due time, in ticks after the film's first picture.
        key: True if a decoder can begin with it.
    """

    units: tuple[bytes, ...]
    ticks: int
    key: bool


@dataclass(frozen=True, slots=True)
class Film:
    """A whole file, in memory.

    Attributes:
        pictures: at least one, the first of them a key picture, ``ticks`` strictly increasing.
        rate: pictures a second, on average.
        parameter_sets: the sequence and picture parameter sets, in that order. The key pictures contain them as well.
    """

    pictures: tuple[Picture, ...]
    ticks: int
    rate: float
    parameter_sets: tuple[bytes, ...]


def read_film(path: Path) -> Film:
    """Read an H.264 file (mp4, mov or mkv) without B frames.

    Raises:
        FilmError: the file is missing, not H.264, has B frames, or is damaged.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FilmError("holds no video")
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec is None or codec.name != "h264":
                raise FilmError(f"holds {codec.name if codec else 'unknown'} video; expected H.264")
            header = codec.extradata or b""
            if header[:1] != b"\x01":
                raise FilmError("H.264 without a header, as in a transport stream; copy it into an mp4")
            parameter_sets, length_bytes = _header(header)
            pictures: list[Picture] = []
            end = 0
            for packet in container.demux(stream):
                if packet.size == 0:  # marks the end
                    continue
                if packet.pts is None or packet.time_base is None:
                    raise FilmError(f"picture {len(pictures)} has no time")
                ticks = round(packet.pts * packet.time_base * CLOCK)
                if not pictures:
                    origin = ticks
                elif ticks - origin <= pictures[-1].ticks:
                    raise FilmError("has B frames, which a live camera does not send; encode it without (-bf 0)")
                pictures.append(_picture(bytes(packet), ticks - origin, parameter_sets, length_bytes))
                duration = packet.duration or 1 / (stream.average_rate or Fraction(25)) / packet.time_base
                end = ticks - origin + max(1, round(duration * packet.time_base * CLOCK))
    except FileNotFoundError:
        raise FilmError("no such file") from None
    except av.FFmpegError as error:
        raise FilmError(f"cannot be read as a video: {error.strerror}") from None
    except (IndexError, ValueError):
        raise FilmError("damaged: its H.264 cannot be parsed") from None
    if not pictures:
        raise FilmError("holds no picture")
    if not pictures[0].key:
        raise FilmError("does not begin with a key frame (IDR)")
    return Film(tuple(pictures), end, len(pictures) * CLOCK / end, parameter_sets)


def _header(avcc: bytes) -> tuple[tuple[bytes, ...], int]:
    """Return the parameter sets and the size of a unit's length, from an AVCDecoderConfigurationRecord (14496-15)."""
    sets: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):  # first the sequence's, then the pictures'
        count = avcc[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(avcc[at : at + 2])
            sets.append(_slice(avcc, at + 2, size))
            at += 2 + size
    if not sets:
        raise ValueError
    return tuple(sets), (avcc[4] & 0x03) + 1


def _picture(packet: bytes, ticks: int, parameter_sets: tuple[bytes, ...], length_bytes: int) -> Picture:
    units = [unit for unit in _units(packet, length_bytes) if _kind(unit) not in (_DELIMITER, _FILLER)]
    if not units:
        raise ValueError
    key = any(_kind(unit) == _KEY for unit in units)
    if key:  # a client that joins here can decode without the SDP
        units = [*parameter_sets, *(unit for unit in units if unit not in parameter_sets)]
    return Picture(tuple(units), ticks, key)


def _units(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at = 0
    while at < len(packet):
        size = int.from_bytes(packet[at : at + length_bytes])
        yield _slice(packet, at + length_bytes, size)
        at += length_bytes + size


def _slice(data: bytes, at: int, size: int) -> bytes:
    if size == 0 or at + size > len(data):
        raise ValueError
    return data[at : at + size]


def _kind(unit: bytes) -> int:
    return unit[0] & 0x1F
