"""The last stage: the product as the next version in a model repository that people use.

Other stages' folders are the job's alone and are replaced as one. From this one somebody may serve, put other versions
beside ours (``mistwatch export``), and choose among them (``mistwatch versions``): nothing of it is ever removed here,
and who has chosen a version keeps it until there is another product::

    RUN/repository/stage.json                 what was handed over last, and as which version
    RUN/repository/clip_scorer/               the repository's model; see models.serving.versions
    RUN/repository/clip_scorer/2/stage.json   what that version was made of, and its files
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.card import CardError, read_card
from models.jobs.stages import SCRATCH, STAGE_FILE, StageError, written
from models.serving import versions
from models.serving.export import SERVED_NAME, ExportError, check_room
from models.serving.versions import CONFIG_FILE, VersionError
from pipeline import files

Export = Callable[[Path, Path], object]  #: writes a model repository from a product's folder: (product, repository)


class Repository:
    """Where versions are handed over; a :class:`models.jobs.stages.Place`.

    Args:
        folder: the repository; there may be none.
        product: folder of what is exported.
    """

    def __init__(self, folder: Path, product: Path) -> None:
        self._folder = folder
        self._model = folder / SERVED_NAME
        self._product = product

    def digest(self, key: str) -> str | None:
        """See :class:`Place`. Which version is served does not matter: it was chosen."""
        number = self._handed_over(key)
        return None if number is None else self._version(number, key)

    def has(self, key: str) -> bool:
        """A version of an earlier call, which was killed before it said so, or of a recipe that has come back."""
        return self._number(key) is not None

    def take(self, draft: Path, key: str) -> None:
        """Have it served from now on, as the next version or as the one that it was.

        Raises:
            StageError: the repository does not take it.
            OSError: it cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        files.remove_stale_drafts(self._folder, f".{SERVED_NAME}")
        try:
            with versions.locked(self._folder):
                self._check()
                number = self._number(key)
                if number is None:
                    number = versions.add(self._model, draft)
                else:
                    versions.serve(self._model, number)
        except VersionError as error:
            raise StageError(str(error)) from None
        text = json.dumps({"stage": "repository", "key": key, "version": number}, indent=1)
        unfinished = self._folder / f".{STAGE_FILE}.tmp"
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(self._folder / STAGE_FILE)

    def fill(self, draft: Path, export: Export) -> None:
        """Write a version's folder.

        Raises:
            StageError: the repository would not take it.
            OSError: it cannot be written.
        """
        self._check()
        # What a killed call had exported would get a second version beside it.
        shutil.rmtree(draft)
        draft.mkdir()
        export(self._product, draft / SCRATCH)
        model = draft / SCRATCH / SERVED_NAME
        for file in (model / str(versions.served(model))).iterdir():
            file.rename(draft / file.name)
        shutil.rmtree(draft / SCRATCH)

    def _check(self) -> None:
        try:
            card = read_card(self._product)
            instead = f"move {self._folder} away, or train with --no-export"
            check_room(card, self._product, self._folder, instead=instead)
        except (CardError, ExportError) as error:
            raise StageError(str(error)) from None

    def _handed_over(self, key: str) -> int | None:
        """The version that the last call handed over, if it was of this key."""
        try:
            record: Any = json.loads((self._folder / STAGE_FILE).read_text(encoding="utf-8"))
            return int(record["version"]) if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _number(self, key: str) -> int | None:
        """The newest version of this key; None where there is none that is whole."""
        whole = [number for number in versions.versions(self._model) if self._version(number, key) is not None]
        return whole[-1] if whole else None

    def _version(self, number: int, key: str) -> str | None:
        # Its configuration may be changed by hand; files come beside ours when Triton runs it.
        return written(self._model / str(number), key, but=(CONFIG_FILE,))
