"""Known layouts of data sets, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.manifests.fights import fights
from pipeline.manifests.manifest import MANIFEST, Video, read_manifest
from pipeline.manifests.ped2 import ped2
from pipeline.manifests.plain import plain_folder
from pipeline.manifests.shanghaitech import shanghaitech
from pipeline.manifests.ucf_crime import ucf_crime
from pipeline.sources.film_files import PassedOver

Skipped = list[str] | None


def _manifest(folder: Path, skipped: Skipped, _passed_over: PassedOver | None) -> list[Video]:
    return read_manifest(folder / MANIFEST if folder.is_dir() else folder, skipped=skipped)


#: By name; each takes the data set's folder, a list that receives skipped problems, and the files that are passed over
#: where the layout has no list of its videos. Each raises ManifestError.
LAYOUTS: dict[str, Callable[[Path, Skipped, PassedOver | None], list[Video]]] = {
    "fights": lambda folder, skipped, _: fights(folder, skipped=skipped),
    "folder": lambda folder, skipped, passed_over: plain_folder(folder, skipped=skipped, passed_over=passed_over),
    "manifest": _manifest,
    "ped2": lambda folder, skipped, _: ped2(folder, skipped=skipped),
    "shanghaitech": lambda folder, skipped, _: shanghaitech(folder, skipped=skipped),
    "ucf-crime": lambda folder, skipped, _: ucf_crime(folder, skipped=skipped),
}
#: Layouts whose published split divides groups; see :func:`pipeline.manifests.checks.check_split`.
DIVIDE_GROUPS = frozenset({"shanghaitech"})


def read_layout(
    name: str, folder: Path, *, skipped: Skipped = None, passed_over: PassedOver | None = None
) -> list[Video]:
    """Read the videos of the data set in ``folder``.

    Args:
        name: of its layout, a key of :data:`LAYOUTS`; ``manifest`` is a folder with a manifest.jsonl, or a manifest.
        skipped: receives a line for each skipped problem; if None, problems are an error.
        passed_over: receives files that are not videos, where the layout does not list its videos.

    Raises:
        KeyError: unknown layout.
        ManifestError: the folder does not have the layout.
    """
    return LAYOUTS[name](folder, skipped, passed_over)
