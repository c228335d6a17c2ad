"""From a detector that has learned one camera to a part of a model that hosts the parts of many cameras::

    motion/
        config.pbtxt         inputs, outputs, and what the parts have in common, as parameters
        1/                   the program's code, and the networks that the cameras share: once
            config.pbtxt model.py hosted.py parts.py … networks/NAME.xml .bin
        parts/
            gate/            what each camera has learned, in versions of its own (:mod:`models.serving.parts`)
            yard/

A part is added, exchanged or rolled back by its own ``config.pbtxt``: Triton loads nothing, and no other part is
touched. Where the code of the hosting model is not that of this mistwatch, its next version is written first, which has
this code, and a part states the version that it needs.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.card import CARD_FILE, ModelCard
from models.code import code_digest
from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress, read_detector
from models.detectors.program import ServedProgram
from models.serving import versions
from models.serving.config import (
    code_of,
    differences,
    host_config,
    hosts_parts,
    max_batch_of,
    part_config,
    score_outputs,
)
from models.serving.contract import CONFIG_FILE, PARTS_FOLDER
from models.serving.export import (
    ExportError,
    check_name,
    check_room,
    explained,
    find_model,
    write_code,
    write_learned,
    write_networks,
)
from models.serving.hosted import OpenedCode
from models.serving.parts import part_names
from pipeline import files
from pipeline.errors import UsageError
from pipeline.names import checked_name

#: Bound of Triton's dynamic batches, in which clips of several cameras go together. Clips of these detectors are short,
#: and the network runs on one picture after the other, so a longer batch hardly takes more memory.
MAX_BATCH = 8

_COPIED = {
    "models.serving.host": "model",
    "models.serving.contract": "contract",
    "models.serving.hosted": "hosted",
    "models.serving.parts": "parts",
    "models.serving.triton_tensors": "triton_tensors",
    "models.engines.one_by_one": "one_by_one",
    "models.engines.openvino": "openvino_engine",
    "models.engines.precision": "precision",
}


def export_part(
    model: str,
    out: Path,
    *,
    into: str,
    max_batch: int | None = None,
    replace: bool = False,
    progress: Progress = lambda _: None,
    on_renewed: Callable[[Path, list[int]], None] = lambda _host, _earlier: None,
) -> Path:
    """Put what a detector has learned of its camera into a hosting model, and return the part's folder there.

    It is served from then on. The hosting model is made where it is missing. Where its code is not that of this
    mistwatch, its next version is written, with the code for the parts of all cameras; each is tried on it first.

    Args:
        model: the folder of the detector.
        out: the repository; made when missing.
        into: name of the hosting model.
        max_batch: bound of Triton's dynamic batches; an existing hosting model must have the same.
        replace: remove the part's existing versions.
        on_renewed: called with the folder of the hosting model that has a new version, and the versions that it served
            before. What it raises ends the export before the part is there.

    Raises:
        UnknownModelError: the detector is unknown.
        MistwatchError: it cannot be such a part, or cannot be written.
    """
    check_name(into)
    if max_batch is not None and max_batch < 1:
        raise ExportError(f"the largest batch must be at least 1, got {max_batch}")
    folder = find_model(model)
    with explained(out):
        family, card = read_detector(folder)
        camera = _camera(family, card, folder)
        out.mkdir(parents=True, exist_ok=True)
        host = out / into
        parts = host / PARTS_FOLDER
        files.remove_stale_drafts(out, f".{into}")
        drafts = [files.draft_path(out / f".{into}") for _ in range(2)]
        draft, part = drafts
        try:
            loaded = family.load(card, folder, progress)
            if not isinstance(loaded, ServedProgram):
                raise ExportError(
                    f"{folder}: a model of the family {family.name} cannot be a part; export it with --as"
                )
            if not host.exists():
                _write_host(family, card, folder, loaded, draft, into, max_batch or MAX_BATCH)
                with versions.locked(out):
                    if not host.exists():  # else another process was faster
                        versions.add(host, draft)
            _check_like(host, family, card, folder, loaded)
            _check_batch(host, max_batch)
            instead = "learn the camera again with these clips, name another --into, or --replace the part's versions"
            check_room(card, folder, parts, name=camera, replace=replace, instead=instead)
            if code_of(config := _config_of(host)) != _code(loaded):
                _write_host(family, card, folder, loaded, draft, into, max_batch_of(config) or MAX_BATCH)
                _check_parts(host, draft, card)
                with versions.locked(out):
                    earlier = versions.history(host)
                    versions.add(host, draft)
                on_renewed(host, earlier)
            _write_part(family, card, folder, loaded, part, host_version=versions.served(host))
            outputs = _tried(OpenedCode(host / str(versions.served(host))), part, card, folder)
            if outputs != (present := score_outputs(_config_of(host))):
                raise ExportError(f"{host} answers {present}, and {folder} {outputs}; name another --into")
            with versions.locked(out):
                parts.mkdir(exist_ok=True)
                # Again: another process may have added a version of other clips.
                check_room(card, folder, parts, name=camera, replace=replace, instead=instead)
                versions.add(parts / camera, part, replace=replace)
        finally:
            for each in drafts:
                files.remove(each)
    return parts / camera


def _camera(family: Family[Any], card: ModelCard[Any], folder: Path) -> str:
    """Return the name of the camera that a detector has learned. Raises ExportError: it belongs to none."""
    camera = getattr(card, "camera", None)
    if family.belongs_to is not BelongsTo.CAMERA or not isinstance(camera, str):
        raise ExportError(f"{folder}: a model of the family {family.name} belongs to no camera; export it with --as")
    try:
        return checked_name(camera)
    except ValueError as error:
        raise ExportError(f"{folder / CARD_FILE}: camera {camera!r}: {error}") from None


def _write_host(
    family: Family[Any],
    card: ModelCard[Any],
    folder: Path,
    loaded: ServedProgram,
    draft: Path,
    name: str,
    max_batch: int,
) -> None:
    """Write the first version of a hosting model into ``draft``."""
    draft.mkdir()
    write_code(loaded, draft, _COPIED)
    write_networks(loaded, draft, lambda network: bool(network.common))
    trial = files.draft_path(draft)
    try:
        _write_part(family, card, folder, loaded, trial, host_version=0)
        outputs = _tried(OpenedCode(draft), trial, card, folder)
    finally:
        files.remove(trial)
    config = _host_config(family, card, loaded, outputs, name=name, max_batch=max_batch)
    (draft / CONFIG_FILE).write_text(config, encoding="utf-8")


def _write_part(
    family: Family[Any],
    card: ModelCard[Any],
    folder: Path,
    loaded: ServedProgram,
    draft: Path,
    *,
    host_version: int,
) -> None:
    draft.mkdir()
    write_learned(loaded, draft)
    write_networks(loaded, draft, lambda network: not network.common)
    shutil.copyfile(folder / CARD_FILE, draft / CARD_FILE)
    rarity = family.learns_from is LearnsFrom.NORMAL_FOOTAGE
    config = part_config(card, host_version=host_version, rarity=rarity, gated=family.may_be_gated)
    (draft / CONFIG_FILE).write_text(config, encoding="utf-8")


def _host_config(
    family: Family[Any],
    card: ModelCard[Any],
    loaded: ServedProgram,
    outputs: dict[str, list[int]],
    *,
    name: str,
    max_batch: int,
) -> str:
    return host_config(
        card,
        outputs,
        _common(loaded),
        code=_code(loaded),
        name=name,
        max_batch=max_batch,
        heat=family.heat(card),
    )


def _code(program: ServedProgram) -> str:
    """Return the digest of the code that scores the parts of a hosting model."""
    return code_digest(sorted({*_COPIED, *_modules(program)}))


def _modules(program: ServedProgram) -> Iterator[str]:
    yield from (program.module, *program.uses)
    for member in program.members.values():
        yield from _modules(member)


def _common(program: ServedProgram) -> dict[str, str]:
    """Return the identities of the networks that cameras share, by their names, those of members included."""
    found = {name: network.common for name, network in program.networks.items() if network.common}
    for member, of_member in program.members.items():
        found |= {f"{member}.{name}": common for name, common in _common(of_member).items()}
    return found


def _tried(code: OpenedCode, part: Path, card: ModelCard[Any], folder: Path) -> dict[str, list[int]]:
    """Score a black clip of the card's size with a part; return the shape of each output for one clip."""
    black = np.zeros((1, card.clip.frames, card.clip.height, card.clip.width, 3), np.uint8)
    try:
        answers = code.open(part).run(black)
    except MemoryError:
        raise
    except Exception as error:  # pictures of another size, for example; a program may raise anything
        raise ExportError(
            f"{folder}: the hosting model cannot score with what it has learned: {type(error).__name__}: {error}"
        ) from None
    return {name: list(values.shape[1:]) for name, values in answers.items()}


