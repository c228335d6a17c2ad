"""Pictures of a scene with the class of each pixel, in the layout of a data set of places.

FOLDER/pictures/000123.png     frame 123
FOLDER/masks/000123.png        its classes: grey values that are indices of ``classes``, and 255 for none
FOLDER/classes.json            ``{"classes", "every_frames", "frames", "settings"}``
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.courtyard.settings import SceneSettings

if TYPE_CHECKING:
    from pipeline.courtyard.scene import Courtyard  # needs OpenCV

CLASSES_FILE = "classes.json"


def mask_frames(settings: SceneSettings, every_seconds: float) -> range:
    """Return the numbers of the frames that get a mask: the first, and one every so many seconds."""
    return range(0, max(1, round(settings.seconds * settings.fps)), _every_frames(settings, every_seconds))


def write_masks(
    scene: Courtyard,
    folder: Path,
    every_seconds: float,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write pictures and masks; the folder appears when it is complete, and replaces one of other masks.

    Args:
        progress: called with (pictures written, pictures in all) after each picture.

    Raises:
        OSError: a file cannot be written.
    """
    import cv2

    files.remove_stale_drafts(folder.parent, folder.name)
    draft = files.draft_path(folder)
    numbers = mask_frames(scene.settings, every_seconds)
    try:
        for part in ("pictures", "masks"):
            (draft / part).mkdir(parents=True)
        for done, number in enumerate(numbers):
            picture = cv2.cvtColor(scene.frame(number), cv2.COLOR_RGB2BGR)
            for part, values in (("pictures", picture), ("masks", scene.segments(number))):
                _, png = cv2.imencode(".png", values)
                (draft / part / f"{number:06d}.png").write_bytes(png.tobytes())
            if progress is not None:
                progress(done + 1, len(numbers))
        (draft / CLASSES_FILE).write_text(_document(scene.settings, every_seconds), encoding="utf-8")
        files.sync_tree(draft)
        files.publish_folder(draft, folder, lambda: masks_are_complete(scene.settings, folder, every_seconds))
    finally:
        files.remove(draft)


def masks_are_complete(settings: SceneSettings, folder: Path, every_seconds: float) -> bool:
    """Return whether the folder has exactly the masks that :func:`write_masks` would write."""
    try:
        return (folder / CLASSES_FILE).read_text(encoding="utf-8") == _document(settings, every_seconds)
    except (OSError, UnicodeDecodeError):
        return False


def _every_frames(settings: SceneSettings, every_seconds: float) -> int:
    return max(1, round(every_seconds * settings.fps))


def _document(settings: SceneSettings, every_seconds: float) -> str:
    from pipeline.courtyard.segments import CLASSES

    document = {
        "classes": CLASSES,
        "every_frames": _every_frames(settings, every_seconds),
        "frames": len(mask_frames(settings, every_seconds)),
        "settings": settings.document(),
    }
    return json.dumps(document, indent=1) + "\n"
