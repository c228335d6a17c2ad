"""From trained weights to a Triton model repository.

A repository holds one served model or several, a folder each::

    clip_scorer/
        config.pbtxt         inputs, outputs, and what a client must know of the model, as parameters
        model-card.json
        1/
            config.pbtxt model-card.json
            model.py engine.py contract.py device.py openvino_engine.py precision.py one_by_one.py standing.py hosted.py
            median.py triton_tensors.py kept.py over_backbone.py asked_backbone.py
            scorer.xml scorer.bin      the network for OpenVINO
            scene.xml scene.bin        its part over standing scenes, of a model that reads one
            scorer.safetensors         the weights for torch
            backbone.json              of a model on a shared backbone: its name (:mod:`models.serving.backbone_export`)
            program.py … scorer.npz    of a detector that is a program instead: its code, and what it has learned
            networks/NAME.xml .bin     the networks that the program runs, if any
            NOTICE                     origin and licence of weights that others published; also in networks/
            members/NAME/              the programs that it combines, if any: program.py … scorer.npz networks/

A further export of the same served model adds its next version (:mod:`models.serving.versions`). A version's folder is
complete for OpenVINO: a Triton elsewhere needs numpy and openvino in its Python, nothing of ours. A program needs numpy
there, and OpenCV or openvino according to its family.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.backbones import weights
from models.card import (
    BUILT_IN,
    CARD_FILE,
    SERVED_FLOAT32,
    CardError,
    ModelCard,
    ServedPrecision,
    read_card,
    write_card,
)
from models.code import code_digest
from models.detectors.base import FAMILIES, Family, LearnsFrom, Progress, read_detector
from models.detectors.program import ProgramNetwork, ServedProgram
from models.engines.device import cuda_devices, processor_features
from models.engines.precision import Precision
from models.serving import versions
from models.serving.config import ServedKind, config_pbtxt, hosts_parts, served_kind, takes_mask
from models.serving.contract import (
    BACKBONE_PREFIX,
    CONFIG_FILE,
    MEMBERS_FOLDER,
    NETWORKS_FOLDER,
    OPENVINO_FILE,
    PROGRAM_FILE,
    SCENE_FILE,
    TORCH_FILE,
    EngineChoice,
)
from models.serving.hosted import PROGRAM_MODULE
from models.serving.precision_wish import PrecisionWish
from operators.background import SceneKind
from pipeline import files
from pipeline.errors import MistwatchError, UsageError
from pipeline.windows import StoredClip

if TYPE_CHECKING:
    from torch import Tensor

    from models.detectors.network import ServedNetwork

NOTICE_FILE = "NOTICE"  #: origin and licence of published weights, beside them
SERVED_NAME = "clip_scorer"  #: name of a served model where none is chosen
#: Bound of Triton's dynamic batches. On a CPU a clip costs the same alone and among four (0.43 s of a core's time),
#: while each clip more in a batch takes 130 MB and must be warmed up at every start.
MAX_BATCH_CPU = 2
MAX_BATCH_CUDA = 16

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
#: Modules that are copied into the version folder, and their names there. Triton puts that folder on the path of its
#: Python, so no name may be a package's: ``openvino.py`` would be imported where OpenVINO is missing.
COPIED = {
    "models.serving.model": "model",
    "models.serving.engine": "engine",
    "models.serving.contract": "contract",
    "models.serving.hosted": "hosted",
    "models.serving.standing": "standing",
    "models.serving.kept": "kept",
    "models.serving.over_backbone": "over_backbone",
    "models.serving.asked_backbone": "asked_backbone",
    "models.serving.triton_tensors": "triton_tensors",
    "models.engines.device": "device",
    "models.engines.one_by_one": "one_by_one",
    "models.engines.openvino": "openvino_engine",
    "models.engines.precision": "precision",
    "operators.median": "median",
}


#: Those that a program itself may import.
_OF_MEMBERS = {name: COPIED[name] for name in ("models.engines.one_by_one",)}
_FLOAT32 = PrecisionWish()


class ExportError(MistwatchError):
    """A model cannot be exported."""


class UnknownModelError(ExportError, UsageError):
    """No model goes by that name."""


def built_in_models() -> list[str]:
    """Return the names of the models that come with mistwatch."""
    return sorted(card.parent.name for card in BUILT_IN.glob(f"*/{CARD_FILE}"))


def find_model(model: str) -> Path:
    """Return the folder of a trained model.

    Args:
        model: a built-in model's name, or a folder's path.

    Raises:
        UnknownModelError: the model is unknown.
    """
    if model in built_in_models():
        return BUILT_IN / model
    if (Path(model) / CARD_FILE).is_file():
        return Path(model)
    if Path(model).is_dir():
        raise UnknownModelError(f"{model}: no {CARD_FILE} there; expected the folder of a trained model")
    known = ", ".join(built_in_models()) or "none"
    raise UnknownModelError(
        f"no model {model!r}: expected the folder of a trained model, or one that comes with mistwatch ({known})"
    )


def check_name(name: str) -> None:
    """Check the name of a served model, which is a folder's name and part of addresses.

    Raises:
        UsageError: it cannot be one.
    """
    if name.startswith(BACKBONE_PREFIX):
        raise UsageError(
            f"the served model's name must not begin with {BACKBONE_PREFIX}, as shared backbones do; got {name!r}"
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the served model's name must be 1 to 100 letters, digits, - and _, and not begin with -; got {name!r}"
        )


def export(
    model: str,
    out: Path,
    *,
    name: str = SERVED_NAME,
    engine: EngineChoice = EngineChoice.AUTO,
    max_batch: int | None = None,
    replace: bool = False,
    precision: PrecisionWish = _FLOAT32,
    share_backbone: bool = False,
    progress: Progress = lambda _: None,
) -> Path:
    """Write a served model into the repository ``out``, or its next version, and return its folder there.

    The version appears in full or not at all, and is served from then on. It must take the same clips as the one
    before, because the workers cut those. Missing backbone weights are fetched first.

    Args:
        out: the repository; made when missing.
        engine: engine to serve it on; ``auto`` writes the files that both engines need.
        max_batch: bound of Triton's dynamic batches; by default what suits this machine.
        replace: remove the existing versions, whatever clips they take.
        precision: that a network computes with on a CPU; see :func:`models.serving.precisions.choose`.
        share_backbone: serve the backbone by itself, for all detectors of the repository that stand on it with clips of
            this size (:mod:`models.serving.backbone_export`); on OpenVINO alone.

    Raises:
        UnknownModelError: the model is unknown.
        MistwatchError: the model cannot be read, converted or written.
    """
    check_name(name)
    if max_batch is not None and max_batch < 1:
        raise ExportError(f"the largest batch must be at least 1, got {max_batch}")
    folder = find_model(model)
    with explained(out):
        family, card = read_detector(folder)

        def check() -> None:
            check_room(card, folder, out, name=name, replace=replace)

        with next_version(out, name, check=check, replace=replace) as draft:
            loaded = family.load(card, folder, progress)
            if isinstance(loaded, ServedProgram) and engine is not EngineChoice.AUTO:
                raise ExportError(
                    f"{folder}: a model of the family {family.name} has one engine alone, its own program "
                    f"(got {engine}); expected --engine auto"
                )
            if share_backbone:
                check_shares(loaded, folder, engine)
            of_scene, outputs = _tried(loaded, card, folder)
            heat = family.heat(card)
            if (heat is not None) != ("HEAT" in outputs):
                raise ExportError(f"{folder}: the family {family.name} and its model differ in the output HEAT")
            scene = family.scene(card)
            if (scene is not None) != bool(of_scene):
                raise ExportError(f"{folder}: the family {family.name} and its model differ in the input SCENE")
            served = SERVED_FLOAT32
            if isinstance(loaded, ServedProgram):
                if precision.precision not in (Precision.AUTO, Precision.FP32):
                    raise ExportError(
                        f"{folder}: a model of the family {family.name} is a program and computes in fp32 (got "
                        f"--precision {precision.precision}); expected --precision auto or fp32"
                    )
                _check_gateless(precision, f"a model of the family {family.name} is a program and computes in fp32")
                _write_program(loaded, draft)
            elif share_backbone:
                from models.serving.backbone_export import write_on_backbone

                if precision.precision not in (Precision.AUTO, Precision.FP32):
                    raise ExportError(
                        f"{folder}: a shared backbone computes in fp32 (got --precision {precision.precision}); "
                        "expected --precision auto or fp32, or leave out --share-backbone"
                    )
                _check_gateless(precision, "a shared backbone computes in fp32")
                progress("converting the network for OpenVINO")
                copy_modules(COPIED, draft)
                write_on_backbone(loaded, card, of_scene, out, draft)
            else:
                source = _Source(card, folder, scene)
                served = _write_network(loaded, source, draft, engine, precision, progress)
            if served == SERVED_FLOAT32:
                shutil.copyfile(folder / CARD_FILE, draft / CARD_FILE)
            else:
                write_card(card.model_copy(update={"served": served}), draft)
            config = config_pbtxt(
                card,
                outputs,
                name=name,
                engine=engine,
                max_batch=max_batch or _suitable_batch(loaded, engine),
                heat=heat,
                scene=scene,
                mask=isinstance(loaded, ServedProgram) and takes_mask(heat),
                rarity=family.learns_from is LearnsFrom.NORMAL_FOOTAGE,
                served=served,
                gated=family.may_be_gated,
            )
            (draft / CONFIG_FILE).write_text(config, encoding="utf-8")
    return out / name


@contextlib.contextmanager
def next_version(out: Path, name: str, *, check: Callable[[], None], replace: bool) -> Iterator[Path]:
    """Yield a draft folder that becomes the next version of a served model when the block ends, or not at all.

    Args:
        out: the repository; made when missing.
        name: of the served model, as :func:`check_name` allows it.
        check: raises where the model cannot become a version; called before the block and again after it.
        replace: remove the existing versions.

    Raises:
        VersionError, OSError: the served model is as it was.
    """
    check()
    out.mkdir(parents=True, exist_ok=True)
    # A name that Triton does not take for a model, on the same file system.
    place = out / f".{name}"
    files.remove_stale_drafts(out, place.name)
    draft = files.draft_path(place)
    try:
        draft.mkdir()
        yield draft
        with versions.locked(out):
            check()  # another process may have been faster
            versions.add(out / name, draft, replace=replace)
    finally:
        files.remove(draft)


def _suitable_batch(loaded: ServedNetwork | ServedProgram, engine: EngineChoice) -> int:
    """Return the bound of dynamic batches that suits this machine; a program runs on the CPU alone."""
    on_cuda = not isinstance(loaded, ServedProgram) and engine is not EngineChoice.OPENVINO and cuda_devices() > 0
    return MAX_BATCH_CUDA if on_cuda else MAX_BATCH_CPU


def check_room(
    card: ModelCard,
    folder: Path,
    out: Path,
    *,
    name: str = SERVED_NAME,
    replace: bool = False,
    instead: str = "name another repository or another --as, or --replace the existing versions",
) -> None:
    """Check that a model can become a version of a served model: one that takes other clips would stop the workers.

    Args:
        out: the repository; it may be missing.
        replace: the existing versions are to be removed.
        instead: advice for the operator where it cannot.

    Raises:
        ExportError: it cannot.
    """
    target = out / name
    if not target.exists():
        return
    if (target / CONFIG_FILE).is_file() and hosts_parts(target):
        raise ExportError(f"{target} hosts the parts of cameras: add one with --into {name}, or name another --as")
    check_kind(target, ServedKind.DETECTOR, folder)
    if replace:
        return
    try:
        present = read_card(target).clip
    except CardError as error:
        raise ExportError(f"{error}; {instead}") from None
    if {**card.clip.model_dump(), "stride": 0} != {**present.model_dump(), "stride": 0}:
        raise ExportError(
            f"{target} serves clips of {_in_words(present)}, and {folder} was trained with {_in_words(card.clip)}: "
            f"{instead}"
        )


def check_kind(target: Path, kind: ServedKind, folder: Path) -> None:
    """Check that a model can become a version of an existing served model ``target`` by its kind.

    Args:
        folder: of the model.

    Raises:
        ExportError: the folder is not a served model, or serves another kind.
    """
    if not (target / CONFIG_FILE).is_file():
        raise ExportError(f"{target} exists and is not a served model: name another folder or another --as")
    if (present := served_kind(target)) is not kind:
        raise ExportError(f"{target} serves {present.serves}, and {folder} is {kind.words}: name another --as")


def _in_words(clip: StoredClip) -> str:
    fps = "native" if clip.fps is None else clip.fps
    return f"{clip.frames}×{clip.height}×{clip.width} ({clip.fit.value}) at {fps} fps"


def ensure_repository(
    model: str,
    cache_dir: Path | None = None,
    *,
    precision: Precision = Precision.AUTO,
    progress: Progress = lambda _: None,
) -> Path:
    """Return a model repository of ``model`` in the user's cache; export it when it is missing.

    It is found again by a hash over the model's card (which holds the hashes of all weights) and the exporting code;
    finding it imports neither torch nor OpenVINO.

    Args:
        cache_dir: by default mistwatch's cache folder (``MISTWATCH_CACHE``).
        precision: ``auto`` is what the figures in the model's card allow on this processor.

    Raises:
        UnknownModelError: the model is unknown.
        MistwatchError: it cannot be exported.
    """
    folder = find_model(model)
    with explained(cache_dir or weights.cache_dir()):
        family, card = read_detector(folder)
    return cached_repository(
        card.name,
        _export_key(family, card, precision),
        SERVED_NAME,
        lambda where: export(model, where, precision=PrecisionWish(precision), progress=progress),
        cache_dir=cache_dir,
    )


def cached_repository(
    name: str, key: str, served_name: str, write: Callable[[Path], object], *, cache_dir: Path | None = None
) -> Path:
    """Return a model repository in the user's cache; write it when it is missing.

    Args:
        name: of the model.
        key: a digest of everything that determines its content.
        served_name: of the served model in it, which appears in full.
        write: writes the repository.

    Raises:
        MistwatchError: it cannot be written.
    """
    shelf = (cache_dir or weights.cache_dir()) / "repositories"
    where = shelf / f"{name}-{key[:16]}"
    finished = where / served_name
    if finished.exists():
        return where
    with explained(shelf):
        shelf.mkdir(parents=True, exist_ok=True)
        with files.locked(shelf / f"{where.name}.lock"):  # a second process waits and finds it there
            if not finished.exists():
                write(where)
    return where


def _export_key(family: Family[Any], card: ModelCard, precision: Precision) -> str:
    digest = hashlib.sha256(card.model_dump_json().encode())
    digest.update(precision.encode())
    digest.update(code_digest(export_entries(*family.families(card)), without=MEASURES).encode())
    digest.update(json.dumps(export_tools()).encode())
    return digest.hexdigest()


#: Code of the accuracy gate, which measures a precision on footage: its figures stand in the card, another input.
MEASURES = ("models.serving.accuracy", "pipeline.manifests")


def export_entries(*families: str) -> tuple[str, ...]:
    """Return the modules whose code decides the content of an export, with all that they import but :data:`MEASURES`.

    Args:
        families: of the model; see :attr:`models.detectors.base.Family.families`.
    """
    return __name__, *COPIED, *(FAMILIES[family] for family in families)


def export_tools() -> dict[str, str]:
    """Return what decides the content of an export beside a model and our code.

    These are the versions of packages, the presence of CUDA (for the batches), and what the processor can compute in
    (for ``auto``): a cache in a home folder that machines share serves each its own precision.
    """
    tools = {"cuda": str(cuda_devices() > 0), "processor": platform.machine()}
    tools["computes"] = " ".join(processor_features())
    for package in ("openvino", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            tools[package] = importlib.metadata.version(package)
    return tools


def _tried(
    loaded: ServedNetwork | ServedProgram, card: ModelCard, folder: Path
) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Score a black clip of the card's size.

    Returns:
        The outputs for its scene, (1, ...) by their names, empty if the model reads none; and the shape of each output
        for one clip.
    """
    black = np.zeros((1, card.clip.frames, card.clip.height, card.clip.width, 3), np.uint8)
    if isinstance(loaded, ServedProgram):
        try:
            answers = loaded.open().run(black)
        except (ValueError, KeyError, RuntimeError) as error:  # of pictures of another size, for example
            raise ExportError(
                f"{folder}: the clips of its model card do not suit what it has learned: {error}"
            ) from None
        return {}, {name: list(values.shape[1:]) for name, values in answers.items()}
    import torch

    from models.detectors.network import SceneNetwork

    clip = torch.from_numpy(black)
    of_scene: dict[str, Tensor] = {}
    try:
        with torch.inference_mode():
            if isinstance(loaded, SceneNetwork):
                of_scene = dict(zip(loaded.of_scene, loaded.standing(clip[:, 0]), strict=True))
            found = loaded(clip, *of_scene.values())
    except ValueError as error:  # clips that are too short, or of a size whose maps do not meet
        raise ExportError(f"{folder}: the clips of its model card do not suit its network: {error}") from None
    return of_scene, {name: list(values.shape[1:]) for name, values in zip(loaded.outputs, found, strict=True)}


