"""Known layouts of data sets, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.manifests.fights import fights
from pipeline.manifests.manifest import MANIFEST, Video, read_manifest
from pipeline.manifests.mvtec import mvtec
from pipeline.manifests.ped2 import ped2
from pipeline.manifests.plain import plain_folder
from pipeline.manifests.shanghaitech import shanghaitech
from pipeline.manifests.ucf_crime import ucf_crime
from pipeline.sources.film_files import PassedOver

Skipped = list[str] | None
Notes = list[str]


def _manifest(folder: Path, skipped: Skipped, _notes: Notes) -> list[Video]:
    return read_manifest(folder / MANIFEST if folder.is_dir() else folder, skipped=skipped)


def _plain(folder: Path, skipped: Skipped, notes: Notes) -> list[Video]:
    passed_over = PassedOver()
    videos = plain_folder(folder, skipped=skipped, passed_over=passed_over)
    if (line := passed_over.line()) is not None:
        notes.append(line)
    return videos


#: By name; each takes the data set's folder, a list that receives skipped problems, and one that receives lines on what
#: the reader had to decide. Each raises ManifestError.
LAYOUTS: dict[str, Callable[[Path, Skipped, Notes], list[Video]]] = {
    "fights": lambda folder, skipped, _: fights(folder, skipped=skipped),
    "folder": _plain,
    "manifest": _manifest,
    "mvtec": lambda folder, skipped, _: mvtec(folder, skipped=skipped),
    "ped2": lambda folder, skipped, _: ped2(folder, skipped=skipped),
    "shanghaitech": lambda folder, skipped, _: shanghaitech(folder, skipped=skipped),
    "ucf-crime": lambda folder, skipped, notes: ucf_crime(folder, skipped=skipped, notes=notes),
}
#: Layouts whose published split divides groups; see :func:`pipeline.manifests.checks.check_split`.
DIVIDE_GROUPS = frozenset({"shanghaitech"})


def read_layout(name: str, folder: Path, *, skipped: Skipped = None, notes: Notes | None = None) -> list[Video]:
    """Read the videos of the data set in ``folder``.

    Args:
        name: of its layout, a key of :data:`LAYOUTS`; ``manifest`` is a folder with a manifest.jsonl, or a manifest.
        skipped: receives a line for each skipped problem; if None, problems are an error.
        notes: receives a line for files that are passed over, where the layout does not list its videos, and for each
            missing list and what stands in for it.

    Raises:
        KeyError: unknown layout.
        ManifestError: the folder does not have the layout.
    """
    return LAYOUTS[name](folder, skipped, notes if notes is not None else [])
