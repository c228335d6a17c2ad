"""Masks of abnormal pixels: for each frame of a video a picture of the frame's size, abnormal where it is not 0.

    Test001_gt/001.bmp      a folder of pictures, one a frame, in the order of their numbers
    000_mask.png            a picture, for a video of one frame
    masks.zip               an archive of such folders: VIDEO/000.png
    masks.npz               an archive of arrays, (frames, height, width): one a video

In an archive, VIDEO is the video's name, or the name of its file without folders and suffix.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt

from pipeline.manifests.manifest import ManifestError
from pipeline.plain_arrays import UNREADABLE, Array, ArraysError, load_member, names_of, refuse_other_formats
from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.frame_folder import by_number, is_picture, pictures
from pipeline.sources.recordings import Recording
from pipeline.sources.scale import upright

Mask = npt.NDArray[np.bool_]

_ARRAYS = (".npz", ".npy")
_ARCHIVES = (*_ARRAYS, ".zip")


class MasksError(ManifestError):
    """Masks cannot be used. One line that names the file."""


class Masks(Protocol):
    """The masks of one video, which can be read again and again."""

    def __len__(self) -> int:
        """Return the number of masks. Raises MasksError."""
        ...

    def __iter__(self) -> Iterator[Mask]:
        """Yield each frame's mask, bool (height, width), all of one size.

        Raises:
            MasksError: one cannot be read, or is of another size than the first.
        """
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, pixels. Raises MasksError."""
        ...


@dataclass(frozen=True)
class ArrayMasks:
    """Masks in one array: (frames, height, width). ``load`` returns it and raises MasksError."""

    load: Callable[[], Mask]

    def __len__(self) -> int:
        return self._shape[0]

    def __iter__(self) -> Iterator[Mask]:
        yield from self.load()

    @property
    def size(self) -> tuple[int, int]:
        return self._shape[1:]

    @cached_property
    def _shape(self) -> tuple[int, int, int]:
        frames, height, width = self.load().shape
        return frames, height, width


@dataclass(frozen=True)
class PictureMasks:
    """Masks in pictures, of which one is held at a time.

    Attributes:
        place: the archive or the folder.
        names: of the pictures in it, one a frame; at least one.
        archived: whether ``place`` is an archive.
    """

    place: Path
    names: tuple[str, ...]
    archived: bool

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Mask]:
        first: tuple[int, ...] | None = None
        with ExitStack() as stack:
            read = self._reader(stack)
            for name in self.names:
                mask = _decoded(self.place, name, read)
                first = first or mask.shape
                if mask.shape != first:
                    raise MasksError(
                        f"{self.place}: {name}: a mask of {_size(mask.shape)} pixels, the first of its video has "
                        f"{_size(first)}; expected masks of one size"
                    )
                yield mask

    @cached_property
    def size(self) -> tuple[int, int]:
        height, width = next(iter(self)).shape
        return height, width

    def _reader(self, stack: ExitStack) -> Callable[[str], bytes]:
        if not self.archived:
            return lambda name: (self.place / name).read_bytes()
        return stack.enter_context(zipfile.ZipFile(self.place)).read


def read_masks(file: Path) -> dict[str, Masks]:
    """Return the masks in an archive, by video.

    Args:
        file: an archive of arrays (``.npz``), or of folders of pictures (``.zip``).

    Raises:
        MasksError: the file is missing or is not such an archive.
    """
    try:
        if file.suffix.lower() in _ARRAYS:
            named = names_of(file)
            if not named:
                raise MasksError(f"{file}: expected an archive with one array a video")
            return {name: ArrayMasks(partial(_marked, file, name)) for name in named}
        refuse_other_formats(file)
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and is_picture(Path(name))]
    except ArraysError as error:
        raise MasksError(f"{file}: {error}") from None
    except FileNotFoundError:
        raise MasksError(f"{file}: no such file") from None
    except OSError as error:
        raise MasksError(f"{file}: cannot be read: {error.strerror or error}") from None
    except zipfile.BadZipFile:
        raise MasksError(f"{file}: expected an archive of arrays (.npz) or of pictures (.zip)") from None
    if not names:
        raise MasksError(f"{file}: holds no picture")
    folders: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: by_number(Path(name))):
        folders.setdefault(str(Path(name).parent), []).append(name)
    return {video: PictureMasks(file, tuple(names), archived=True) for video, names in folders.items()}


def masks_of(place: Path, video: str) -> Masks:
    """Return the masks of one video.

    Args:
        place: a folder of pictures, a picture, or an archive; see the module's docstring.
        video: its name, by which an archive holds its masks.

    Raises:
        MasksError: the place is missing, or has no masks of the video.
    """
    try:
        if place.is_dir():
            if not (found := pictures(place)):
                raise MasksError(f"{place}: holds no picture; expected a mask a frame")
            return PictureMasks(place, tuple(file.name for file in found), archived=False)
    except OSError as error:
        raise MasksError(f"{place}: cannot be read: {error.strerror}") from None
    if place.suffix.lower() not in _ARCHIVES:
        if not place.is_file():
            raise MasksError(f"{place}: no such file; expected masks")
        return PictureMasks(place.parent, (place.name,), archived=False)
    archive = read_masks(place)
    if (name := masked_name(video, archive)) is None:
        raise MasksError(f"{place}: has no masks of {video}; expected a folder or an array named {Path(video).stem}")
    return archive[name]


def masked_name(video: str, names: Container[str]) -> str | None:
    """Return the name by which an archive holds a video's masks; None if it holds none."""
    return next((name for name in (video, Path(video).stem) if name in names), None)


def size_problem(masks: Masks, recording: Recording) -> str | None:
    """Return why masks are not of a recording's pictures, or None. Decodes one picture of each.

    Raises:
        MasksError: the masks cannot be read.
        SourceError: the recording cannot be read.
    """
    size = masks.size
    with closing(recording.frames([FrameSpec(16, 16)], threading.Event())) as frames:  # type: ignore[type-var]
        first = next(iter(frames), None)
    if not isinstance(first, Frame):
        return None  # reading the recording reports that it has no picture
    picture = upright(first.native)
    shown = picture.height, picture.width
    return None if size == shown else f"masks of {_size(size)} pixels, pictures of {_size(shown)}; expected one size"


def _marked(file: Path, name: str) -> Mask:
    try:
        values: Array = load_member(file, name)
    except OSError as error:
        raise MasksError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ArraysError as error:
        raise MasksError(f"{file}: {error}") from None
    if values.ndim != 3 or not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise MasksError(f"{file}: {name}: expected (frames, height, width), got {values.dtype} {values.shape}")
    return np.asarray(values != 0)


def _decoded(place: Path, name: str, read: Callable[[str], bytes]) -> Mask:
    try:
        with av.open(io.BytesIO(read(name)), "r") as picture:
            return np.asarray(next(picture.decode(video=0)).to_ndarray(format="gray") != 0)
    except (av.FFmpegError, StopIteration, IndexError, *UNREADABLE):
        raise MasksError(f"{place}: {name}: not a picture; expected a mask") from None


def _size(shape: Sequence[int]) -> str:
    return f"{shape[1]}×{shape[0]}"
