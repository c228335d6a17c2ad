"""Lists of videos in the forms of UCF-Crime's authors and of the projects that reproduce it.

| line | in |
|---|---|
| ``FOLDER/NAME.mp4`` | ``Anomaly_Train.txt``, ``Anomaly_Test.txt`` |
| ``NAME`` | lists of ids alone |
| ``FOLDER/NAME.mp4 FRAMES`` | ekosman's ``Train_Annotation.txt`` |
| ``NAME.mp4 CATEGORY START END START END`` | the authors' temporal annotation |
| ``NAME.mp4 CATEGORY START END START END FRAMES`` | MIST's copy of it |
| ``FOLDER/NAME.mp4 FRAMES CATEGORY START END …`` | ``Test_Annotation.txt`` (ekosman), ``UCF_Annotation.txt`` (UR-DMU) |

START and END are counted from 1 and both included, in all of them: the copies have the authors' numbers, and the
authors' evaluation (MATLAB) sets ``GT(START:END) = 1``. So ``165 240`` is [164, 240). MIST's reference sets
``label[165:240]``, one frame less. -1 stands for a missing interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.manifests.manifest import ManifestError
from pipeline.manifests.published import lines_of

NORMAL = "Normal"

#: The annotation was made on other decodings of the films: five of its intervals end one or two frames after the number
#: of frames that the copies of it state. An overshoot up to this is accepted; more is an error.
OVERSHOOT_FRAMES = 2

_EXPECTED = "NAME CATEGORY START END START END [FRAMES] or FOLDER/NAME FRAMES CATEGORY START END …"


@dataclass(frozen=True, slots=True)
class Annotation:
    """The abnormal frames of a video.

    Attributes:
        category: kind of crime, or ``Normal``.
        intervals: [first, end) of the abnormal frames, counted from 0; empty for a normal video.
        frames: number of frames of the video, if the line states it.
    """

    category: str
    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None

    @property
    def label(self) -> int:
        """1 abnormal, 0 normal."""
        return int(self.category != NORMAL)

    def ending_at(self, frames: int) -> Annotation | None:
        """Return the annotation cut to ``frames`` frames; None if an interval reaches too far past the end."""
        if any(end > frames + OVERSHOOT_FRAMES or first >= frames for first, end in self.intervals):
            return None
        return Annotation(self.category, tuple((first, min(end, frames)) for first, end in self.intervals), frames)


@dataclass(frozen=True, slots=True)
class ListedVideo:
    """A line of a list.

    Attributes:
        place: ``FILE:NUMBER``.
        line: its text.
        path: the video as it is listed, with or without folder and suffix.
        frames: its number of frames, if the line states it.
        category: kind of crime or ``Normal``, if the line states it.
        bounds: START and END of the intervals, one after the other.
    """

    place: str
    line: str
    path: PurePosixPath
    frames: int | None = None
    category: str | None = None
    bounds: tuple[int, ...] = ()


def read_list(file: Path) -> Iterator[ListedVideo]:
    """Read a list in any of the forms.

    Raises:
        ManifestError: the file or a line of it cannot be read.
    """
    for place, line in lines_of(file):
        listed = _parsed(place, line)
        if listed is None:
            raise ManifestError(f"{place}: expected NAME [FRAMES], {_EXPECTED}; got {line!r}")
        yield listed


def read_annotation(file: Path, *, wrong: dict[str, str] | None = None) -> dict[str, Annotation]:
    """Read a temporal annotation in any of its forms.

    Args:
        wrong: receives, by the video's name, the problem of an annotation that reaches past the end that it states
            itself; if None, that is an error.

    Returns:
        By the video's name without folder and suffix (as ``Abuse028_x264``), in the order of the file.

    Raises:
        ManifestError: the file or a line of it cannot be read, or a line has no annotation.
    """
    annotations: dict[str, Annotation] = {}
    seen: set[str] = set()
    for place, line in lines_of(file):
        listed = _parsed(place, line)
        if listed is None or listed.category is None:
            raise ManifestError(f"{place}: expected {_EXPECTED}; got {line!r}")
        name, key = listed.path.name, listed.path.stem
        if key in seen:
            raise ManifestError(f"{place}: {name} is annotated twice")
        seen.add(key)
        annotation: Annotation | None = Annotation(listed.category, _intervals(listed), listed.frames)
        if listed.frames is not None and annotation is not None:
            annotation = annotation.ending_at(listed.frames)
        if annotation is not None:
            annotations[key] = annotation
            continue
        reason = f"{place}: {name} has {listed.frames} frames, and an interval reaches past its end: {line!r}"
        if wrong is None:
            raise ManifestError(reason)
        wrong[key] = reason
    return annotations


def _parsed(place: str, line: str) -> ListedVideo | None:
    """Return the line's parts; None if it has none of the forms."""
    first, *words = line.split()
    path = PurePosixPath(first)
    numbers = [_whole(word) for word in words]
    match words:
        case []:
            return ListedVideo(place, line, path)
        case [_] if numbers[0] is not None and numbers[0] > 0:
            return ListedVideo(place, line, path, numbers[0])
        case [_, category, *_] if numbers[0] is not None and numbers[0] > 0 and numbers[1] is None:
            bounds = [number for number in numbers[2:] if number is not None]
            if bounds and len(bounds) == len(numbers) - 2 and len(bounds) % 2 == 0:
                return ListedVideo(place, line, path, numbers[0], category, tuple(bounds))
        case [category, *_] if numbers[0] is None:
            bounds = [number for number in numbers[1:] if number is not None]
            if len(bounds) == len(numbers) - 1 and len(bounds) in (4, 5):
                frames = bounds[4] if len(bounds) == 5 else None
                return ListedVideo(place, line, path, frames, category, tuple(bounds[:4]))
    return None


def _intervals(listed: ListedVideo) -> tuple[tuple[int, int], ...]:
    intervals = []
    for start, end in zip(listed.bounds[::2], listed.bounds[1::2], strict=True):
        if (start, end) == (-1, -1):
            continue
        first = max(start, 1) - 1
        if start < 0 or first >= end:
            raise ManifestError(f"{listed.place}: from frame {start} to {end}: expected to end after it starts")
        intervals.append((first, end))
    if bool(intervals) != (listed.category != NORMAL):
        what = "no interval" if listed.category != NORMAL else "an interval"
        raise ManifestError(f"{listed.place}: {listed.path.name} is {listed.category} and has {what}")
    return tuple(intervals)


def _whole(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None
