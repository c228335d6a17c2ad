"""Arrays of other programs, from NumPy's files. A pickle is never loaded, because loading it can run any code.

A file that holds something else is refused with the one step that makes plain arrays of it, for the program or the
machine that is trusted to open it.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import MistwatchError

Array = npt.NDArray[np.generic]

#: Exceptions when a member of a damaged or unusual archive is read.
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)

_PICKLE = "holds a pickle, which is not loaded because it can run code"
#: Protocols 2 and later begin so; earlier ones are text without a mark.
_PICKLE_MAGIC = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_PICKLE_SUFFIXES = (".pkl", ".pickle")


class ArraysError(MistwatchError):
    """A file holds no plain arrays. One line, without the file's name; it names the step that helps."""


def load_arrays(file: Path) -> Array | dict[str, Array]:
    """Return the array of a ``.npy`` file, or the arrays of a ``.npz`` archive by name. The content decides.

    Raises:
        ArraysError: it holds no plain arrays.
        OSError: it cannot be read.
    """
    loaded = _load(file)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return np.asarray(loaded)
    with loaded:
        return {name: _member(loaded, name) for name in loaded.files}


def names_of(file: Path) -> list[str]:
    """Return the names of an archive's arrays, without reading these.

    Raises:
        ArraysError: it is not an archive.
        OSError: it cannot be read.
    """
    archive = _load(file)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ArraysError(
            "one array; expected an archive with one array a video: "
            f"np.savez('videos.npz', **{{'VIDEO': np.load('{file.name}')}})"
        )
    with archive:
        return list(archive.files)


def load_member(file: Path, name: str) -> Array:
    """Return one array of an archive. Raises ArraysError, OSError."""
    with np.load(file, allow_pickle=False) as archive:
        return _member(archive, name)


def refuse_other_formats(file: Path) -> None:
    """Raise ArraysError, which names the step that converts it, if the file is a pickle, or of PyTorch, MATLAB or HDF5.

    Raises:
        ArraysError: it is one of them.
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        head = opened.read(128)
    name = file.name
    if head.startswith(_PICKLE_MAGIC) or (file.suffix.lower() in _PICKLE_SUFFIXES and not head.startswith(b"PK")):
        convert = f"np.savez('videos.npz', **pickle.load(open('{name}', 'rb')))"
        raise ArraysError(f"{_PICKLE}; where its origin is trusted, store plain arrays by video: {convert}")
    if head.startswith(b"PK") and _is_of_torch(file):
        convert = f"np.savez('videos.npz', **torch.load('{name}', weights_only=True))"
        raise ArraysError(f"is a file of PyTorch; store plain arrays by video: {convert}")
    if head.startswith(b"MATLAB 5.0"):
        arrays = f"scipy.io.loadmat('{name}', squeeze_me=True)"
        convert = f"np.savez('videos.npz', **{{k: v for k, v in {arrays}.items() if k[0] != '_'}})"
        raise ArraysError(f"is a file of MATLAB; store plain arrays by video: {convert}")
    if head.startswith(b"\x89HDF") or b"MATLAB 7.3" in head:
        convert = f"np.savez('videos.npz', **{{k: v[()] for k, v in h5py.File('{name}').items()}})"
        raise ArraysError(f"is a file of HDF5; store plain arrays by video: {convert}")


def as_row(values: Array) -> Array | None:
    """Return numbers with at most one axis that is not 1 long, such as (T,), (1, T) or (T, 1), as (T,).

    Return None for other shapes, for text, and for a single number without an axis.
    """
    numbers = values.size == 0 or np.issubdtype(values.dtype, np.number) or values.dtype == bool
    if not numbers or values.ndim == 0 or sum(length != 1 for length in values.shape) > 1:
        return None
    return values.reshape(-1)


def as_marks(values: Array) -> npt.NDArray[np.bool_] | None:
    """Return where labels or masks mark something abnormal; None if they are neither 0 and 1 nor 0 and 255."""
    if not (np.isin(values, (0, 1)).all() or np.isin(values, (0, 255)).all()):
        return None
    return np.asarray(values != 0)


def _load(file: Path) -> Array | np.lib.npyio.NpzFile:
    """Return an array, or an archive that the caller closes. Raises ArraysError, OSError."""
    refuse_other_formats(file)
    try:
        loaded: Array | np.lib.npyio.NpzFile = np.load(file, allow_pickle=False)
    except OSError:
        raise
    except UNREADABLE as error:
        raise ArraysError(_reason(file, error)) from None
    return loaded


def _is_of_torch(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except UNREADABLE:
        return False  # the reader of arrays reports it


def _member(archive: np.lib.npyio.NpzFile, name: str) -> Array:
    try:
        values: object = archive[name]
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            step = f"store numbers: np.savez('videos.npz', **{{'{name}': np.array(values, float)}})"
            raise ArraysError(f"{name}: {_PICKLE}; {step}") from None
        raise ArraysError(f"{name}: not a plain array: {error}") from None
    if not isinstance(values, np.ndarray):
        raise ArraysError(f"{name}: not a plain array")
    return values


def _reason(file: Path, error: Exception) -> str:
    """Return why this is neither an array nor an archive of arrays."""
    with file.open("rb") as opened:
        head = opened.read(len(np.lib.format.MAGIC_PREFIX))
    if head != np.lib.format.MAGIC_PREFIX:  # of any other content, NumPy says that it is a pickle
        return "not an archive of plain arrays"
    if "allow_pickle" not in str(error):
        return f"not a plain array: {error}"
    loaded = f"np.load('{file.name}', allow_pickle=True)"
    by_name = f"{loaded}.item()" if not _shape(file) else f"dict(zip(names, {loaded}))"
    return f"{_PICKLE}; where its origin is trusted, store plain arrays by video: np.savez('videos.npz', **{by_name})"


def _shape(file: Path) -> tuple[int, ...]:
    """Return the shape in the header of an array of objects; () holds one object, such as a dictionary."""
    with file.open("rb") as opened:
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            return read(opened)[0]
        except ValueError:
            return ()
