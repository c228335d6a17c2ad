"""The parts that a hosting model has: found by the camera's name, opened when they are asked for, and kept.

A part's folder is laid out like that of a served model (:mod:`models.serving.versions`)::

    motion/parts/gate/
        config.pbtxt         the version that is served, and its settings as parameters
        model-card.json
        1/  2/               what each version has learned: scorer.npz, and its own networks if any

``config.pbtxt`` is checked at every request, which costs microseconds. Where it has changed, the version that it
names is opened; nothing else of the model changes.

This file is copied into every version folder of a hosting model, where its imports are made relative.
"""

from __future__ import annotations

import json
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.serving.contract import CONFIG_FILE, PART_TROUBLE

#: Size of the files of the parts that are kept open, bytes. Once in memory, a part may take twice that. There is room
#: for 170 memory banks of the default size (3 MB), and for any number of motion detectors.
ROOM = 512 * 2**20

#: Parameter of a part: the version of the hosting model whose code its export has tried it on. Older code may read what
#: was learned in another way.
HOST_VERSION = "host_version"

_LONGEST = 100  #: characters of a name; those of cameras have 64
_SERVED = re.compile(r"^version_policy \{ specific \{ versions: \[ (\d{1,18}) \] \} \}$", re.MULTILINE)
_TEXT = r'("(?:[^"\\\n]|\\.)*")'
_PARAMETER = re.compile(rf"^parameters \{{ key: {_TEXT} value \{{ string_value: {_TEXT} \}} \}}$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """A version of a part, in memory.

    Attributes:
        settings: the parameters of its ``config.pbtxt``.
        scorer: see :class:`models.detectors.program.Scorer`.
        size: of its files, bytes.
    """

    version: int
    settings: Mapping[str, str]
    scorer: Any
    size: int

    @property
    def identity(self) -> tuple[int, str | None]:
        """Return a value that identifies the version: its number alone recurs where the part was deleted and added."""
        return _identity(self.version, self.settings)


class Parts:
    """The parts in a folder. One thread at a time may use it.

    Args:
        folder: may be missing.
        open_scorer: opens what was learned, from the folder of a version. Raises RuntimeError.
        host_version: of the hosting model, whose code ``open_scorer`` runs.
        room: size of the files of the parts that are kept open; the least recently used ones are dropped, and opened
            again when they are asked for. The last one is kept in any case.
    """

    def __init__(
        self, folder: Path, open_scorer: Callable[[Path], Any], host_version: int, *, room: int = ROOM
    ) -> None:
        self._folder = folder
        self._open_scorer = open_scorer
        self._host_version = host_version
        self._room = room
        self._opened: OrderedDict[str, tuple[_Stamp, OpenedPart]] = OrderedDict()  # least recently used first

    def names(self) -> list[str]:
        """Return the names of the parts, sorted."""
        return part_names(self._folder)

    def find(self, name: str) -> OpenedPart:
        """Return the version of a part that is served now; the former one, if it is open, while that needs later code.

        Raises:
            LookupError: the part is missing or cannot be opened. One line for an operator.
        """
        # The name comes from outside: it is one folder here, and no draft.
        if not 0 < len(name) <= _LONGEST or name.startswith(".") or not name.isprintable() or {*"/\\"} & {*name}:
            raise LookupError(f"{name[:100]!r} cannot be the name of a part; expected that of a camera")
        file = self._folder / name / CONFIG_FILE
        try:
            stamp = _stamp(file)
        except OSError:
            self._opened.pop(name, None)
            raise LookupError(f"{name}: the model has no such part; add it with `mistwatch export --into`") from None
        known = self._opened.get(name)
        if known is not None and known[0] == stamp:
            self._opened.move_to_end(name)
            return known[1]
        part = self._open(name, file, None if known is None else known[1])
        self._opened[name] = (stamp, part)
        self._opened.move_to_end(name)
        while len(self._opened) > 1 and sum(each.size for _, each in self._opened.values()) > self._room:
            self._opened.popitem(last=False)
        return part

    def _open(self, name: str, file: Path, known: OpenedPart | None) -> OpenedPart:
        try:
            text = file.read_text(encoding="utf-8")
            settings = read_parameters(text)
            needed = int(settings.get(HOST_VERSION, 0))
        except (OSError, ValueError) as error:
            raise LookupError(f"{name}: {file} cannot be read ({error}); export the part again") from None
        if (served := _SERVED.search(text)) is None:
            raise LookupError(f"{name}: {file} names no version; choose one with `mistwatch versions use --part`")
        version = int(served[1])
        if needed > self._host_version:
            trouble = (
                f"{name}: version {version} needs the code of version {needed} of the model, and version "
                f"{self._host_version} is loaded; load that one with `mistwatch versions use --triton`"
            )
            if known is None:
                raise LookupError(trouble)
            print(f"{PART_TROUBLE}{trouble}; until then version {known.version} scores", file=sys.stderr, flush=True)
            return known
        home = file.parent / str(version)
        if known is not None and known.identity == _identity(version, settings) and home.is_dir():
            return OpenedPart(version, settings, known.scorer, known.size)  # its settings alone have changed
        try:
            size = sum(each.stat().st_size for each in home.rglob("*") if each.is_file())
            return OpenedPart(version, settings, self._open_scorer(home), size)
        except Exception as error:  # whatever lies in the folder, the other requests of the batch are scored
            raise LookupError(f"{name}: version {version} cannot be opened: {error}") from None


def part_names(folder: Path) -> list[str]:
    """Return the names of the parts in a folder, sorted; empty if it is missing."""
    return sorted(file.parent.name for file in folder.glob(f"[!.]*/{CONFIG_FILE}"))


def read_parameters(config: str) -> dict[str, str]:
    """Return the parameters of a ``config.pbtxt``, as ``mistwatch export`` writes them: a line each.

    Raises:
        ValueError: a text in it is damaged.
    """
    return {json.loads(key): json.loads(value) for key, value in _PARAMETER.findall(config)}


def _identity(version: int, settings: Mapping[str, str]) -> tuple[int, str | None]:
    return version, settings.get("weights_sha256")


_Stamp = tuple[int, int, int]


def _stamp(file: Path) -> _Stamp:
    """Return a value that changes when the file is replaced or written. Raises OSError."""
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
