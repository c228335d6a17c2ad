"""What can be asked of the courtyard, and what its truth consists of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import UsageError

Box = tuple[int, int, int, int]  #: left, top, right, bottom in pixels; right and bottom are exclusive


class IncidentKind(StrEnum):
    """What the courtyard's camera should raise an alert for."""

    CART = "cart"  #: a cart crosses the walkway
    BICYCLE = "bicycle"  #: a bicycle crosses the walkway
    RUNNER = "runner"  #: somebody runs through the crowd
    SCUFFLE = "scuffle"
    FALL = "fall"  #: somebody falls and stays down
    SCATTER = "scatter"  #: a crowd scatters


class SceneError(UsageError, ValueError):
    """The scene cannot be made as asked. One line that names the setting and what was expected."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What is to be rendered.

    Attributes:
        seed: of everything by chance, 0 to 2**32 - 1.
        fps: frames a second, 1 to 60.
        seconds: length, 1 s to 24 hours.
        width, height: pixels; 16:9, 640×360 to 1920×1080.
        incidents_per_minute: how many incidents are staged, evenly spaced with jitter and never two at once;
            0 leaves the courtyard to its ordinary life.

    Raises:
        SceneError: one of them is impossible.
    """

    seed: int = 0
    fps: float = 12.5
    seconds: float = 60.0
    width: int = 640
    height: int = 360
    incidents_per_minute: float = 6.0

    def __post_init__(self) -> None:
        def refuse(what: str, expected: str) -> None:
            raise SceneError(f"{what} {getattr(self, what)!r}: expected {expected}")

        if not (isinstance(self.seed, int) and 0 <= self.seed < 2**32):
            refuse("seed", "a whole number from 0 to 4294967295")
        if not 1 <= self.fps <= 60:
            refuse("fps", "1 to 60 frames a second")
        if not 1 <= self.seconds <= 86400:
            refuse("seconds", "1 s to 24 hours")
        if not 640 <= self.width <= 1920 or self.width % 2:
            refuse("width", "an even number of pixels from 640 to 1920")
        if self.height % 2 or abs(self.width * 9 - self.height * 16) > 16 * 2:
            refuse("height", f"{round(self.width * 9 / 32) * 2} pixels, for pictures of 16:9")
        if not 0 <= self.incidents_per_minute <= 6:
            refuse("incidents_per_minute", "0 to 6")


@dataclass(frozen=True, slots=True)
class Incident:
    """One staged incident: frames ``first_frame`` to ``last_frame``, both included, show it."""

    kind: IncidentKind
    first_frame: int
    last_frame: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What of an incident one frame shows: its box on the picture."""

    incident: Incident
    box: Box