class _Source(NamedTuple):
    """The origin of a network that is exported, and the kind of standing scene that it reads."""

    card: ModelCard
    folder: Path
    scene: SceneKind | None


def _write_network(
    network: ServedNetwork,
    source: _Source,
    draft: Path,
    engine: EngineChoice,
    wish: PrecisionWish,
    progress: Progress,
) -> ServedPrecision:
    """Write what runs the network, and the network, into the version folder ``draft``; return its precision."""
    card = source.card
    served = SERVED_FLOAT32
    copy_modules(COPIED, draft)
    if card.backbone is not None:
        write_notice({card.backbone.name}, draft)
    if engine is not EngineChoice.TORCH:
        from models.engines.openvino_convert import save
        from models.serving.precisions import choose, converted

        progress("converting the network for OpenVINO")
        candidate = converted(network, card, source.folder, source.scene)
        if candidate.scene_network is not None:
            save(candidate.scene_network, draft / SCENE_FILE)
        if wish.precision is Precision.AUTO and engine is EngineChoice.AUTO and cuda_devices() > 0:
            _check_gateless(wish, "torch serves in fp32 on the CUDA device here (or choose --engine openvino)")
            wish = _FLOAT32
        chosen = choose(candidate, wish, progress)
        served = chosen.served
        save(chosen.network, draft / OPENVINO_FILE)
    elif wish.precision not in (Precision.AUTO, Precision.FP32):
        raise ExportError(
            f"--precision {wish.precision}: torch serves in fp32 (got --engine torch); expected --engine openvino, or "
            "--precision auto or fp32"
        )
    else:
        _check_gateless(wish, "torch serves in fp32 (got --engine torch)")
    if engine is not EngineChoice.OPENVINO:
        from models.serving.torch_file import save_network

        save_network(network, card, draft / TORCH_FILE)
    return served


