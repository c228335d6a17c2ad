"""Videos of two files of different programs that belong together, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.evaluation.score_files import ForeignScoresError, is_one_array

#: Endings that projects add to a video's name: that of UCF-Crime's films, and of features.
_ENDINGS = re.compile(r"(_x264|_i3d|_c3d)+$")
_SUFFIXES = frozenset({".avi", ".mkv", ".mov", ".mp4", ".npy", ".npz", ".txt", ".webm"})

ONE_VIDEO = (
    "Scores and labels are one array each, judged as one video. If they hold several videos end to end, the averages "
    "cross the borders, and intervals and figures by video are wrong. Name the videos with --videos LIST, NAME FRAMES "
    "a line, in the arrays' order."
)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names that belong together.

    Attributes:
        names: of the video in the scores, in their order, with its name in the labels.
        notes: sentences on names that are not equal.
    """

    names: Mapping[str, str]
    notes: tuple[str, ...] = ()


def pair(scores: Mapping[str, object], labels: Mapping[str, object]) -> Pairs:
    """Pair the videos of equal names, then the others by their short names, where these are unique on both sides.

    One array without a video's name belongs to the only video of the other side.

    Raises:
        ForeignScoresError: no video has both.
    """
    if len(scores) == len(labels) == 1 and (is_one_array(scores) or is_one_array(labels)):
        note = (ONE_VIDEO,) if is_one_array(scores) and is_one_array(labels) else ()
        return Pairs({next(iter(scores)): next(iter(labels))}, note)
    named_alike = {name: name for name in scores if name in labels}
    short_labels = _by_short_name(name for name in labels if name not in named_alike)
    short_scores = _by_short_name(name for name in scores if name not in named_alike)
    others = {name: short_labels[short] for short, name in short_scores.items() if short in short_labels}
    if not (named_alike or others):
        raise ForeignScoresError(
            f"scores and labels have no video in common: {some(scores)} have scores and {some(labels)} labels"
            + (
                "; one array of all videos is divided by --videos LIST, NAME FRAMES a line, in its order"
                if is_one_array(scores) or is_one_array(labels)
                else ""
            )
        )
    notes: tuple[str, ...] = ()
    if others:
        first = next(iter(others))
        count = "1 video was" if len(others) == 1 else f"{len(others)} videos were"
        notes = (f"{count} matched by name without folder, suffix and _x264: {first} is {others[first]}.",)
    return Pairs({name: found for name in scores if (found := named_alike.get(name) or others.get(name))}, notes)


def short_name(name: str) -> str:
    """Return a video's name without folder, suffix of a film or an array, and the endings that projects add."""
    path = PurePosixPath(name.replace("\\", "/"))
    return _ENDINGS.sub("", path.stem if path.suffix.lower() in _SUFFIXES else path.name)


def _by_short_name(names: Iterable[str]) -> dict[str, str]:
    """Return the names by short name, without those that several have."""
    found: dict[str, str] = {}
    several = set()
    for name in names:
        if (short := short_name(name)) in found:
            several.add(short)
        found[short] = name
    return {short: name for short, name in found.items() if short not in several}


def some(names: Iterable[str]) -> str:
    """Return the number of videos, and the first of their names."""
    listed = list(names)
    return f"{len(listed)} videos ({', '.join(listed[:3])}{', …' if len(listed) > 3 else ''})"
