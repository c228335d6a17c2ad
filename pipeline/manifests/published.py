"""What the readers of published layouts have in common: lists of lines, and files that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.manifests.manifest import ManifestError, listed


def lines_of(file: Path) -> Iterator[tuple[str, str]]:
    """The lines of a published list that are not empty, each after where it stands, ``FILE:NUMBER``.

    Raises:
        ManifestError: it is not there, or no text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ManifestError(f"{file}: no such file") from None
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{file}: expected text") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


def one_of(folder: Path, names: Sequence[str], what: str) -> Path:
    """The file of a layout that goes by any of these names, in ``folder`` or anywhere below it.

    Raises:
        ManifestError: there is none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    for name in names:
        for file in sorted(folder.rglob(name)):
            return file
    raise ManifestError(f"{folder}: no {what} there; expected {' or '.join(names)}")


def settle(folder: Path, what: str, missing: Sequence[str], skipped: list[str] | None) -> None:
    """Say which files are missing.

    Args:
        folder: of the data set.
        what: the data set's name.
        missing: the files, relative to the folder.
        skipped: takes them instead of an error, a line each.

    Raises:
        ManifestError: how many there are, the first ten, and how to see the others.
    """
    if skipped is not None:
        skipped += [f"{folder / name}: no such file" for name in missing]
    elif missing:
        files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
        head = f"{folder}: {files} of {what} missing:"
        files = listed([f"  {name}" for name in missing], "  and {} more; --skip-bad lists all")
        raise ManifestError(f"{head}\n{files}")


def leave_out(reason: str, skipped: list[str] | None) -> None:
    """Leave out a video that cannot be used as it is published.

    Args:
        reason: one line that names the file.
        skipped: takes it instead of an error.

    Raises:
        ManifestError: nothing is to be skipped.
    """
    if skipped is None:
        raise ManifestError(reason)
    skipped.append(reason)


def none_left(folder: Path, what: str) -> ManifestError:
    """The error where every video is missing."""
    return ManifestError(f"{folder}: not one video of {what} is there")
