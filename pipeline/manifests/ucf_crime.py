"""UCF-Crime (Sultani et al., CVPR 2018) as it was published, and with the lists of projects that reproduce it.

    FOLDER/**/Abuse/Abuse001_x264.mp4                         a folder for each kind of crime
    FOLDER/**/Normal_Videos001_x264.mp4                       normal videos, in folders of several names
    FOLDER/**/Anomaly_Train.txt                               a line a video, FOLDER/NAME: 800 normal, 810 abnormal
    FOLDER/**/Anomaly_Test.txt                                150 and 140
    FOLDER/**/Temporal_Anomaly_Annotation*.txt                abnormal intervals of the test videos

The lists may have any form of :mod:`pipeline.manifests.video_lists`. The annotation names every test video, and the two
lists divide the whole data set. So a missing test list is read from the annotation, and without a training list the
other videos in the folder that are named as UCF-Crime's are the training videos.

The archives unpack to other folders than the lists name (``Training-Normal-Videos-Part-1`` where the list says
``Training_Normal_Videos_Anomaly``), so a video is found by its folder and name, else by its name alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.manifests.folds import TEST, TRAIN
from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import find_file, first_file, report_missing, skip_or_raise
from pipeline.manifests.video_lists import NORMAL, Annotation, read_annotation, read_list
from pipeline.sources.base import SourceError
from pipeline.sources.recordings import open_recording

DATA_SET = "UCF-Crime"
SUFFIX = ".mp4"

_LISTS = {TRAIN: ("Anomaly_Train.txt", "*Train_Annotation.txt"), TEST: ("Anomaly_Test.txt",)}
_ANNOTATIONS = (
    "Temporal_Anomaly_Annotation_for_Testing_Videos.txt",
    "Temporal_Anomaly_Annotation.txt",
    "Temporal_Anomaly_Annotation_New.txt",
    "temporal_annotation.txt",
    "*Test_Annotation.txt",
    "*UCF_Annotation.txt",
)
_CRIMES = (
    *("Abuse", "Arrest", "Arson", "Assault", "Burglary", "Explosion", "Fighting", "RoadAccidents", "Robbery"),
    *("Shooting", "Shoplifting", "Stealing", "Vandalism"),
)
#: The name of a video: ``Abuse001_x264``, ``Normal_Videos001_x264`` (training) or ``Normal_Videos_003_x264`` (test).
_NAME = re.compile(rf"(?P<kind>{NORMAL}_Videos_?|{'|'.join(_CRIMES)})\d{{3}}_x264")
_NORMAL_FOLDERS = {
    f"{NORMAL}_Videos": "Training_Normal_Videos_Anomaly",
    f"{NORMAL}_Videos_": "Testing_Normal_Videos_Anomaly",
}


def ucf_crime(
    folder: Path, *, lists: Path | None = None, skipped: list[str] | None = None, notes: list[str] | None = None
) -> list[Video]:
    """Read the videos that the two lists name; test videos with their intervals.

    Args:
        folder: of the data set; videos may be anywhere below it.
        lists: folder of the lists and the annotation; ``folder`` if None.
        skipped: receives a line for each missing file, and for each test video without an annotation or annotated
            past its end; such a video is left out. If None, these are errors.
        notes: receives a line for each missing list and what stands in for it.

    Raises:
        ManifestError: files are missing or invalid, or a test video is not annotated.
    """
    films = _Films(folder)
    annotation_file = find_file(lists or folder, _ANNOTATIONS, f"temporal annotation of {DATA_SET}")
    wrong: dict[str, str] = {}
    annotations = read_annotation(annotation_file, wrong=wrong)
    videos: list[Video] = []
    missing: list[str] = []
    for path, split in _split(lists or folder, annotation_file, films, notes if notes is not None else []).items():
        label = _label(path)
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


def _split(lists: Path, annotation: Path, films: _Films, notes: list[str]) -> dict[PurePosixPath, str]:
    """Return the split of each video, as listed, training videos first. Raises ManifestError."""
    files = {split: first_file(lists, names) for split, names in _LISTS.items()}
    split_of = dict.fromkeys(_listed(files[TEST] or annotation), TEST)
    if files[TEST] is None:
        notes.append(f"no {_LISTS[TEST][0]}: the test videos are those of {annotation}")
    tested = {path.stem for path in split_of}
    if (train := files[TRAIN]) is not None:
        training = list(_listed(train))
        for path in training:
            if path.stem in tested:
                raise ManifestError(f"{train}: {path} is named twice, also as a test video")
        return dict.fromkeys(training, TRAIN) | split_of
    training = films.others(tested)
    notes.append(
        f"no {_LISTS[TRAIN][0]}: training videos are all others of {DATA_SET} in the folder, {len(training)}; "
        "missing ones cannot be noticed"
    )
    return dict.fromkeys(training, TRAIN) | split_of


def _listed(file: Path) -> Iterator[PurePosixPath]:
    """Yield the listed videos as ``FOLDER/NAME.mp4``."""
    seen = set()
    for listed in read_list(file):
        path = listed.path if len(listed.path.parts) > 1 else _as_published(listed.path)
        if path is None or path.suffix not in ("", SUFFIX):
            raise ManifestError(
                f"{listed.place}: expected FOLDER/NAME.mp4 or a name like Abuse001_x264, got {listed.path}"
            )
        if path.stem in seen:
            raise ManifestError(f"{listed.place}: {path} is named twice")
        seen.add(path.stem)
        yield path.with_suffix(SUFFIX)


def _as_published(name: PurePosixPath) -> PurePosixPath | None:
    """Return the video in the folder that it was published in; None if it is not named as UCF-Crime's."""
    if (parts := _NAME.fullmatch(name.stem)) is None:
        return None
    return PurePosixPath(_NORMAL_FOLDERS.get(parts["kind"], parts["kind"]), name)


def _label(path: PurePosixPath) -> int:
    return int(NORMAL not in path.parent.name)


class _Films:
    """Index of videos by folder and name, else by name; of several the first in the alphabet."""

    def __init__(self, folder: Path) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for film in sorted(folder.rglob(f"*{SUFFIX}")):
            self._by_name[film.name].append(film)

    def find(self, path: PurePosixPath) -> Path | None:
        films = self._by_name.get(path.name, [])
        return next((film for film in films if film.parent.name == path.parent.name), films[0] if films else None)

    def others(self, names: set[str]) -> list[PurePosixPath]:
        """Return the videos that are named as UCF-Crime's, except those with these names, as published."""
        published = (_as_published(PurePosixPath(name)) for name in self._by_name)
        return [path for path in published if path is not None and path.stem not in names]


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
