"""Archives on the command line: the options that join files, and the lines that state what was joined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.runs.folder import RowGap, VideoRow
    from pipeline.runs.recordings import Wanted
    from pipeline.sources.archive import Joining
    from pipeline.sources.base import Source

#: Number of cameras, and of gaps, that a line names.
_NAMED = 5


def joining_of(join: bool | None, camera: str | None, time_zone: str | None) -> Joining:
    """Return what the options say. Raises UsageError: they contradict each other, or the zone is unknown."""
    from pipeline.sources.archive import Joining, zone_named

    if join is False and camera is not None:
        raise UsageError("--camera joins the files of one camera: leave out --no-join")
    if camera is not None and not camera.strip():
        raise UsageError("--camera: expected a name, got an empty one")
    return Joining(join, camera, zone_named(time_zone))


def to_be_joined(recordings: Sequence[Wanted], joining: Joining) -> str | None:
    """Return the line that states what is about to be read as one; None where every recording is one file.

    It does not name --no-join where --join was given.
    """
    cameras = [one for one in recordings if one.parts]
    if not cameras:
        return None
    files = sum(len(one.parts) for one in cameras)
    names = ", ".join(one.name for one in cameras[:_NAMED]) + ", …" * (len(cameras) > _NAMED)
    by_itself = len(recordings) - len(cameras)
    rest = f"; {_counted(by_itself, 'recording')} of one file" if by_itself else ""
    if left_out := sum(one.left_out for one in cameras):
        rest += f"; {_counted(left_out, 'file')} of other cameras, or without a time, left out"
    instead = "" if joining.join else "; --no-join reads each file by itself"
    return (
        f"{_counted(files, 'file')} {'is' if files == 1 else 'are'} read as {_counted(len(cameras), 'recording')}, "
        f"one for each camera ({names}){rest}{instead}"
    )


def watched(sources: Iterable[Source]) -> Iterator[str]:
    """Yield a line for each source that reads several files as one recording."""
    from pipeline.sources.joined import JoinedSource

    for source in sources:
        if isinstance(source, JoinedSource):
            yield f"{source.camera}: {_counted(len(source.parts), 'file')} are read as one recording"
            if (passed_over := source.passed_over.line()) is not None:
                yield f"{source.camera}: {passed_over}"


def joined(row: VideoRow, zone: tzinfo | None) -> str:
    """Return the line on a camera's archive: its files, from when to when, and its gaps.

    Args:
        zone: of the times; None: this machine's.
    """
    parts = [f"{row.name}: {_counted(len(row.files), 'file')} joined"]
    if (at := row.started_at) is not None:
        watched = row.duration_seconds + sum(max(gap.seconds or 0.0, 0.0) for gap in row.gaps)
        parts.append(f"{_shown(at, zone)} to {_shown(at + timedelta(seconds=watched), zone)}")
    gaps = [gap for gap in row.gaps if gap.seconds is None or gap.seconds > 0]
    overlaps = [gap for gap in row.gaps if gap.seconds is not None and gap.seconds < 0]
    parts.append(_listed(gaps, "gap", zone))
    if overlaps:
        parts.append(f"{_listed(overlaps, 'overlap', zone)}, watched once")
    return ", ".join(parts)


def _listed(gaps: Sequence[RowGap], word: str, zone: tzinfo | None) -> str:
    if not gaps:
        return f"no {word}"
    named = "; ".join(_length(gap) + _since(gap, zone) for gap in gaps[:_NAMED])
    return f"{_counted(len(gaps), word)} ({named}{'; …' * (len(gaps) > _NAMED)})"


def _length(gap: RowGap) -> str:
    return "of unknown length" if gap.seconds is None else f"{abs(gap.seconds):.1f} s"


def _since(gap: RowGap, zone: tzinfo | None) -> str:
    return f" from {_shown(gap.after, zone)}" if gap.after is not None else ""


def _shown(at: datetime, zone: tzinfo | None) -> str:
    return at.astimezone(zone).isoformat(" ", "seconds")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
