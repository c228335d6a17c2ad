"""UCF-Crime (Sultani et al., CVPR 2018) as it was published.

    FOLDER/**/Abuse/Abuse001_x264.mp4                         a folder for each kind of crime
    FOLDER/**/Normal_Videos001_x264.mp4                       normal videos, in folders of several names
    FOLDER/**/Anomaly_Train.txt                               a line a video, FOLDER/NAME: 800 normal, 810 abnormal
    FOLDER/**/Anomaly_Test.txt                                150 and 140
    FOLDER/**/Temporal_Anomaly_Annotation*.txt                when, in the test videos

The archives unpack to other folders than the lists name (``Training-Normal-Videos-Part-1`` where the list says
``Training_Normal_Videos_Anomaly``), so a video is found by its folder and name, else by its name alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import leave_out, lines_of, none_left, one_of, settle
from pipeline.sources.base import SourceError
from pipeline.sources.recordings import open_recording

WHAT = "UCF-Crime"
NORMAL = "Normal"

#: The annotation was made on other decodings of the films: five of its intervals end one or two frames after the number
#: of frames that MIST's copy of it states. So many are let go; more is an error.
OVERSHOOT_FRAMES = 2

_LISTS = {TRAIN: "Anomaly_Train.txt", TEST: "Anomaly_Test.txt"}
_ANNOTATIONS = (
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
    "Temporal_Anomaly_Annotation.txt",
    "Temporal_Anomaly_Annotation_New.txt",
    "temporal_annotation.txt",
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A line of the temporal annotation.

    Attributes:
        category: kind of crime, or ``Normal``.
        intervals: [first, end) of what is abnormal, frames counted from 0; none of a normal video.
        frames: how many the video has, where the line says it (MIST's copy does).
    """

    category: str
    intervals: tuple[tuple[int, int], ...]
    frames: int | None = None

    @property
    def label(self) -> int:
        """1 abnormal, 0 normal."""
        return int(self.category != NORMAL)

    def ending_at(self, frames: int) -> Annotation | None:
        """The same of a video of so many frames; None where an interval reaches too far past its end."""
        if any(end > frames + OVERSHOOT_FRAMES or first >= frames for first, end in self.intervals):
            return None
        return Annotation(self.category, tuple((first, min(end, frames)) for first, end in self.intervals), frames)


def read_annotation(file: Path, *, wrong: dict[str, str] | None = None) -> dict[str, Annotation]:
    """Read the temporal annotation of the test videos.

    A line is ``NAME.mp4 CATEGORY START END START END [FRAMES]``, -1 for what there is not. START and END are counted
    from 1 and both belong to it: the authors' evaluation (MATLAB) sets ``GT(START:END) = 1``. Read so, ``165 240`` is
    [164, 240). MIST's reference sets ``label[165:240]``, one frame less.

    Args:
        file: of the annotation.
        wrong: takes, by the video's name, what is wrong with an annotation that reaches past the end that it states
            itself. Without it that is an error.

    Returns:
        By the video's name without its suffix (as ``Abuse028_x264``), in the order of the file.

    Raises:
        ManifestError: the file or a line of it cannot be read.
    """
    annotations: dict[str, Annotation] = {}
    seen: set[str] = set()
    for place, line in lines_of(file):
        try:
            name, category, *words = line.split()
            numbers = [int(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) not in (4, 5):
            raise ManifestError(f"{place}: expected NAME CATEGORY START END START END [FRAMES], got {line!r}")
        frames = numbers[4] if len(numbers) == 5 else None
        intervals = []
        for start, end in (numbers[0:2], numbers[2:4]):
            if (start, end) == (-1, -1):
                continue
            first = max(start, 1) - 1
            if start < 0 or first >= end:
                raise ManifestError(f"{place}: from frame {start} to {end}: expected to end after it starts")
            intervals.append((first, end))
        if bool(intervals) != (category != NORMAL):
            what = "no interval" if category != NORMAL else "an interval"
            raise ManifestError(f"{place}: {name} is {category} and has {what}")
        key = PurePosixPath(name).stem
        if key in seen:
            raise ManifestError(f"{place}: {name} is annotated twice")
        seen.add(key)
        annotation: Annotation | None = Annotation(category, tuple(intervals), frames)
        if frames is not None and annotation is not None:
            annotation = annotation.ending_at(frames)
        if annotation is not None:
            annotations[key] = annotation
            continue
        reason = f"{place}: {name} has {frames} frames, and an interval reaches past its end: {line!r}"
        if wrong is None:
            raise ManifestError(reason)
        wrong[key] = reason
    return annotations


def ucf_crime(folder: Path, *, lists: Path | None = None, skipped: list[str] | None = None) -> list[Video]:
    """The videos that the two lists name; those of the test with their intervals.

    Args:
        folder: of the data set; videos may be anywhere below it.
        lists: of the lists and the annotation; ``folder`` when left out.
        skipped: takes a line for each missing file, and for each test video that is not annotated, or past its end;
            such a video is left out. Without it they are an error.

    Raises:
        ManifestError: files are missing, one says something else than expected, or a test video is not annotated.
    """
    named: dict[PurePosixPath, str] = {}
    for split, name in _LISTS.items():
        for place, line in lines_of(one_of(lists or folder, [name], f"list of {WHAT}")):
            path = PurePosixPath(line)
            if len(path.parts) < 2 or path.suffix != ".mp4":
                raise ManifestError(f"{place}: expected FOLDER/NAME.mp4, got {line!r}")
            if path in named:
                raise ManifestError(f"{place}: {line} is named twice")
            named[path] = split
    annotation_file = one_of(lists or folder, _ANNOTATIONS, f"temporal annotation of {WHAT}")
    wrong: dict[str, str] = {}
    annotations = read_annotation(annotation_file, wrong=wrong)
    there = _Films(folder)
    videos: list[Video] = []
    missing: list[str] = []
    for path, split in named.items():
        label = int(NORMAL not in path.parent.name)
        intervals: tuple[tuple[int, int], ...] = ()
        if (film := there.find(path)) is None:
            missing.append(str(path))
            continue
        if split == TEST:
            try:
                if path.stem in wrong:
                    raise ManifestError(wrong[path.stem])
                if (annotation := annotations.get(path.stem)) is None:
                    raise ManifestError(f"{annotation_file}: no line for the test video {path}")
                if annotation.label != label:
                    raise ManifestError(f"{annotation_file}: {path.stem} is {annotation.category}, in the list {path}")
                intervals = _on_film(annotation, film, annotation_file)
            except ManifestError as error:
                leave_out(str(error), skipped)
                continue
        videos.append(Video(film.resolve(), label, intervals, split))
    settle(folder, WHAT, missing, skipped)
    if not videos:
        raise none_left(folder, WHAT)
    return videos


class _Films:
    """Where the videos are: by folder and name, else by name, of several the first in the alphabet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for film in sorted(folder.rglob("*.mp4")):
            self._by_name[film.name].append(film)

    def find(self, path: PurePosixPath) -> Path | None:
        films = self._by_name.get(path.name, [])
        return next((film for film in films if film.parent.name == path.parent.name), films[0] if films else None)


def _on_film(annotation: Annotation, film: Path, file: Path) -> tuple[tuple[int, int], ...]:
    """The intervals, ending with the film as it is."""
    if not annotation.intervals:
        return ()
    try:
        frames = len(open_recording(film).frame_times())
    except SourceError:
        return annotation.intervals  # who reads the video says so
    if (on_film := annotation.ending_at(frames)) is None:
        raise ManifestError(f"{file}: {film.name}: annotated past the end of {film}, which has {frames} frames")
    return on_film.intervals
