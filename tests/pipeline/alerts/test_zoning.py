"""Alerts of one camera with zones and schedules: through the assembler, with heat maps, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import av
import numpy as np
import pytest

from operators.alerting import AlertSettings
from operators.chain import ChainSettings
from operators.heat_kind import HeatKind
from operators.schedule import Hours, Schedule
from operators.zones import Zone
from pipeline.alerts.assembler import AlertAssembler
from pipeline.alerts.describe import describe
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.zoning import CameraZones
from pipeline.heat import Heat
from pipeline.scoring.outcomes import Scored
from pipeline.scoring.served_model import HeatMap, ServedModel
from pipeline.sources.base import Fit, Segment
from pipeline.sources.scale import Part
from pipeline.windows import ClipSpec, ClipWindow

LEFT = Zone("left", ((0, 0), (0.5, 0), (0.5, 1), (0, 1)))
RIGHT = Zone("right", ((0.5, 0), (1, 0), (1, 1), (0.5, 1)))
UPPER = Zone("upper", ((0, 0), (1, 0), (1, 0.5), (0, 0.5)))

DAY = Schedule(UTC, {"monday": (Hours(8 * 60, 18 * 60),)})
NIGHT = Schedule(UTC, {"monday": (Hours(18 * 60, 24 * 60),)})
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # a Monday
EVENING = NOON + timedelta(hours=8)

IN_LEFT = [[1.0, 0.0], [1.0, 0.0]]
IN_RIGHT = [[0.0, 1.0], [0.0, 1.0]]


class Yard:
    """An assembler of one camera, whose alerts open at 0.5 and are reported with every clip of a second."""

    def __init__(
        self,
        zones: CameraZones,
        *,
        fit: Fit = Fit.STRETCH,
        kind: HeatKind = HeatKind.ANOMALY,
        size: tuple[int, int] = (64, 48),
    ) -> None:
        clip = ClipSpec(frames=2, stride=2, height=32, width=32, fit=fit)
        settings = ChainSettings(
            alert=AlertSettings(open_threshold=0.5, close_threshold=0.4, update_every_seconds=1.0), kernel=1
        )
        self._served = ServedModel("m", "1", clip, heat=HeatMap(2, 2, kind))
        self._size = size
        self._clips = 0
        self.assembler = AlertAssembler(
            "gate",
            settings,
            clip=clip.frame_spec,
            site="yard",
            run="",
            replay=False,
            pictures=None,
            zones=zones,
            on_picture_failed=_never,
        )

    def clip(self, score: float, heat: list[list[float]] | None, at: datetime | None = NOON) -> list[AlertEvent]:
        """Score the next clip, one second long, whose last frame is of the time ``at``."""
        picture = av.VideoFrame(*self._size, "rgb24")
        picture.time_base = Fraction(1, 1000)
        window = ClipWindow(
            segment=Segment("gate/1", "gate", live=True),
            index=self._clips,
            start=float(self._clips),
            end=self._clips + 1.0,
            started_at=None if at is None else at - timedelta(seconds=0.9),
            ended_at=at,
            captured_at=NOON,
            pixels=np.zeros((2, 32, 32, 3), np.uint8),
            middle=picture,
        )
        self._clips += 1
        values = None if heat is None else np.array(heat, np.float32)
        return self.assembler.scored(Scored(window, score, self._served, NOON, values))


def _never(error: OSError) -> None:
    raise error


def reported(events: Sequence[AlertEvent]) -> list[tuple[str, object, object, object]]:
    return [(one.data.state.value, one.data.zones, one.data.outside_schedule, one.data.muted) for one in events]


def test_an_alert_names_the_zones_of_its_present_peak() -> None:
    yard = Yard(CameraZones((LEFT, RIGHT, UPPER)))
    assert reported(yard.clip(0.6, IN_LEFT)) == [("begin", ("left", "upper"), None, None)]
    assert reported(yard.clip(0.55, IN_RIGHT)) == [
        ("update", ("left", "upper"), None, None)
    ]  # the peak is the one before
    assert reported(yard.clip(0.9, IN_RIGHT)) == [("update", ("right", "upper"), None, None)]
    (end,) = yard.clip(0.1, IN_LEFT)
    assert reported([end]) == [("end", ("right", "upper"), None, None)]
    assert "in right, upper" in describe(end)


def test_the_next_alert_has_zones_of_its_own() -> None:
    yard = Yard(CameraZones((LEFT, RIGHT)))
    yard.clip(0.9, IN_LEFT)
    yard.clip(0.1, IN_LEFT)
    events = [event for _ in range(60) for event in yard.clip(0.6, IN_RIGHT)]
    assert reported(events)[0] == ("begin", ("right",), None, None)


def test_without_zones_or_heat_an_alert_names_none() -> None:
    for zones, heat in (
        (CameraZones(), IN_LEFT),
        (CameraZones((LEFT,)), None),
        (CameraZones((Zone("left", LEFT.points, ignore=True),)), IN_LEFT),
    ):
        (event,) = Yard(zones).clip(0.6, heat)
        assert reported([event]) == [("begin", None, None, None)]
        assert b"zones" not in event.to_json()
        assert b"muted" not in event.to_json()


def test_heat_outside_of_all_zones_names_none() -> None:
    (event,) = Yard(CameraZones((LEFT,))).clip(0.6, IN_RIGHT)
    assert reported([event]) == [("begin", (), None, None)]


@pytest.mark.parametrize("kind", HeatKind)
def test_a_faint_background_is_no_heat(kind: HeatKind) -> None:
    """An attention map is relative: 0.7 beside 0.9 is its least value. An anomaly map's 0.7 is heat."""
    expected = {HeatKind.ATTENTION: ("right",), HeatKind.ANOMALY: ("right", "left")}[kind]
    (event,) = Yard(CameraZones((LEFT, RIGHT)), kind=kind).clip(0.6, [[0.7, 0.9], [0.7, 0.9]])
    assert event.data.zones == expected


