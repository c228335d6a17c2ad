"""Cameras owned by one of several workers: claims, generations, and the states that an owner leaves to the next one.

A claim is a record on the scores topic. Its offset is the camera's generation: given by Kafka, unique and rising.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A camera owned by this worker.

    Attributes:
        generation: offset of the claim on the scores topic; an owner with a higher one has taken the camera over.
        states: newest state of each detector (by its name; empty at a site that names none) that earlier owners left.
    """

    camera: str
    generation: int
    states: Mapping[str, Any] = field(default_factory=dict)


class Ownership:
    """Claims cameras, and notices when another worker claims one of them.

    Args:
        on_fenced: called with a camera and the higher generation of another claim; hand the camera over at once. Runs
            on a thread of its own.
    """

    def __init__(self, *, on_fenced: Callable[[str, int], None]) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start to follow the claims of other workers."""
        raise NotImplementedError

    def claim(self, camera: str) -> Claim:
        """Write a claim, and read the states that earlier owners left.

        Raises:
            BrokerUnavailableError: the scores topic cannot be reached; the camera must not be taken yet.
        """
        raise NotImplementedError

    def release(self, camera: str) -> None:
        """Send the camera's last states, and follow its claims no longer; after :meth:`Worker.hand_over`."""
        raise NotImplementedError

    def close(self) -> None:
        """End the threads, after the last states were sent."""
        raise NotImplementedError