def _check_like(host: Path, family: Family[Any], card: ModelCard[Any], folder: Path, loaded: ServedProgram) -> None:
    """Check that a detector has in common with a hosting model what its parts share.

    Raises:
        ExportError: it does not, or the model hosts no parts.
    """
    if not (host / CONFIG_FILE).is_file() or not hosts_parts(host):
        raise ExportError(f"{host} exists and hosts no parts; name another --into")
    wanted = _host_config(family, card, loaded, {}, name=host.name, max_batch=MAX_BATCH)
    try:
        other = differences(_config_of(host), wanted)
    except ValueError as error:
        raise ExportError(f"{host / CONFIG_FILE}: a parameter is damaged: {error}") from None
    if other:
        raise ExportError(f"{host} hosts other detectors than {folder} ({'; '.join(other)}); name another --into")


def _check_batch(host: Path, wanted: int | None) -> None:
    """Raise UsageError where other batches are asked for than those of the hosting model."""
    present = max_batch_of(_config_of(host))
    if wanted is not None and wanted != present:
        raise UsageError(
            f"--max-batch: got {wanted}, and {host} has {present or 'none'}; leave it out, or name another --into"
        )


def _check_parts(host: Path, draft: Path, card: ModelCard[Any]) -> None:
    """Check that the code in ``draft`` scores with every part that the code of the hosting model scores with.

    Raises:
        ExportError: it does not.
    """
    code, outputs = OpenedCode(draft), score_outputs((draft / CONFIG_FILE).read_text(encoding="utf-8"))
    for name in part_names(host / PARTS_FOLDER):
        part = host / PARTS_FOLDER / name
        try:
            learned = part / str(versions.served(part))
        except versions.VersionError:  # damaged before, and it scores nothing
            continue
        try:
            if _tried(code, learned, card, learned) == outputs:
                continue
            trouble = f"its outputs are others than {outputs}"
        except ExportError as error:
            trouble = str(error)
        if _is_scored(host, learned, card):
            raise ExportError(
                f"{host} has other code than this mistwatch, which cannot score with the part of {name} ({trouble}); "
                "name another --into, or delete that part"
            )


def _is_scored(host: Path, learned: Path, card: ModelCard[Any]) -> bool:
    """Return whether the code of the hosting model scores with ``learned``; True if it cannot be tried here."""
    try:
        code = OpenedCode(host / str(versions.served(host)))
    except RuntimeError:  # it was written on another machine
        return True
    with contextlib.suppress(ExportError):
        _tried(code, learned, card, learned)
        return True
    return False


def _config_of(host: Path) -> str:
    return (host / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
