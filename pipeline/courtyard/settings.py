"""Settings of the courtyard, and the types of its truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from pipeline.errors import UsageError

Box = tuple[int, int, int, int]  #: left, top, right, bottom in pixels; right and bottom are exclusive


class IncidentKind(StrEnum):
    """Kinds of incident for which the courtyard's camera should raise an alert."""

    CART = "cart"  #: a cart crosses the walkway
    BICYCLE = "bicycle"  #: a bicycle crosses the walkway
    RUNNER = "runner"  #: a person runs through the crowd
    SCUFFLE = "scuffle"
    FALL = "fall"  #: a person falls and stays down
    SCATTER = "scatter"  #: a crowd scatters
    ABANDONED = "abandoned"  #: a person sets a bag down and leaves; the bag lies there alone


#: Kinds of the incidents of a scene without abandoned objects, equally frequent.
MIXED_KINDS = tuple(kind for kind in IncidentKind if kind is not IncidentKind.ABANDONED)


class OrdinaryKind(StrEnum):
    """Kinds of ordinary life that a detector may take for an incident: the hard normals."""

    UMBRELLA = "umbrella"  #: a person carries an open umbrella
    JOGGER = "jogger"
    DOG = "dog"  #: a person walks a dog


class SceneError(UsageError, ValueError):
    """Invalid settings of a scene. One line that names the setting and the expected values."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """Settings of a scene.

    Attributes:
        fps: frames a second, 1 to 60.
        seconds: length, 1 s to 24 hours.
        width, height: pixels; 16:9, 640×360 to 1920×1080.
        incidents_per_minute: number of staged incidents, evenly spaced with jitter and never two together; 0 leaves
            the courtyard to its ordinary life.
        abandoned: the staged incidents are abandoned objects and nothing else, at most one a minute. An object lies for
            most of the time to the next one, so among other incidents every false alarm would seem to be about it.

    Raises:
        SceneError: a value is out of range.
    """

    seed: int = 0
    fps: float = 12.5
    seconds: float = 60.0
    width: int = 640
    height: int = 360
    incidents_per_minute: float = 6.0
    abandoned: bool = False

    def __post_init__(self) -> None:
        def refuse(key: str, expected: str) -> None:
            raise SceneError(f"{key} {getattr(self, key)!r}: expected {expected}")

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
        if self.abandoned and self.incidents_per_minute > 1:
            refuse("incidents_per_minute", "0 to 1 for abandoned objects")

    def document(self) -> dict[str, Any]:
        """Return the JSON form. Scenes of before there were abandoned objects have the form that they had."""
        written = asdict(self)
        if not self.abandoned:
            del written["abandoned"]
        return written


@dataclass(frozen=True, slots=True)
class Incident:
    """One staged incident, visible in frames ``first_frame`` to ``last_frame``, both included."""

    kind: IncidentKind
    first_frame: int
    last_frame: int


@dataclass(frozen=True, slots=True)
class Seen:
    """An incident as one frame shows it: its box on the picture."""

    incident: Incident
    box: Box
