"""The Surveillance Camera Fight Dataset (Aktı et al. 2019, MIT) as a manifest.

The folder holds the clips and ``clips.json``, which gives each clip's label and the film that it was cut from. Clips of
one film show the same place and people, so the film is the group: who splits by clip measures how well a film is
recognised.
"""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.manifests.manifest import ManifestError, Video

INDEX = "clips.json"


def fights(folder: Path) -> list[Video]:
    """The clips of ``folder``, in the order of its index.

    Raises:
        ManifestError: the folder or its index is missing or says something else than expected.
    """
    index = folder / INDEX
    try:
        clips = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{folder}: no {INDEX} there; expected the folder of the fights data set") from None
    except OSError as error:
        raise ManifestError(f"{index}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ManifestError(f"{index}: not JSON ({error})") from None
    if not isinstance(clips, list) or not clips:
        raise ManifestError(f"{index}: expected a list of clips")
    videos = []
    for ordinal, clip in enumerate(clips, start=1):
        try:
            path, label, source = (folder / clip["clip"]).resolve(), clip["label"], clip["source"]
        except (KeyError, TypeError):
            raise ManifestError(f"{index}: clip {ordinal}: expected clip, label and source") from None
        if label not in (0, 1):
            raise ManifestError(f"{index}: clip {ordinal} ({path.name}): label must be 0 or 1, got {label!r}")
        if not path.is_file():
            raise ManifestError(f"{index}: clip {ordinal} ({path.name}): no such file in {folder}")
        videos.append(Video(path, int(label), group=str(source)))
    return videos
