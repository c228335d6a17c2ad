"""The client of a served model of places: from a picture to the class of each of its pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline.scoring.side_client import Request, SideClient, Words, ask_parameters, not_a
from pipeline.scoring.transport import DESCRIBE_SECONDS

#: Number of classes that fit into the output's type.
_MOST_NODES = 255

Picture = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.uint8]
ClassPath = tuple[str, ...]


class Classified(NamedTuple):
    """The class of each pixel, uint8 (H, W), as an index into ``model.nodes``, and the model that gave them."""

    classes: Classes
    model: PlacesModel


@dataclass(frozen=True, slots=True)
class PlacesModel:
    """A served model of places as its server describes it.

    Attributes:
        version: of its classes: the model's name and its weights.
        served_version: the version that Triton serves; another one is asked for its description.
        height, width: of the pictures that it takes, pixels; a picture of another shape is stretched to them.
        nodes: the classes, each as its path in the label tree, from a class of the root down. A pixel's class is an
            index into them.
        things: indices of the classes that are things rather than places.
    """

    name: str
    version: str
    served_version: str
    height: int
    width: int
    nodes: tuple[ClassPath, ...]
    things: frozenset[int]


def describe_places(
    client: triton.InferenceServerClient, address: str, model: str, *, timeout_seconds: float = DESCRIBE_SECONDS
) -> PlacesModel:
    """Ask the server for the description of a model of places.

    Raises:
        ScorerUnavailable: the server or the model is not there.
        ClipMismatch: it is not a model of places.
    """
    found = ask_parameters(client, address, model, timeout_seconds=timeout_seconds)
    try:
        height, width, channels = found.input("PICTURE", "a picture", 3)
        if channels != 3:
            raise ValueError(f"PICTURE has {channels} channels; expected 3")
        if (classes := found.output("CLASSES", "a class for each pixel", 2)) != (height, width):
            raise ValueError(f"CLASSES is {list(classes)}; expected PICTURE's {[height, width]}")
        nodes = read_paths(found.said("nodes"))
        things = read_things(found.said("things"), len(nodes))
        return PlacesModel(model, found.said("places"), found.served_version, height, width, nodes, things)
    except ValueError as error:
        raise not_a("a model of places", address, model, error) from None


def read_paths(text: str) -> tuple[ClassPath, ...]:
    """Return the classes that JSON names by their paths. Raises ValueError: it names none, too many, or one twice."""
    try:
        paths = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("parameter nodes is not JSON") from None
    named = isinstance(paths, list) and all(
        isinstance(path, list) and path and all(isinstance(name, str) and name for name in path) for path in paths
    )
    if not named or not 1 <= len(paths) <= _MOST_NODES:
        raise ValueError(f"parameter nodes does not name 1 to {_MOST_NODES} paths of classes")
    nodes = tuple(tuple(path) for path in paths)
    if len(set(nodes)) < len(nodes):
        raise ValueError("parameter nodes names a class twice")
    return nodes


def read_things(text: str, nodes: int) -> frozenset[int]:
    """Return the things that JSON lists by their indices. Raises ValueError: it does not, or not below ``nodes``."""
    try:
        things = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("parameter things is not JSON") from None
    if not isinstance(things, list) or not all(type(thing) is int and 0 <= thing < nodes for thing in things):
        raise ValueError(f"parameter things does not list classes below {nodes}")
    return frozenset(things)


class PlacesClient(SideClient[PlacesModel, Classified]):
    """Asks a served model of places for classes; see :class:`pipeline.scoring.side_client.SideClient`.

    A picture beyond eight in flight is answered with None at once.
    """

    words = Words(
        "places",
        "the model of places",
        "places",
        "no places of a picture; its alert goes without place",
        "alerts go without place",
    )
    request = Request("PICTURE", "UINT8", "CLASSES")
    most_in_flight = 8  #: a picture is about a megabyte, and a model slower than its alerts must not collect them

    def classify(self, picture: Picture, on_answer: Callable[[Classified | None], None]) -> None:
        """Ask for the classes of one picture, without waiting.

        Args:
            picture: uint8 (height, width, 3) RGB of the model's size; the whole upright picture, stretched to it.
            on_answer: see :meth:`pipeline.scoring.side_client.SideClient.ask`.
        """
        self.ask(picture, on_answer)

    def _ask_description(self, client: triton.InferenceServerClient, timeout_seconds: float) -> PlacesModel:
        return describe_places(client, self._address, self._model, timeout_seconds=timeout_seconds)

    def _checked(self, asked: PlacesModel, values: npt.NDArray[Any]) -> Picture:
        expected = (asked.height, asked.width, 3)
        if values.dtype != np.uint8 or values.shape != expected:
            got = f"{values.dtype} {values.shape}"
            raise ValueError(f"the model of places {self._model} takes pictures of uint8 {expected}, got {got}")
        return values

    def _read_output(self, asked: PlacesModel, output: npt.NDArray[Any]) -> Classified:
        classes = np.array(output[0])  # a view would keep all of the answer
        if classes.dtype != np.uint8 or classes.shape != (asked.height, asked.width):
            raise ValueError(f"CLASSES is {classes.dtype} {classes.shape}")
        if classes.max() >= len(asked.nodes):
            raise ValueError(f"class {classes.max()} of {len(asked.nodes)}")
        return Classified(classes, asked)