def _check_gateless(wish: PrecisionWish, reason: str) -> None:
    """Check that nothing is asked of the accuracy gate where it has nothing to judge. Raises ExportError."""
    if wish.videos or wish.force:
        raise ExportError(f"--validate, --force: leave them out; {reason}")


def check_shares(loaded: ServedNetwork | ServedProgram, folder: Path, engine: EngineChoice) -> None:
    """Check that a model can stand on a shared backbone. Raises ExportError."""
    if engine is EngineChoice.TORCH:
        raise ExportError("a shared backbone runs on OpenVINO alone; leave out --share-backbone or --engine torch")
    if isinstance(loaded, ServedProgram) or loaded.divided() is None:
        raise ExportError(f"{folder}: a model of this kind has no backbone to share; leave out --share-backbone")


def _write_program(program: ServedProgram, folder: Path) -> None:
    """Write a program, and what runs it, into a version folder."""
    write_code(program, folder, COPIED)
    write_learned(program, folder)
    write_networks(program, folder)


def write_code(program: ServedProgram, folder: Path, runners: Mapping[str, str]) -> None:
    """Copy the modules of a program and of its members into a folder.

    Args:
        runners: modules that run it, with their names in the folder.
    """
    own = {program.module: PROGRAM_MODULE, **{module: module.rpartition(".")[2] for module in program.uses}}
    copy_modules({**runners, **own}, folder)
    for member, place in _members(program, folder):
        write_code(member, place, _OF_MEMBERS)


