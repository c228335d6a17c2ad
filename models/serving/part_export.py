"""From a detector that has learned one camera to a part of a model that hosts the parts of many cameras::

    motion/
        config.pbtxt         inputs, outputs, and what the parts have in common, as parameters
        1/                   the program's code, and the networks that the cameras share: once
            config.pbtxt model.py hosted.py parts.py … networks/NAME.xml .bin
        parts/
            gate/            what each camera has learned, in versions of its own (:mod:`models.serving.parts`)
            yard/

A part is added, exchanged or rolled back by its own ``config.pbtxt``: Triton loads nothing, and no other part is
touched.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from models.card import CARD_FILE, ModelCard
from models.detectors.base import BelongsTo, Family, LearnsFrom, Progress, read_detector
from models.detectors.program import ServedProgram
from models.serving import versions
from models.serving.config import differences, host_config, hosts_parts, part_config, score_outputs
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
from pipeline import files
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
}


def export_part(
    model: str,
    out: Path,
    *,
    into: str,
    max_batch: int | None = None,
    replace: bool = False,
    progress: Progress = lambda _: None,
) -> Path:
    """Put what a detector has learned of its camera into a hosting model, and return the part's folder there.

    It is served from then on. The hosting model is made where it is missing. The part is tried on the code of the
    hosting model first, which may be older than this one.

    Args:
        model: the folder of the detector.
        out: the repository; made when missing.
        into: name of the hosting model.
        max_batch: bound of Triton's dynamic batches, for a hosting model that is made.
        replace: remove the part's existing versions.

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
            instead = "learn the camera again with these clips, name another --into, or --replace the part's versions"
            check_room(card, folder, parts, name=camera, replace=replace, instead=instead)
            _write_part(family, card, folder, loaded, part)
            outputs = _tried(OpenedCode(host / str(versions.served(host))), part, card, folder)
            if outputs != (present := score_outputs((host / CONFIG_FILE).read_text(encoding="utf-8"))):
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
        _write_part(family, card, folder, loaded, trial)
        outputs = _tried(OpenedCode(draft), trial, card, folder)
    finally:
        files.remove(trial)
    config = _host_config(family, card, loaded, outputs, name=name, max_batch=max_batch)
    (draft / CONFIG_FILE).write_text(config, encoding="utf-8")


def _write_part(family: Family[Any], card: ModelCard[Any], folder: Path, loaded: ServedProgram, draft: Path) -> None:
    draft.mkdir()
    write_learned(loaded, draft)
    write_networks(loaded, draft, lambda network: not network.common)
    shutil.copyfile(folder / CARD_FILE, draft / CARD_FILE)
    config = part_config(card, rarity=family.learns_from is LearnsFrom.NORMAL_FOOTAGE)
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
    return host_config(card, outputs, _common(loaded), name=name, max_batch=max_batch, heat=family.heat(card))


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
    except (ValueError, KeyError, RuntimeError) as error:  # of pictures of another size, for example
        raise ExportError(f"{folder}: the hosting model cannot score with what it has learned: {error}") from None
    return {name: list(values.shape[1:]) for name, values in answers.items()}


def _check_like(host: Path, family: Family[Any], card: ModelCard[Any], folder: Path, loaded: ServedProgram) -> None:
    """Check that a detector has in common with a hosting model what its parts share.

    Raises:
        ExportError: it does not, or the model hosts no parts.
    """
    if not (host / CONFIG_FILE).is_file() or not hosts_parts(host):
        raise ExportError(f"{host} exists and hosts no parts; name another --into")
    present = (host / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    wanted = _host_config(family, card, loaded, {}, name=host.name, max_batch=MAX_BATCH)
    try:
        other = differences(present, wanted)
    except ValueError as error:
        raise ExportError(f"{host / CONFIG_FILE}: a parameter is damaged: {error}") from None
    if other:
        raise ExportError(f"{host} hosts other detectors than {folder} ({'; '.join(other)}); name another --into")
