"""From a model of places to a served model in a Triton repository::

    places/
        config.pbtxt       PICTURE → CLASSES, and what a client must know of the model, as parameters
        model-card.json    the card of the model of places
        1/
            config.pbtxt model-card.json model.py openvino_engine.py triton_tensors.py
            places.xml places.bin      the network with the decision rule in it, for OpenVINO
            NOTICE                     origin and licence of weights that others published

Triton needs numpy and openvino in its Python, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from models.card import CARD_FILE
from models.code import code_digest
from models.detectors.base import Progress
from models.places.card import CARD_FILE as PLACES_CARD_FILE
from models.places.card import PlacesCard
from models.places.served.card import paths_text, things_text, version_of
from models.serving.config import ServedKind, triton_config
from models.serving.contract import CONFIG_FILE
from models.serving.export import (
    ExportError,
    cached_repository,
    check_kind,
    check_name,
    copy_modules,
    explained,
    export_tools,
    next_version,
    write_notice,
)

SERVED_NAME = "places"  #: name of a served model of places where none is chosen
NETWORK_FILE = "places.xml"
#: Alerts come one by one, and on a CPU a picture costs the same alone as in a batch.
MAX_BATCH = 1

#: Modules that are copied into the version folder, and their names there. One of them imports what exists inside Triton
#: only, so they are not imported here.
_COPIED = {
    "models.places.served.triton_model": "model",
    "models.engines.openvino": "openvino_engine",
    "models.engines.precision": "precision",
    "models.serving.triton_tensors": "triton_tensors",
}
#: What else decides the content of an export.
_WRITING = ("models.places.served.deciding", "models.places.trained", "models.engines.openvino_convert")


def export_places(
    folder: Path,
    out: Path,
    *,
    name: str = SERVED_NAME,
    replace: bool = False,
    progress: Progress = lambda _: None,
) -> Path:
    """Write a served model of places into the repository ``out``, or its next version, and return its folder there.

    The version appears in full or not at all. It may have other classes than the one before: each answer names its
    version, and place maps hold for one.

    Args:
        folder: of the model of places.
        replace: remove the existing versions.

    Raises:
        ExportError: another kind of model is served under the name, or the model has too many classes.
        MistwatchError: the model cannot be read or written.
    """
    check_name(name)

    def check() -> None:
        if (out / name).exists():
            check_kind(out / name, ServedKind.PLACES, folder)

    with explained(out), next_version(out, name, check=check, replace=replace) as draft:
        from models.engines.openvino_convert import Input, save, to_openvino
        from models.places.served.deciding import DecidingNetwork
        from models.places.trained import load_places

        card, network = load_places(folder)
        try:
            deciding = DecidingNetwork(network, card.tree).eval()
        except ValueError as error:
            raise ExportError(f"{folder}: {error}") from None
        progress("converting the network for OpenVINO")
        copy_modules(_COPIED, draft)
        save(to_openvino(deciding, {"PICTURE": Input((*card.size, 3))}, ("CLASSES",)), draft / NETWORK_FILE)
        write_notice({card.backbone}, draft)
        (draft / CARD_FILE).write_bytes((folder / PLACES_CARD_FILE).read_bytes())
        (draft / CONFIG_FILE).write_text(places_config(card, name=name), encoding="utf-8")
    return out / name


def places_config(card: PlacesCard, *, name: str) -> str:
    """Return Triton's configuration of a served model of places, without its version."""
    height, width = card.size
    tree = card.tree
    return triton_config(
        name,
        [f'{{ name: "PICTURE" data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] }}'],
        [f'{{ name: "CLASSES" data_type: TYPE_UINT8 dims: [ {height}, {width} ] }}'],
        {
            "name": card.name,
            "places": version_of(card),
            "nodes": paths_text(tree),
            "things": things_text(tree),
            "weights_sha256": card.weights_sha256,
        },
        MAX_BATCH,
    )


def ensure_places_repository(folder: Path, *, progress: Progress = lambda _: None) -> Path:
    """Return a model repository of a model of places in the user's cache; write it when it is missing.

    Raises:
        MistwatchError: it cannot be read or written.
    """
    from models.places.trained import read_places_card

    card = read_places_card(folder)
    digest = hashlib.sha256(card.model_dump_json().encode())
    digest.update(code_digest((__name__, *_COPIED, *_WRITING)).encode())
    digest.update(json.dumps(export_tools()).encode())
    return cached_repository(
        card.name,
        digest.hexdigest(),
        SERVED_NAME,
        lambda where: export_places(folder, where, progress=progress),
    )
