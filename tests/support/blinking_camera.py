"""A live source that raises alert after alert: bright and dark in turns, without a decoder or a network."""

from __future__ import annotations

import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from urllib.parse import parse_qsl, urlsplit

import av
import numpy as np

from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver
from pipeline.sources.decode import FramePump, received

SCHEME = "blink://"
FPS = 20.0
BRIGHT, DARK = (235, 235, 235), (40, 40, 40)
#: Colours that brightness_model.py obeys: a clip of 200 ms, and a clip whose score is NaN.
SLOW, NAN = (20, 40, 0), (40, 40, 255)


class BlinkingCamera:
    """A camera at ``blink://?bright=0.4&dark=0.4``: seconds of each, over and over, in a phase of the camera's own.

    ``slow=2-5`` and ``nan=2-5`` give the seconds since the start in which the model is slow on its clips, or answers
    NaN.
    """

    live = True

    def __init__(self, camera: str, location: str) -> None:
        self.camera = camera
        asked = dict(parse_qsl(urlsplit(location).query))
        self._bright, self._dark = float(asked.get("bright", 0.4)), float(asked.get("dark", 0.4))
        self._spells = [
            (colour, *map(float, asked[name].split("-")))
            for name, colour in (("slow", SLOW), ("nan", NAN))
            if name in asked
        ]
        self._phase = zlib.crc32(camera.encode()) % 1000 / 1000 * (self._bright + self._dark)

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`."""
        connection = uuid.uuid4().hex
        pump = FramePump(
            self.camera,
            live=True,
            specs=specs,
            segment_id=lambda ordinal: f"{self.camera}/{connection}/{ordinal}",
            wall_clock=received,
        )
        began, number = time.monotonic(), 0
        while not stop.wait(max(0.0, began + number / FPS - time.monotonic())):
            shown = np.full((48, 64, 3), self._colour(number / FPS), np.uint8)
            picture = av.VideoFrame.from_ndarray(shown, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 1000)
            yield from pump.push(picture, number / FPS)
            number += 1
        yield from pump.end(EndReason.SHUTDOWN)

    def _colour(self, seconds: float) -> tuple[int, int, int]:
        for colour, begin, end in self._spells:
            if begin <= seconds < end:
                return colour
        return BRIGHT if (seconds + self._phase) % (self._bright + self._dark) < self._bright else DARK