def write_learned(program: ServedProgram, folder: Path) -> None:
    """Write what a program and its members have learned into a folder. Raises OSError."""
    with (folder / PROGRAM_FILE).open("wb") as file:
        np.savez(file, allow_pickle=False, **program.arrays)
    for member, place in _members(program, folder):
        write_learned(member, place)


def write_networks(
    program: ServedProgram, folder: Path, wanted: Callable[[ProgramNetwork], bool] = lambda _network: True
) -> None:
    """Write the networks of a program and of its members, if any, into a folder, for OpenVINO.

    Args:
        wanted: chooses among them.

    Raises:
        ImportError: OpenVINO is missing.
        OSError: the folder cannot be written.
    """
    chosen = {name: network for name, network in program.networks.items() if wanted(network)}
    for name, network in chosen.items():
        from models.engines.openvino_convert import save

        (folder / NETWORKS_FOLDER).mkdir(exist_ok=True)
        save(network.converted(), folder / NETWORKS_FOLDER / f"{name}.xml")
    write_notice({network.weights for network in chosen.values()}, folder / NETWORKS_FOLDER)
    for member, place in _members(program, folder):
        write_networks(member, place, wanted)


def write_notice(names: Collection[str], folder: Path) -> None:
    """State the origin and licence of published weights that lie in a folder."""
    if known := sorted(weights.PUBLISHED.keys() & {*names}):
        lines = ["The networks in this folder contain weights that others published, converted by mistwatch:", ""]
        lines += [weights.published(name).notice for name in known]
        (folder / NOTICE_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _members(program: ServedProgram, folder: Path) -> Iterator[tuple[ServedProgram, Path]]:
    """Yield the members of a program with their folders, which exist then."""
    for name, member in program.members.items():
        place = folder / MEMBERS_FOLDER / name
        place.mkdir(parents=True, exist_ok=True)
        yield member, place


def copy_modules(names: Mapping[str, str], draft: Path) -> None:
    """Copy modules, given with their names in a version folder, into ``draft``, where they import one another."""
    for module, name in names.items():
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        (draft / f"{name}.py").write_text(_with_relative_imports(source, names), encoding="utf-8")


def _with_relative_imports(source: str, names: Mapping[str, str]) -> str:
    """Make the imports of copied modules relative, because a version's folder is a package of its own."""
    for module, name in names.items():
        source = re.sub(rf"^( *)from {re.escape(module)} import", rf"\1from .{name} import", source, flags=re.MULTILINE)
    return source


@contextlib.contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn a missing package and a file that cannot be written into one line. Raises ExportError."""
    try:
        yield
    except ImportError as error:
        extra = "int8" if error.name == "nncf" else "serve"
        raise ExportError(f"exporting needs the package {error.name}: install mistwatch[{extra}]") from error
    except OSError as error:
        raise ExportError(f"cannot write {error.filename or out}: {error.strerror}") from error
