"""Devices that decode video (a GPU, for example), as far as FFmpeg can use them here.

Only live cameras are decoded by a device: the times of a damaged recording follow the errors of FFmpeg's own decoders.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import NamedTuple

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel, hwdevices_available

#: The codec of nearly all cameras: a device that does not decode it is of no use.
_PROBED_CODEC = "h264"


class Hwaccel(StrEnum):
    """The settings for decoding by a device."""

    AUTO = "auto"  #: where a device exists; else, and where it fails, in software
    OFF = "off"


class FoundDevice(NamedTuple):
    """The result of looking for a device.

    Attributes:
        kind: its kind, as FFmpeg names it, such as ``cuda`` or ``vaapi``; None where none can be used.
        why: why none can be used, for an operator; else empty.
    """

    kind: str | None
    why: str = ""


@cache
def find_device() -> FoundDevice:
    """Look for a device once in a process; the first of FFmpeg's list that can be opened counts."""
    problems = []
    for kind in hwdevices_available():
        problem = why_unusable(kind)
        if problem is None:
            return FoundDevice(kind)
        problems.append(f"{kind}: {problem}")
    return FoundDevice(None, "; ".join(problems) or "FFmpeg was built without any")


def why_unusable(kind: str) -> str | None:
    """Open a device of this kind and close it again; return why that failed, None where it did not."""
    try:
        HWAccel(kind).create(Codec(_PROBED_CODEC, "r"))
    except NotImplementedError:
        return f"does not decode {_PROBED_CODEC} in this FFmpeg"
    except av.FFmpegError as error:
        return f"cannot be opened ({error.strerror})"
    return None
