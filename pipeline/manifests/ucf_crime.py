"""UCF-Crime (Sultani et al., CVPR 2018) as it was published.

    FOLDER/**/Abuse/Abuse001_x264.mp4                         a folder for each kind of crime
    FOLDER/**/Normal_Videos001_x264.mp4                       normal videos, in folders of several names
    FOLDER/**/Anomaly_Train.txt                               a line a video, FOLDER/NAME: 800 normal, 810 abnormal
    FOLDER/**/Anomaly_Test.txt                                150 and 140
    FOLDER/**/Temporal_Anomaly_Annotation*.txt                abnormal intervals of the test videos

The archives unpack to other folders than the lists name (``Training-Normal-Videos-Part-1`` where the list says
``Training_Normal_Videos_Anomaly``), so a video is found by its folder and name, else by its name alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import find_file, lines_of, report_missing, skip_or_raise
from pipeline.sources.base import SourceError
from pipeline.sources.recordings import open_recording

DATA_SET = "UCF-Crime"
NORMAL = "Normal"

#: The annotation was made on other decodings of the films: five of its intervals end one or two frames after the number
#: of frames that MIST's copy of it states. An overshoot up to this is accepted; more is an error.
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
        intervals: [first, end) of the abnormal frames, counted from 0; empty for a normal video.
        frames: number of frames of the video, if the line states it (MIST's copy does).
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


def read_annotation(file: Path, *, wrong: dict[str, str] | None = None) -> dict[str, Annotation]:
    """Read the temporal annotation of the test videos.

    A line is ``NAME.mp4 CATEGORY START END START END [FRAMES]``, with -1 for a missing interval. START and END are
    counted from 1 and both included: the authors' evaluation (MATLAB) sets ``GT(START:END) = 1``. So ``165 240`` is
    [164, 240). MIST's reference sets ``label[165:240]``, one frame less.

    Args:
        wrong: receives, by the video's name, the problem of an annotation that reaches past the end that it states
            itself; if None, that is an error.

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
    """Read the videos that the two lists name; test videos with their intervals.

    Args:
        folder: of the data set; videos may be anywhere below it.
        lists: folder of the lists and the annotation; ``folder`` if None.
        skipped: receives a line for each missing file, and for each test video without an annotation or annotated
            past its end; such a video is left out. If None, these are errors.

    Raises:
        ManifestError: files are missing or invalid, or a test video is not annotated.
    """
    named: dict[PurePosixPath, str] = {}
    for split, name in _LISTS.items():
        for place, line in lines_of(find_file(lists or folder, [name], f"list of {DATA_SET}")):
            path = PurePosixPath(line)
            if len(path.parts) < 2 or path.suffix != ".mp4":
                raise ManifestError(f"{place}: expected FOLDER/NAME.mp4, got {line!r}")
            if path in named:
                raise ManifestError(f"{place}: {line} is named twice")
            named[path] = split
    annotation_file = find_file(lists or folder, _ANNOTATIONS, f"temporal annotation of {DATA_SET}")
    wrong: dict[str, str] = {}
    annotations = read_annotation(annotation_file, wrong=wrong)
    films = _Films(folder)
    videos: list[Video] = []
    missing: list[str] = []
    for path, split in named.items():
        label = int(NORMAL not in path.parent.name)
        intervals: tuple[tuple[int, int], ...] = ()
        if (film := films.find(path)) is None:
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
                skip_or_raise(str(error), skipped)
                continue
        videos.append(Video(film.resolve(), label, intervals, split))
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos


class _Films:
    """Index of videos by folder and name, else by name; of several the first in the alphabet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for film in sorted(folder.rglob("*.mp4")):
            self._by_name[film.name].append(film)

    def find(self, path: PurePosixPath) -> Path | None:
        films = self._by_name.get(path.name, [])
        return next((film for film in films if film.parent.name == path.parent.name), films[0] if films else None)


def _on_film(annotation: Annotation, film: Path, file: Path) -> tuple[tuple[int, int], ...]:
    """Return the intervals, cut to the actual film."""
    if not annotation.intervals:
        return ()
    try:
        frames = len(open_recording(film).frame_times())
    except SourceError:
        return annotation.intervals  # reading the video reports the error
    if (on_film := annotation.ending_at(frames)) is None:
        raise ManifestError(f"{file}: {film.name}: annotated past the end of {film}, which has {frames} frames")
    return on_film.intervals
