"""Place and things for alerts: the thing in the heat's box, and the class of the standing scene where it stands."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import av

from operators.places import Box, Point, box_in_shares, class_under, foot_of, heat_box, heat_peak, in_picture, object_in
from pipeline.alerts.enrich import Outcome
from pipeline.alerts.event import AlertEvent
from pipeline.alerts.place import Place
from pipeline.alerts.place_map import PlaceMap
from pipeline.alerts.recent_features import Moment
from pipeline.heat import Heat
from pipeline.scoring.places import Classified, Picture

#: Peaks whose pictures are kept, for events that are held back; those of an ended alert go with it.
_KEPT_PEAKS = 32

#: Asks for the classes of a picture of the model's size. The callback is called once, on any thread, with None where
#: there are none.
Classify = Callable[[Picture, Callable[[Classified | None], None]], None]


class _Peak(NamedTuple):
    """A peak's picture of the model's size, and where the heat is on it, in shares of the picture."""

    picture: Picture
    hottest: Point
    box: Box


class Located(NamedTuple):
    """The classes of a peak's picture, and where the heat is on it, in shares of the picture."""

    classified: Classified
    hottest: Point
    box: Box


class AddedPlace:
    """Places the alerts of one camera and detector; an :class:`pipeline.alerts.enrich.Addition`.

    Args:
        scaled: returns a native picture in the model's size; None where it cannot, or the model was never there.
        classify: asks for the classes of a picture.
        other_heat: returns the heat of another detector of the camera at a moment, for a picture of a width and height;
            None where none has any.
        place_map: returns the camera's place map as the model of this version makes it; None while there is none.
        on_outcome: called once for each alert, when its first place is known or will not be.
    """

    what = "place"

    def __init__(
        self,
        scaled: Callable[[av.VideoFrame], Picture | None],
        classify: Classify,
        other_heat: Callable[[Moment, int, int], Heat | None],
        place_map: Callable[[str], PlaceMap | None],
        *,
        on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self._scaled = scaled
        self._classify = classify
        self._other_heat = other_heat
        self._place_map = place_map
        self._on_outcome = on_outcome
        self._peaks: OrderedDict[Moment, _Peak] = OrderedDict()

    def saw_peak(self, moment: Moment, picture: av.VideoFrame, heat: Heat | None) -> None:
        """Take the picture of a peak, before the event that reports it.

        Args:
            picture: upright.
            heat: of the alert's detector; where it has none, that of another detector. Without any, no place.
        """
        if heat is None:
            heat = self._other_heat(moment, picture.width, picture.height)
        if heat is None or (shares := heat.shares) is None or (scaled := self._scaled(picture)) is None:
            return
        part = box_in_shares(heat.part, picture.width, picture.height)
        seen = in_picture(shares, part)
        if not seen.any():
            return
        self._peaks[moment] = _Peak(scaled, heat_peak(seen, part), heat_box(seen, part))
        while len(self._peaks) > _KEPT_PEAKS:
            self._peaks.popitem(last=False)

    def ask(self, moment: Moment, answer: Callable[[Located | None], None], *, final: bool) -> bool:
        """Ask for the classes of a peak's picture. Raises LookupError: the peak has no picture or no heat."""
        if (peak := self._peaks.get(moment)) is None:
            raise LookupError(f"no picture of {moment}")

        def locate(classified: Classified | None) -> None:
            answer(None if classified is None else Located(classified, peak.hottest, peak.box))

        self._classify(peak.picture, locate)
        return True

    def value(self, event: AlertEvent, answer: Located) -> Place:
        """Return the thing in the heat's box, and the place where it stands, else that at the heat's peak."""
        (classes, model), hottest, box = answer
        thing = object_in(classes, box, model.things)
        foot = None if thing is None else foot_of(classes, box, thing)
        return Place(
            version=model.version,
            place=self._class_at(foot or hottest, model.version),
            object=None if thing is None else model.nodes[thing],
        )

    def added(self, event: AlertEvent, value: Place) -> AlertEvent:
        """Return the event with its place."""
        return event.placed(value)

    def stated(self, value: Place) -> Any:
        """Return the place as JSON."""
        return value.model_dump(mode="json")

    def restored(self, found: Any) -> Place:
        """Return the place of JSON. Raises ValueError."""
        return Place.model_validate(found)

    def forget(self, moments: Iterable[Moment]) -> None:
        """Forget the pictures of peaks."""
        for moment in moments:
            self._peaks.pop(moment, None)

    def on_outcome(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        self._on_outcome(outcome)

    def _class_at(self, point: Point, version: str) -> tuple[str, ...] | None:
        place_map = self._place_map(version)
        return None if place_map is None else place_map.nodes[class_under(place_map.classes, point)]
