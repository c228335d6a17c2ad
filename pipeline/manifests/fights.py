"""The Surveillance Camera Fight Dataset (Aktı et al. 2019, MIT) as a manifest.

The folder holds the clips and ``clips.json``, which gives each clip's label and the film that it was cut from. Clips of
one film show the same place and people, so the film is the group: a split by clip measures how well a film is
recognised.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.manifests.manifest import ManifestError, Video
from pipeline.manifests.published import report_missing

DATA_SET = "the fights data set"
INDEX = "clips.json"


def fights(folder: Path, *, skipped: list[str] | None = None) -> list[Video]:
    """Read the clips of ``folder``, in the order of its index.

    Args:
        skipped: receives a line for each missing clip, which is left out; if None, a missing clip is an error.

    Raises:
        ManifestError: the folder, its index or clips are missing, or the index is invalid.
    """
    index = folder / INDEX
    try:
        clips = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{folder}: no {INDEX} there; expected the folder of {DATA_SET}") from None
    except OSError as error:
        raise ManifestError(f"{index}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ManifestError(f"{index}: not JSON ({error})") from None
    if not isinstance(clips, list) or not clips:
        raise ManifestError(f"{index}: expected a list of clips")
    videos: list[Video] = []
    missing: list[str] = []
    for ordinal, clip in enumerate(clips, start=1):
        try:
            path, label, source = (folder / clip["clip"]).resolve(), clip["label"], clip["source"]
        except (KeyError, TypeError):
            raise ManifestError(f"{index}: clip {ordinal}: expected clip, label and source") from None
        if label not in (0, 1):
            raise ManifestError(f"{index}: clip {ordinal} ({path.name}): label must be 0 or 1, got {label!r}")
        if path.is_file():
            videos.append(Video(path, int(label), group=str(source)))
        else:
            missing.append(path.name)
    report_missing(folder, DATA_SET, videos, missing, skipped)
    return videos
