"""A live camera on a rendered scene: ``synthetic://courtyard?seed=7&fps=12.5&minutes=2``."""

from __future__ import annotations

import importlib.util
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import av

from pipeline.courtyard.film import frame_rate
from pipeline.courtyard.settings import SceneError, SceneSettings
from pipeline.sources.base import EndReason, Frame, FrameSpec, SegmentOver, SourceError
from pipeline.sources.credentials import shown
from pipeline.sources.decode import FramePump, received

if TYPE_CHECKING:
    from pipeline.courtyard.scene import Courtyard

KEYS = ("seed", "fps", "minutes", "width", "height", "incidents_per_minute")
_WHOLE = ("seed", "width", "height")

#: A scene without an end is the longest one, over and over.
_ENDLESS_SECONDS = 86_400.0

#: How many frames are shown of those asked for is counted over so much of the scene's time, ...
_WINDOW_SECONDS = 5.0
#: ... fewer than this share of them is said, ...
_ENOUGH = 0.95
#: ... and not again for so long. Seconds.
_SILENCE_SECONDS = 60.0


class SyntheticSource:
    """A scene rendered in real time: frame n is handed out n / fps seconds after the first, by the monotonic clock.

    Time goes on whatever the machine can do: where rendering, or the consumer of the frames, is slower than asked, the
    frames that are due meanwhile are left out, the next one is the one due now, and its PTS is still n / fps.

    With ``minutes`` the scene ends: its segment with reason ``stream_end``, and the source with it. Without, it starts
    over after 24 hours, as a new connection. Segment ids are ``CAMERA/CONNECTION/ORDINAL``, CONNECTION a random UUID:
    unique for ever. ``taken_at`` is when the picture was handed out.

    Args:
        location: ``synthetic://courtyard[?KEY=VALUE&…]``; the keys are ``seed``, ``fps``, ``minutes``, ``width``,
            ``height`` (one of the two is enough) and ``incidents_per_minute``, as in
            :class:`pipeline.courtyard.scene.SceneSettings`.
        on_connected: called with the camera's id at the first picture of each connection.
        on_slow: called with one line, once a minute at most, when fewer frames are shown than asked for.

    Raises:
        SourceError: ``usage``: another scene, another key, a value that cannot be, or OpenCV is missing.
    """

    live = True

    def __init__(
        self,
        camera: str,
        location: str,
        *,
        on_connected: Callable[[str], None] | None = None,
        on_slow: Callable[[str], None] | None = None,
    ) -> None:
        self.camera = camera
        self._location = location
        self._on_connected = on_connected
        self._on_slow = on_slow
        try:
            self.settings, self.ends = _scene_asked_for(location)
            check_opencv()
        except SceneError as error:
            raise self._error(error) from None

    def __repr__(self) -> str:
        return f"SyntheticSource({self.camera!r}, {shown(self._location)!r})"

    def frames(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """See :class:`pipeline.sources.base.Source`; it ends by ``stop``, or with a scene of stated length."""
        while not stop.is_set():
            yield from self._connection(specs, stop)
            if self.ends:
                return

    def _connection(self, specs: Sequence[FrameSpec], stop: threading.Event) -> Iterator[Frame | SegmentOver]:
        """The scene from its first frame to its last."""
        scene = self._scene()
        rate = frame_rate(self.settings.fps)
        connection = uuid.uuid4().hex
        pump = FramePump(
            self.camera,
            live=True,
            specs=specs,
            segment_id=lambda ordinal: f"{self.camera}/{connection}/{ordinal}",
            wall_clock=received,
            nominal_fps=float(rate),
        )
        pace = _Pace(float(rate), self._say_slow)
        number = 0
        picture = _picture(scene, number)
        started = time.monotonic()  # what the first picture took is preparation
        if self._on_connected is not None:
            self._on_connected(self.camera)
        while not stop.wait(max(0.0, started + float(number / rate) - time.monotonic())):
            yield from pump.push(picture, float(number / rate))
            pace.shown(number)
            number = max(number + 1, int((time.monotonic() - started) * rate))
            if number >= scene.frame_count:
                yield from pump.end(EndReason.STREAM_END)
                return
            picture = _picture(scene, number)
        yield from pump.end(EndReason.SHUTDOWN)

    def _scene(self) -> Courtyard:
        try:
            from pipeline.courtyard.scene import Courtyard
        except ImportError as error:  # it was found and cannot be loaded
            raise self._error(f"OpenCV cannot be loaded: {error}") from None
        return Courtyard(self.settings)

    def _say_slow(self, shown_fps: float) -> None:
        if self._on_slow is not None:
            self._on_slow(
                f"camera {self.camera}: this machine renders {shown_fps:.0f} of the {self.settings.fps:g} frames a "
                "second asked for; the others are left out (ask for a lower fps or a smaller picture)"
            )

    def _error(self, problem: object) -> SourceError:
        return SourceError(f"camera {self.camera}: {shown(self._location)}: {problem}", code="usage")


class _Pace:
    """Counts the frames shown of those asked for, and says once in a while where they are fewer."""

    def __init__(self, fps: float, say: Callable[[float], None]) -> None:
        self._fps = fps
        self._say = say
        self._window_from = 0  # number of the window's first frame
        self._shown = 0  # in the window
        self._silent_until = 0

    def shown(self, number: int) -> None:
        """Frame ``number`` is shown; those since the one before were left out."""
        asked = number - self._window_from
        if asked >= _WINDOW_SECONDS * self._fps:
            if self._shown < _ENOUGH * asked and number >= self._silent_until:
                self._say(self._shown / asked * self._fps)
                self._silent_until = number + round(_SILENCE_SECONDS * self._fps)
            self._window_from, self._shown = number, 0
        self._shown += 1


def _picture(scene: Courtyard, number: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(scene.frame(number), format="rgb24")


def check_opencv() -> None:
    """Rendering needs OpenCV; it is not imported here. Raises SceneError: it is not installed."""
    try:
        found = importlib.util.find_spec("cv2") is not None
    except ImportError:
        found = False
    except ValueError:
        found = True  # another thread is importing it
    if not found:
        raise SceneError("rendering a scene needs OpenCV: pip install 'mistwatch[demo]'")


def _scene_asked_for(location: str) -> tuple[SceneSettings, bool]:
    """The scene that a location means, and whether it ends. Raises SceneError: it means none."""
    place, _, query = location.partition("://")[2].partition("?")
    if place.removesuffix("/") != "courtyard":
        raise SceneError("unknown scene; expected synthetic://courtyard, with ?seed=… or not")
    asked: dict[str, float] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in KEYS:
            raise SceneError(f"unknown key {shown(key)!r}; expected {', '.join(KEYS)}")
        if key in asked:
            raise SceneError(f"{key} is given twice")
        asked[key] = _number(key, text)
    minutes = asked.pop("minutes", None)
    if minutes is not None and not 1 <= minutes * 60 <= _ENDLESS_SECONDS:
        raise SceneError(f"minutes {minutes:g}: expected 1/60 to {_ENDLESS_SECONDS / 60:g}")
    # One side of a picture of 16:9 gives the other, which is even too.
    if "width" in asked:
        asked.setdefault("height", round(asked["width"] * 9 / 32) * 2)
    elif "height" in asked:
        asked["width"] = round(asked["height"] * 8 / 9) * 2
    asked["seconds"] = _ENDLESS_SECONDS if minutes is None else minutes * 60
    return SceneSettings(**asked), minutes is not None  # type: ignore[arg-type]  # whole where they are to be


def _number(key: str, text: str) -> float:
    whole = key in _WHOLE
    if not re.fullmatch(r"\d{1,18}" if whole else r"\d+(\.\d*)?|\.\d+", text, re.ASCII):
        raise SceneError(f"{key} {shown(text)!r}: expected a {'whole ' * whole}number")
    return int(text) if whole else float(text)
