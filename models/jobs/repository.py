"""The last stage: the product as the next version in a model repository that others use.

Other stages' folders belong to the job alone and are replaced as a whole. From this one a server may run, other
versions may be put beside ours (``mistwatch export``), and one of them chosen (``mistwatch versions``). Nothing in it
is ever removed here, and a chosen version stays chosen until there is another product::

    RUN/repository/stage.json                 the last version that was added, and its key
    RUN/repository/clip_scorer/               the repository's model; see models.serving.versions
    RUN/repository/clip_scorer/2/stage.json   the inputs of that version, and its files
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.card import read_card
from models.jobs.stages import SCRATCH, STAGE_FILE, written
from models.serving import versions
from models.serving.contract import CONFIG_FILE
from models.serving.export import SERVED_NAME, check_room
from pipeline import files

Export = Callable[[Path, Path], object]  #: writes a model repository from a product's folder: (product, repository)


class Repository:
    """A model repository to which versions are added; a :class:`models.jobs.stages.Place`.

    Args:
        folder: the repository; may be missing.
        product: folder of the trained model that is exported.
    """

    def __init__(self, folder: Path, product: Path) -> None:
        self._folder = folder
        self._model = folder / SERVED_NAME
        self._product = product

    def digest(self, key: str) -> str | None:
        """See :class:`Place`. The served version does not matter: it was chosen."""
        number = self._last(key)
        return None if number is None else self._version(number, key)

    def has(self, key: str) -> bool:
        """See :class:`Place`: after a kill just before the end, or when an earlier recipe is used again."""
        return self._number(key) is not None

    def take(self, draft: Path, key: str) -> None:
        """Serve it from now on, as the next version or as the version that it already is.

        Raises:
            models.serving.export.ExportError: the model does not fit the repository.
            models.serving.versions.VersionError: the repository cannot be used.
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        files.remove_stale_drafts(self._folder, f".{SERVED_NAME}")
        with versions.locked(self._folder):
            self._check()
            number = self._number(key)
            if number is None:
                number = versions.add(self._model, draft)
            else:
                versions.serve(self._model, number)
        text = json.dumps({"stage": "repository", "key": key, "version": number}, indent=1)
        files.write_text(self._folder / STAGE_FILE, text + "\n")

    def fill(self, draft: Path, export: Export) -> None:
        """Write a version's folder.

        Raises:
            models.serving.export.ExportError: the model does not fit the repository.
            OSError: it cannot be written.
        """
        self._check()
        # The export of a killed call would get a second version beside it.
        shutil.rmtree(draft)
        draft.mkdir()
        export(self._product, draft / SCRATCH)
        model = draft / SCRATCH / SERVED_NAME
        for file in (model / str(versions.served(model))).iterdir():
            file.rename(draft / file.name)
        shutil.rmtree(draft / SCRATCH)

    def _check(self) -> None:
        instead = f"move {self._folder} away, or train with --no-export"
        check_room(read_card(self._product), self._product, self._folder, instead=instead)

    def _last(self, key: str) -> int | None:
        """Return the version that the last call added, if it has this key."""
        try:
            record: Any = json.loads((self._folder / STAGE_FILE).read_text(encoding="utf-8"))
            return int(record["version"]) if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _number(self, key: str) -> int | None:
        """Return the newest complete version of this key; None without one."""
        complete = [number for number in versions.versions(self._model) if self._version(number, key) is not None]
        return complete[-1] if complete else None

    def _version(self, number: int, key: str) -> str | None:
        # Its configuration may be edited by hand, and Triton adds files when it runs the version.
        return written(self._model / str(number), key, but=(CONFIG_FILE,))
