"""Films among the files of a folder, and a line on the files that are passed over.

A file with a suffix of films is one, unread: thousands of them list in a second, and a damaged one is reported when it
is opened. Suffixes of other things are not films. Any other file (``.dat``, ``.gif``, ``.ps``, without a suffix) is
judged by its first bytes.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av

from pipeline.sources.files import NOT_VIDEO_FORMATS
from pipeline.sources.frame_folder import PICTURE_SUFFIXES

#: Suffixes of the files that are films, whatever is in them.
FILM_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".asf", ".avc", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".h261", ".h263"}
    | {".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mk3d", ".mkv"}
    | {".mov", ".mp4", ".mp4v", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm"}
    | {".rmvb", ".tod", ".tp", ".trp", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"}
)
#: Suffixes of files that are never films; they are not opened.
_OTHER_SUFFIXES = frozenset(
    {".7z", ".aac", ".bmp", ".bz2", ".cfg", ".conf", ".csv", ".db", ".doc", ".docx", ".dll", ".exe", ".flac", ".gz"}
    | {".h5", ".hdf5", ".heic", ".htm", ".html", ".ini", ".ipynb", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".m3u"}
    | {".m3u8", ".m4a", ".mat", ".md", ".mp3", ".ndjson", ".npy", ".npz", ".nfo", ".onnx", ".opus", ".parquet", ".pdf"}
    | {".pickle", ".pkl", ".png", ".pt", ".pth", ".py", ".rar", ".rst", ".rtf", ".safetensors", ".sh", ".sqlite"}
    | {".srt", ".sub", ".svg", ".tar", ".tgz", ".tif", ".tiff", ".toml", ".tsv", ".txt", ".vtt", ".wav", ".webp"}
    | {".xls", ".xlsx", ".xml", ".xz", ".yaml", ".yml", ".zip", ".zst"}
)

#: Bytes that show text.
_HEAD_BYTES = 2048
#: Options of FFmpeg for a look at a file: a second for a thousand files that are nothing.
_LOOK = {"protocol_whitelist": "file", "formatprobesize": "16384", "probesize": "1000000", "analyzeduration": "0"}
#: Numbers of examples and of kinds of files in a line.
_EXAMPLES, _KINDS = 3, 6


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of one folder, each in the order of its names. Hidden entries are not among them.

    Attributes:
        folders: folders and links to folders.
        others: whatever is neither a folder, a film nor a picture.
    """

    films: tuple[Path, ...]
    pictures: tuple[Path, ...]
    folders: tuple[Path, ...]
    others: tuple[Path, ...]


def list_folder(folder: Path) -> Listing:
    """Return the contents of ``folder``, not those of its folders.

    Raises:
        OSError: it cannot be listed.
    """
    found: dict[str, list[Path]] = {"film": [], "picture": [], "other": [], "folder": []}
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not entry.name.startswith("."):
                found[_kind(entry)].append(folder / entry.name)
    return Listing(tuple(found["film"]), tuple(found["picture"]), tuple(found["folder"]), tuple(found["other"]))


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        if entry.is_dir():
            return "folder"
        if not entry.is_file() and not entry.is_symlink():
            return "other"  # a pipe or a socket: to open it may wait for ever
    except OSError:  # links in a ring
        pass
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122  (a Path for each of thousands takes longer)
    if suffix in FILM_SUFFIXES:
        return "film"
    if suffix in PICTURE_SUFFIXES:
        return "picture"
    return "film" if suffix not in _OTHER_SUFFIXES and _is_readable_film(Path(entry.path)) else "other"


def _is_readable_film(path: Path) -> bool:
    try:
        return path.is_file() and is_film(path)
    except OSError:
        return False


def is_film(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a film: two pictures at least.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head or _is_text(head):
        return False
    try:
        with av.open(f"file:{path.absolute()}", options=_LOOK) as container:
            name = container.format.name
            if name in NOT_VIDEO_FORMATS or name.endswith("_pipe"):  # text; a single picture
                return False
            streams = [one for one in container.streams.video if one.codec_context is not None]
            films = [one for one in streams if not one.disposition & av.stream.Disposition.attached_pic]
            packets = (packet for packet in container.demux(films) if packet.size) if films else iter(())
            return sum(1 for _, _packet in zip(range(2), packets, strict=False)) == 2
    except av.FFmpegError:
        return False


def _is_text(head: bytes) -> bool:
    """Return whether the start of a file is text; a character may be cut off at its end."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(char.isprintable() or char in "\t\n\r\f\ufeff" for char in text)


def films_below(
    folder: Path, passed_over: PassedOver, *, but: Callable[[Path], bool] = lambda _folder: False
) -> Iterator[Path]:
    """Yield the films below ``folder``: those of a folder before those of the folders in it, by their names.

    A folder is entered once, whatever links lead there. Linked folders come last, so that a film bears the name of its
    own place where it has one below ``folder``.

    Args:
        passed_over: receives whatever is not a film.
        but: returns whether a folder is left out.

    Raises:
        OSError: a folder cannot be listed.
    """
    entered: set[Path] = set()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        here = waiting.pop() if waiting else linked.pop(0)
        if (place := here.resolve()) in entered:
            continue
        entered.add(place)
        inside = list_folder(here)
        passed_over.add((*inside.pictures, *inside.others))
        yield from inside.films
        folders = [one for one in inside.folders if not but(one)]
        linked += [one for one in folders if one.is_symlink()]
        waiting += reversed([one for one in folders if not one.is_symlink()])


@dataclass(slots=True)
class PassedOver:
    """Files that a folder holds and that are not taken: their number, kinds and first examples."""

    _kinds: Counter[str] = field(default_factory=Counter)
    _examples: list[Path] = field(default_factory=list)
    _pictures: bool = False

    def add(self, paths: Iterable[Path]) -> None:
        """Count files, and folders that are not entered."""
        for path in paths:
            suffix = path.suffix.lower()
            self._kinds[suffix if re.fullmatch(r"\.\w{1,8}", suffix) else "without a suffix"] += 1
            self._pictures |= suffix in PICTURE_SUFFIXES
            if len(self._examples) < _EXAMPLES:
                self._examples.append(path)

    def line(self) -> str | None:
        """Return one line on all of them; None if there are none."""
        if not self._kinds:
            return None
        kinds = [f"{count} {kind}" for kind, count in self._kinds.most_common(_KINDS)]
        if (more := len(self._kinds) - _KINDS) > 0:
            kinds.append(f"and {more} more kinds")
        count = self._kinds.total()
        files = f"{count} file{'s' * (count != 1)}"
        line = (
            f"passed over {files} not recognised as video ({', '.join(kinds)}): {', '.join(map(str, self._examples))}"
        )
        if count > len(self._examples):
            line += ", …"
        if self._pictures:
            line += "; a folder of pictures is a video in a manifest that gives its fps"
        return line