def test_an_even_attention_map_names_none() -> None:
    (event,) = Yard(CameraZones((LEFT,)), kind=HeatKind.ATTENTION).clip(0.6, [[0.5, 0.5], [0.5, 0.5]])
    assert event.data.zones == ()


@pytest.mark.parametrize(
    ("fit", "heat", "expected"),
    [
        # A picture of 64 × 32 in a letterbox of 64 × 64: the upper left cell is 32 × 32 and shows 16 rows of bar, then
        # the upper half of the picture's left half. That lies in left-up, half of it in edge and half in middle.
        pytest.param(Fit.LETTERBOX, [[1, 0], [0, 0]], ("left-up", "edge", "middle"), id="letterbox"),
        # The crop is the middle 32 × 32. Its left cells are the columns 16 to 32: in middle, the upper ones in left-up.
        pytest.param(Fit.CROP, [[1, 0], [1, 0]], ("middle", "left-up"), id="crop"),
        # Stretched, the left cells are the columns 0 to 32: half in each.
        pytest.param(Fit.STRETCH, [[1, 0], [1, 0]], ("edge", "left-up", "middle"), id="stretch"),
    ],
)
def test_zones_hold_for_clips_that_show_another_part(
    fit: Fit, heat: list[list[float]], expected: tuple[str, ...]
) -> None:
    zones = (
        Zone("edge", ((0, 0), (0.25, 0), (0.25, 1), (0, 1))),
        Zone("left-up", ((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5))),
        Zone("middle", ((0.25, 0), (0.75, 0), (0.75, 1), (0.25, 1))),
    )
    (event,) = Yard(CameraZones(zones), fit=fit, size=(64, 32)).clip(0.6, heat)
    assert event.data.zones == expected


