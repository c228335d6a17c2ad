"""Tampering of one camera: looks from its frames, and the log lines and events that report it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import av
import numpy as np
import numpy.typing as npt

from operators.tamper.kinds import ADOPTED, Moment, TamperKind, TamperTransition
from operators.tamper.look import Look, can_look, look_at
from operators.tamper.machine import TamperMachine
from pipeline import logs
from pipeline.alerts.assembler import PictureStore
from pipeline.alerts.tamper import TamperEvent, tamper_event, tamper_id
from pipeline.sources.base import Frame
from pipeline.sources.scale import upright

_log = logs.get("tamper")

#: Footage from one look to the next, seconds.
LOOK_SECONDS = 1.0
#: Reason of the end of a tampering whose camera is not watched any more: a recording's end, or a stop.
CLOSED = "closed"

# Sums of frame times carry rounding: see operators.alerting.
_TOLERANCE_SECONDS = 1e-6
#: Formats of eight bits whose first plane is luma. Others are converted, which costs about as much as scaling.
_LUMA_FIRST = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_LUMA_ALONE = ("gray", "nv12", "nv21", *_LUMA_FIRST)

_WORDS = {
    TamperKind.FROZEN: "the picture stands still; restart the camera or its recorder",
    TamperKind.CORRUPT: "the pictures are damaged; look at the network and the camera's encoder",
    TamperKind.COVERED: "the lens is covered, or the place is dark; look at the camera",
    TamperKind.BLINDED: "the lens is blinded; look at the camera",
    TamperKind.DEFOCUSED: "the picture is out of focus; look at the lens",
    TamperKind.MOVED: "the camera shows another view; turn it back, or leave it there",
}


@dataclass(frozen=True, slots=True)
class TamperSeen:
    """The begin or the end of a tampering, with the picture that decided it; None where there is none."""

    transition: TamperTransition
    native: av.VideoFrame | None


class TamperWatch:
    """Looks at a camera's frames once a second of its stream; on the camera's thread. Not thread-safe.

    What it knows of the camera outlives connections and picture sizes.
    """

    def __init__(self, camera: str, kinds: Collection[TamperKind], put: Callable[[TamperSeen], None]) -> None:
        """
        Args:
            kinds: to be reported.
            put: takes each begin and end, in order.
        """
        self._machine = TamperMachine(camera, kinds)
        self._put = put
        self._next: tuple[str, float] | None = None  # segment, and PTS from which on the next look is due
        self._frames = self._marked = 0  # since the look before

    def take(self, frame: Frame) -> None:
        """Take the camera's next frame."""
        self._frames += 1
        self._marked += frame.native.is_corrupt
        segment, pts = frame.segment.id, frame.pts_seconds
        if self._next is not None and self._next[0] == segment and pts < self._next[1] - _TOLERANCE_SECONDS:
            return
        try:
            look = look_of(frame.native)
        except av.FFmpegError:  # of a format that it cannot convert; the clips have their own pictures
            return
        if look is None:
            return
        self._next = (segment, pts + LOOK_SECONDS)
        marked, self._frames, self._marked = self._marked / self._frames, 0, 0
        for transition in self._machine.push(look, Moment(segment, pts, frame.taken_at), marked):
            self._put(TamperSeen(transition, frame.native))


class TamperReporter:
    """Makes events of what a camera's watch has seen, logs it and keeps the pictures; on the operators' thread.

    It knows what is open, so that it can end it after the camera's thread has ended.
    """

    def __init__(
        self, *, site: str, run: str, replay: bool, pictures: PictureStore | None, generation: int | None = None
    ) -> None:
        """Take the arguments of :class:`pipeline.alerts.assembler.AlertAssembler` of these names."""
        self._site, self._run, self._replay = site, run, replay
        self._pictures = pictures
        self._generation = generation
        self._open: dict[TamperKind, TamperTransition] = {}

    def close(self) -> list[TamperEvent]:
        """Return the ends of what is open: nothing more comes."""
        ended = [replace(one, end_reason=CLOSED) for one in self._open.values()]
        return [self.report(TamperSeen(one, None)) for one in ended]

    def report(self, seen: TamperSeen) -> TamperEvent:
        """Log it and return its event."""
        transition = seen.transition
        if transition.end_reason is None:
            self._open[transition.kind] = transition
        else:
            self._open.pop(transition.kind, None)
        about = {
            "camera": transition.camera,
            "kind": str(transition.kind),
            "measure": round(transition.measure, 3),
            "threshold": round(transition.threshold, 3),
        }
        if transition.end_reason is None:
            _log.warning(_WORDS[transition.kind], **about)
        elif transition.end_reason == ADOPTED:
            _log.warning("the new picture of the camera is taken as its usual one", **about)
        else:
            _log.info("the tampering is over", **about, reason=transition.end_reason)
        evidence = self._evidence(seen)
        return tamper_event(
            transition,
            site=self._site,
            run=self._run,
            replay=self._replay,
            evidence=evidence,
            generation=self._generation,
        )

    def _evidence(self, seen: TamperSeen) -> list[str]:
        transition = seen.transition
        if transition.end_reason is not None or self._pictures is None or seen.native is None:
            return []
        began = transition.first.taken_at
        when = f"{began:%Y%m%dT%H%M%SZ}" if began else f"{transition.first.pts_seconds:08.1f}s"
        identity = tamper_id(transition, site=self._site, run=self._run)
        name = f"{when}-{str(identity)[:8]}-{transition.kind}"
        try:
            return [self._pictures.save(upright(seen.native), camera=transition.camera, name=name)]
        except OSError as error:
            _log.error("picture not written; the event goes without", camera=transition.camera, error=str(error))
            return []


def look_of(picture: av.VideoFrame) -> Look | None:
    """Return the look of a decoded picture; None where the picture is too small.

    Raises:
        av.FFmpegError: a picture that FFmpeg cannot convert.
    """
    if not can_look(picture.height, picture.width):
        return None
    name = picture.format.name
    if name not in _LUMA_ALONE:
        picture, name = picture.reformat(format="gray"), "gray"
    if name not in _LUMA_FIRST:
        return look_at(_plane(picture, 0))
    return look_at(_plane(picture, 0), (_plane(picture, 1), _plane(picture, 2)))


def _plane(picture: av.VideoFrame, number: int) -> npt.NDArray[np.uint8]:
    """Return a plane as a view: uint8 (height, width) of the plane."""
    plane = picture.planes[number]
    pixels: npt.NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return pixels.reshape(plane.height, plane.line_size)[:, : plane.width]
