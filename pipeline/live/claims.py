"""Claims of cameras, and the states between them: the rules by which records of the scores topic are read.

A claim is a record with the camera's name as its key. Its offset is the camera's generation: Kafka gives it, no two
claims have the same, and a later one has a higher. A state carries the generation of its writer. The states and claims
of a camera share a partition, so a reader sees them in the order in which Kafka took them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from pipeline.alerts.assembler import AssemblerState
from pipeline.alerts.reading import explain_unreadable
from pipeline.live.listener import Watch
from pipeline.live.score_states import ScoreRecord
from pipeline.sinks.compacted_topic import Record


class ClaimRecord(BaseModel):
    """The value of a claim, for people; its key and offset say everything."""

    worker: str


@dataclass(slots=True)
class CameraClaims:
    """The records of one camera on the topic.

    Attributes:
        newest: generation of the newest claim; None before the first.
        states: of each detector, as a new owner continues from them.
    """

    newest: int | None = None
    states: dict[str, AssemblerState | None] = field(default_factory=dict)
    _written: dict[str, tuple[int, int]] = field(default_factory=dict)  # (generation, offset) of each state

    def take_claim(self, offset: int) -> None:
        """Take a claim."""
        self.newest = offset if self.newest is None else max(self.newest, offset)

    def take_state(self, record: ScoreRecord, offset: int) -> bool:
        """Take a state; return False where its writer had lost the camera already when it wrote it.

        Such a writer was frozen or cut off. Of the others, the state of the highest generation counts, however late an
        older one arrives.
        """
        generation = record.generation
        if generation is None:
            return True  # of a worker that shares no cameras: a score for people
        if self.newest is not None and generation < self.newest < offset:
            return False
        written = (generation, offset)
        if written >= self._written.get(record.detector, (-1, -1)):
            self._written[record.detector] = written
            self.states[record.detector] = record.state
        return True


class Claims:
    """The claims and states of many cameras, from records in the order of their partitions. Not thread-safe."""

    def __init__(self) -> None:
        self.cameras: dict[str, CameraClaims] = {}

    def take(self, record: Record) -> str | Watch | None:
        """Take a record.

        Returns:
            the camera and detector whose state a writer has replaced that had lost the camera; or one line on a record
            that cannot be read; else None.
        """
        camera, slash, detector = record.key.partition("/")
        known = self.cameras.setdefault(camera, CameraClaims())
        if not slash:
            known.take_claim(record.offset)  # also a tombstone: whatever comes after it is of a newer life
            return None
        if record.value is None:
            known.states.pop(detector, None)
            return None
        try:
            state = ScoreRecord.model_validate_json(record.value)
        except ValidationError as error:
            return f"key {record.key}, offset {record.offset}: {explain_unreadable(error)}"
        if (state.camera, state.detector) != (camera, detector):
            return f"key {record.key}, offset {record.offset}: is of {Watch(state.camera, state.detector)}"
        return None if known.take_state(state, record.offset) else Watch(camera, detector)