@pytest.mark.parametrize("width", [64, 640])
def test_zones_scale_with_the_picture(width: int) -> None:
    heat = Heat(np.array([[1, 0, 0, 0]], np.float32), Part(0, 0, width, width), HeatKind.ANOMALY)
    quarter = Zone("quarter", ((0, 0), (0.25, 0), (0.25, 1), (0, 1)))
    assert CameraZones((quarter, RIGHT)).holding(heat, width, width) == ("quarter",)


# -- mutes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("camera", "of_left", "of_right", "zones", "at", "expected"),
    [
        pytest.param(DAY, None, None, None, EVENING, (), id="outside of the camera's"),
        pytest.param(DAY, None, None, None, NOON, None, id="inside of the camera's"),
        pytest.param(DAY, None, None, None, None, None, id="an unknown time mutes nothing"),
        pytest.param(None, DAY, None, ("left",), EVENING, ("left",), id="outside of its only zone's"),
        pytest.param(None, DAY, DAY, ("right", "left"), EVENING, ("right", "left"), id="outside of both zones'"),
        pytest.param(None, DAY, NIGHT, ("right", "left"), EVENING, None, id="inside of one zone's"),
        pytest.param(None, DAY, None, ("right", "left"), EVENING, None, id="one zone has none"),
        pytest.param(None, DAY, None, (), EVENING, None, id="in no zone"),
        pytest.param(None, DAY, None, None, EVENING, None, id="its zones are not known"),
        pytest.param(DAY, NIGHT, None, ("left",), EVENING, (), id="the camera's comes first"),
        pytest.param(
            NIGHT, DAY, None, ("left",), EVENING, ("left",), id="inside of the camera's, outside of the zone's"
        ),
    ],
)
def test_the_schedules_that_mute(
    camera: Schedule | None,
    of_left: Schedule | None,
    of_right: Schedule | None,
    zones: tuple[str, ...] | None,
    at: datetime | None,
    expected: tuple[str, ...] | None,
) -> None:
    schedules = {name: own for name, own in (("left", of_left), ("right", of_right)) if own is not None}
    assert CameraZones((LEFT, RIGHT), camera, schedules).muting(zones, at) == expected


def test_an_alert_that_comes_within_the_hours_is_unmuted_and_stays_so() -> None:
    yard = Yard(CameraZones(schedule=DAY))
    early, late = NOON.replace(hour=7, minute=59), EVENING
    (begin,) = yard.clip(0.6, None, early)
    assert reported([begin]) == [("begin", None, (), True)]
    assert "muted: outside the schedule of the camera" in describe(begin)
    assert reported(yard.clip(0.6, None, NOON.replace(hour=8))) == [("update", None, None, None)]
    (end,) = yard.clip(0.1, None, late)
    assert reported([end]) == [("end", None, None, None)]
    assert "muted" not in describe(end)


def test_the_last_clip_of_an_event_has_its_time() -> None:
    """An alert that ends after the hours stays muted through the end, and the next day's is not."""
    yard = Yard(CameraZones((LEFT, RIGHT), schedules={"left": DAY}))
    assert reported(yard.clip(0.6, IN_LEFT, EVENING)) == [("begin", ("left",), ("left",), True)]
    (end,) = yard.clip(0.1, IN_LEFT, EVENING)
    assert reported([end]) == [("end", ("left",), ("left",), True)]
    assert "muted: outside the schedule of left" in describe(end)
    later = [event for _ in range(60) for event in yard.clip(0.6, IN_LEFT, NOON)]
    assert reported(later)[0] == ("begin", ("left",), None, None)


def test_a_peak_in_another_zone_unmutes() -> None:
    yard = Yard(CameraZones((LEFT, RIGHT), schedules={"left": DAY}))
    assert reported(yard.clip(0.6, IN_LEFT, EVENING)) == [("begin", ("left",), ("left",), True)]
    assert reported(yard.clip(0.9, IN_RIGHT, EVENING)) == [("update", ("right",), None, None)]
