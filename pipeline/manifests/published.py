"""Common parts of the readers of published layouts: lists of lines, and missing files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.manifests.manifest import ManifestError, Video, listed


def lines_of(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the non-empty lines of a published list, each after its place, ``FILE:NUMBER``.

    Raises:
        ManifestError: the file is missing or not text.
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


def find_file(folder: Path, names: Sequence[str], what: str) -> Path:
    """Return the file of a layout with any of these names, in ``folder`` or anywhere below it.

    Args:
        names: the names, the preferred one first; ``*`` stands for any prefix.

    Raises:
        ManifestError: the file is missing.
    """
    if (file := first_file(folder, names)) is None:
        raise ManifestError(f"{folder}: no {what} there; expected {' or '.join(names)}")
    return file


def first_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first file of these names, as :func:`find_file`; None if there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    for name in names:
        for file in sorted(folder.rglob(name)):
            return file
    return None


def report_missing(
    folder: Path, what: str, videos: Sequence[Video], missing: Sequence[str], skipped: list[str] | None
) -> None:
    """Report missing files, if there are any, and a data set of which every video is missing.

    Args:
        videos: those that are there.
        missing: the files, relative to the folder.
        skipped: receives them, a line each; if None, they are an error.

    Raises:
        ManifestError: their number, the first ten, and how to see the others; or there are no videos.
    """
    if skipped is not None:
        skipped += [f"{folder / name}: no such file" for name in missing]
    elif missing:
        files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
        head = f"{folder}: {files} of {what} missing:"
        files = listed([f"  {name}" for name in missing], "  and {} more; --skip-bad lists all")
        raise ManifestError(f"{head}\n{files}")
    if not videos:
        raise ManifestError(f"{folder}: every video of {what} is missing")


def skip_or_raise(reason: str, skipped: list[str] | None) -> None:
    """Leave out a video that cannot be used as it was published.

    Args:
        skipped: receives the reason; if None, it is an error.

    Raises:
        ManifestError: ``skipped`` is None.
    """
    if skipped is None:
        raise ManifestError(reason)
    skipped.append(reason)
