"""A Triton server's description of the model that it serves, and the meaning of its failures."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.model_config_pb2 as model_config

from operators.background import SceneKind
from operators.heat_kind import HeatKind
from pipeline.errors import MistwatchError, UsageError
from pipeline.scoring.target import Target
from pipeline.scoring.tls_address import TlsAddress, tls_trouble
from pipeline.sources.base import Fit
from pipeline.tls import TlsFileError
from pipeline.windows import ClipSpec

_RECONNECT = [
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1000),  # gRPC's own default comes back 5 s late after 38 s
]
_CHANNEL = [
    # Naming any argument replaces tritonclient's own, among them these two: clips exceed gRPC's 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    *_RECONNECT,
    # gRPC gives channels with equal arguments one TCP connection by default: a new channel would share the dead one.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),  # a scorer stands beside its cameras; http_proxy is for the web
]
#: The part of gRPC's long texts that an operator needs.
_CAUSES = {
    "Connection refused": "connection refused",
    "Connection reset": "connection lost",
    "Socket closed": "connection lost",
    "Domain name not found": "no such host",
    "DNS": "no such host",
    "No route to host": "no route to host",
    "Network is unreachable": "network unreachable",
}

#: Compiling and warming I3D takes tens of seconds on a busy machine.
LOAD_SECONDS = 120.0
_LIVE_SECONDS = 5.0
#: The parameter of a model that hosts parts.
_PARTS = "parts"


class ScorerError(MistwatchError):
    """The scorer cannot be used. One line for an operator."""


class ClipMismatch(ScorerError, UsageError):
    """The served model cannot be used by this site, which only a person can change: other clips, missing outputs."""


class Trouble(StrEnum):
    """The meaning of a failed call."""

    UNREACHABLE = "unreachable"  #: no server answers at the address
    NOT_READY = "not_ready"  #: a server answers but does not serve the model (yet)
    PART = "part"  #: the model is there, and the part of this camera is missing in it or damaged
    STUB_DIED = "stub_died"  #: the model's process died; Triton does not start another by itself
    SILENT = "silent"  #: no answer in time: frozen, or too slow
    CUT_OFF = "cut_off"  #: its connection had died without a sign, and was replaced
    REFUSED = "refused"  #: the server refuses this very request
    FAILED = "failed"  #: the model raised, on this clip or on another of the same batch
    UNREADABLE = "unreadable"  #: the answer lacks an output that was asked for
    MISMATCH = "mismatch"  #: the model takes other clips than ours, or lacks outputs that it promises


#: Troubles that concern a camera's part alone, where a model hosts several.
OF_A_PART = frozenset({Trouble.PART, Trouble.MISMATCH})
#: Beginning of the text of an error about a part, as of :mod:`models.serving.contract`.
_PART_TROUBLE = "PART "
#: A dead process in Triton's words, which name the instance of the model: of a shared backbone, whose name begins as in
#: :mod:`models.serving.contract`.
_DEAD_BACKBONE = re.compile(r"tub process '(backbone_\w+?)_\d+_\d+' is not healthy")


class ScorerUnavailable(ScorerError):
    """The server or its model is not there now; it may come back."""

    def __init__(self, trouble: Trouble, line: str) -> None:
        super().__init__(line)
        self.trouble = trouble


def connect(address: str) -> triton.InferenceServerClient:
    """Return a client whose connection comes back within about a second of the server. Nothing is sent yet.

    Raises:
        ScorerUnavailable: a file of a :class:`TlsAddress` cannot be read now.
    """
    if not isinstance(address, TlsAddress):
        return triton.InferenceServerClient(address, channel_args=_CHANNEL)
    name = address.tls.server_name
    named = [] if name is None else [("grpc.ssl_target_name_override", name)]
    try:
        credentials = address.tls.credentials()
    except TlsFileError as error:
        raise ScorerUnavailable(Trouble.UNREACHABLE, f"Triton at {address} cannot be used: {error}") from None
    return triton.InferenceServerClient(str(address), creds=credentials, channel_args=[*_CHANNEL, *named])


def diagnose(error: Exception, address: str, model: str) -> tuple[Trouble, str]:
    """Return the meaning of a failed call, and one line for an operator."""
    status = str(getattr(error, "status", lambda: None)() or "").removeprefix("StatusCode.")
    text = _one_line(error)
    server = f"Triton at {address}"
    match status:
        case "NOT_FOUND" if text.startswith(_PART_TROUBLE):
            return Trouble.PART, f"{server}: model {model}, part {text.removeprefix(_PART_TROUBLE)}"
        case "NOT_FOUND":
            return Trouble.NOT_READY, f"{server} does not serve the model {model} ({text})"
        case "UNAVAILABLE" if model in text:
            return Trouble.NOT_READY, f"{server}: {text}"
        case "DEADLINE_EXCEEDED":
            return Trouble.SILENT, f"{server} did not answer in time: it is frozen, overloaded or cut off"
        case "INTERNAL" if "tub process" in text and "not healthy" in text:
            dead = dead_backbone(error) or model
            return Trouble.STUB_DIED, (
                f"{server}: the process of the model {dead} has died; unload and load the model, or restart the server"
            )
        case "INTERNAL":
            return Trouble.FAILED, f"{server}: {text}"
        case "INVALID_ARGUMENT" | "RESOURCE_EXHAUSTED" | "OUT_OF_RANGE":
            return Trouble.REFUSED, f"{server}: {text}"
        case "UNIMPLEMENTED" | "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return Trouble.UNREACHABLE, f"{address} answers, but not as a Triton server for us ({status})"
    if (trouble := tls_trouble(address, text)) is not None:
        return Trouble.UNREACHABLE, f"{server} cannot be used: {trouble}"
    cause = next((words for known, words in _CAUSES.items() if known in text), _short(text))
    return Trouble.UNREACHABLE, f"{server} cannot be reached ({cause})"


def dead_backbone(error: Exception) -> str:
    """Return the name of the shared backbone whose process has died, where that made a call of a model on it fail."""
    dead = _DEAD_BACKBONE.search(_one_line(error))
    return "" if dead is None else dead[1]


def _one_line(error: Exception) -> str:
    """Return a failure's own words, whole: Triton's often end with the cure. A Python stack below them is left out."""
    words: str = getattr(error, "message", lambda: None)() or str(error)
    return " ".join(words.split("\n\nAt:")[0].split())


def _short(text: str) -> str:
    return text if len(text) <= 160 else f"{text[:157]}..."


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The shape and meaning of a model's output HEAT: ``rows`` × ``columns`` cells that cover the clip's picture."""

    rows: int
    columns: int
    kind: HeatKind


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as its server describes it.

    Attributes:
        name: the model's own name (its config's parameter ``name``), as it appears in alerts.
        clip: the clips it was trained with; ``stride`` is a suggestion.
        threshold: suggested alert threshold on the smoothed score, in [0, 1]; None when it names none.
        close_threshold: suggested threshold below which an alert ends, at most ``threshold``; None when it names none.
        kernel: suggested moving average, in clips; None when it names none.
        heat: its output HEAT; None when it has none.
        features: length of its output FEATURES; None when it has none.
        features_digest: of what decides those; None when the server does not say.
        backbone: the network whose features or maps it reads; None when the server does not say.
        weights_sha256: of its weights; None when the server does not say.
        scene: the standing scene that it reads as its input SCENE; None when it reads none.
        takes_mask: it has the input MASK, of the size of HEAT: places to ignore.
        rarity: its scores are rarities (:mod:`operators.rarity`), so that their drift can be noticed.
        may_be_gated: the score of a clip in which nothing moves may be held instead of computed
            (:mod:`operators.gate`).
        hosts_parts: it scores nothing by itself: a request names a part, which has a description of its own. The
            version of a part names that of the model and its own, ``1.3``.
    """

    name: str
    version: str
    clip: ClipSpec
    threshold: float | None = None
    close_threshold: float | None = None
    kernel: int | None = None
    heat: HeatMap | None = None
    features: int | None = None
    features_digest: str | None = None
    backbone: str | None = None
    weights_sha256: str | None = None
    scene: SceneKind | None = None
    takes_mask: bool = False
    rarity: bool = False
    may_be_gated: bool = False
    hosts_parts: bool = False

    def require(self, clip: ClipSpec, *, asked_by: str = "the site") -> None:
        """Check that the model was trained with clips like ``clip``; the stride may differ.

        Raises:
            ClipMismatch: one line with both, setting by setting.
        """
        pairs = {
            "frames": (self.clip.frames, clip.frames),
            "height": (self.clip.height, clip.height),
            "width": (self.clip.width, clip.width),
            "fit": (self.clip.fit.value, clip.fit.value),
            "fps": (_rate(self.clip.fps), _rate(clip.fps)),
        }
        other = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
        if other:
            trained = ", ".join(f"{key} {theirs}" for key, (theirs, _) in other.items())
            asked = ", ".join(f"{key} {ours}" for key, (_, ours) in other.items())
            keys = ", ".join(f"clip.{key}" for key in other)
            raise ClipMismatch(
                f"the served model {self.name} (version {self.version}) was trained with {trained}, "
                f"{asked_by} asks for {asked}: leave out {keys}, or serve a model trained that way"
            )


def served_model(
    address: str, model: str = "clip_scorer", *, part: str = "", timeout_seconds: float = 5.0
) -> ServedModel:
    """Ask the server at ``address`` (HOST:PORT, gRPC) what it serves.

    Args:
        part: of a model that hosts parts; empty describes the model as a whole.

    Raises:
        ScorerUnavailable: the server, the model or the part is not there.
        ClipMismatch: the model does not say which clips it was trained with, contradicts itself, or has not the
            outputs that it promises.
    """
    with connect(address) as client:
        return describe(client, address, Target(model, part), timeout_seconds=timeout_seconds)


def describe(
    client: triton.InferenceServerClient,
    address: str,
    target: Target,
    *,
    version: str = "",
    timeout_seconds: float = 5.0,
) -> ServedModel:
    """Return the same as :func:`served_model`, over an open connection.

    Args:
        version: the one to describe; by default the one that answers clips: the newest that is served. While one
            version takes another's place both are there for a moment.
    """
    model = target.model
    asked = version
    version = version.partition(".")[0]
    try:
        if not version:
            version = max(client.get_model_metadata(model, client_timeout=timeout_seconds).versions, key=int)
        config = client.get_model_config(model, version, client_timeout=timeout_seconds).config
    except Exception as error:  # tritonclient raises its own, a closed channel a ValueError
        raise ScorerUnavailable(*diagnose(error, address, model)) from error
    said = {key: value.string_value for key, value in config.parameters.items()}
    if target.part:
        if _PARTS not in said:
            raise ClipMismatch(
                f"the model {model} at {address} hosts no parts of cameras, and its part {target.part} is asked for: "
                "serve one written by `mistwatch export --into`"
            )
        settings = _part_settings(client, address, target, version, timeout_seconds)
        said |= settings
        version = f"{version}.{settings.get('version', '')}"
        if asked and version != asked:
            raise ScorerUnavailable(
                Trouble.NOT_READY, f"Triton at {address} serves version {version} of {target}, and no longer {asked}"
            )
    elif _PARTS in said:
        said |= {"clip_fit": Fit.STRETCH.value, "clip_fps": "native"}  # those of the parts may differ
    if _output(config, "SCORE") != (1,):
        raise ClipMismatch(
            f"the model {model} at {address} has no output SCORE of one number: serve one written by `mistwatch export`"
        )
    _check_heat(config, said, model, address)
    try:
        served = _read_description(config, said, model, version)
        if _PARTS in said and not target.part:
            served = replace(served, hosts_parts=True)
    except KeyError as missing:
        raise ClipMismatch(
            f"the model {model} at {address} does not say which clips it was trained with (parameter {missing} is "
            "missing in its config.pbtxt): serve one written by `mistwatch export`"
        ) from None
    except ValueError as error:
        raise ClipMismatch(
            f"the model {model} at {address} describes its clips in a way that cannot be read ({error}): "
            "serve one written by `mistwatch export`"
        ) from None
    _check_input(config, served, address)
    _check_scene(config, served, address)
    _check_mask(config, served, address)
    return served


def _read_description(config: Any, said: dict[str, str], model: str, version: str) -> ServedModel:
    """Read a model's parameters. Raises KeyError (one is missing) or ValueError (one cannot be read)."""
    return ServedModel(
        name=said.get("name") or model,
        version=version,
        clip=ClipSpec(
            frames=int(said["clip_frames"]),
            stride=int(said.get("clip_stride") or said["clip_frames"]),
            height=int(said["clip_height"]),
            width=int(said["clip_width"]),
            fit=Fit(said["clip_fit"]),
            fps=None if said["clip_fps"] == "native" else float(said["clip_fps"]),
        ),
        threshold=_number(said.get("threshold")),
        close_threshold=_number(said.get("close_threshold")),
        kernel=int(said["kernel"]) if said.get("kernel") else None,
        heat=_heat(config, said),
        features=_features(config),
        features_digest=said.get("features") or None,
        backbone=said.get("backbone") or None,
        weights_sha256=said.get("weights_sha256") or None,
        scene=SceneKind(said["scene"]) if said.get("scene") else None,
        takes_mask=any(tensor.name == "MASK" for tensor in config.input),
        rarity=said.get("scores") == "rarity",
        may_be_gated=said.get("gate") == "allowed",
    )


def _part_settings(
    client: triton.InferenceServerClient, address: str, target: Target, version: str, timeout_seconds: float
) -> dict[str, str]:
    """Ask for the settings of a part, and the number of its version.

    Args:
        version: of the hosting model.

    Raises:
        ScorerUnavailable: the model or the part is not there, or another version of the model answers by now.
        ClipMismatch: the answer cannot be read.
    """
    try:
        answer = client.infer(
            target.model,
            [part_input(target.part)],
            outputs=[triton.InferRequestedOutput("PART_SETTINGS")],
            client_timeout=timeout_seconds,
        )
    except Exception as error:
        raise ScorerUnavailable(*diagnose(error, address, target.model)) from error
    if (answering := answer.get_response().model_version) != version:
        raise ScorerUnavailable(
            Trouble.NOT_READY, f"Triton at {address} serves version {answering} of {target.model}, no longer {version}"
        )
    try:
        settings = json.loads(bytes(answer.as_numpy("PART_SETTINGS")))
        return {str(key): str(value) for key, value in settings.items()}
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ClipMismatch(
            f"the model {target.model} at {address} describes its part {target.part} in a way that cannot be read "
            f"({error}): serve one written by `mistwatch export --into`"
        ) from None


def part_input(part: str) -> Any:
    """Return the input PART of a request for a single clip, or for the part's settings."""
    name = np.frombuffer(part.encode(), np.uint8)[np.newaxis]
    tensor = triton.InferInput("PART", name.shape, "UINT8")
    tensor.set_data_from_numpy(name)
    return tensor


class NotLoaded(ScorerUnavailable):
    """The server is there but has not loaded the model that it was asked to load: something is wrong with that one."""


def load_version(address: str, model: str, version: int, *, timeout_seconds: float = LOAD_SECONDS) -> None:
    """Have the server at ``address`` load the version that its repository names, and serve it.

    Meanwhile the version before answers, and it goes on if the new one cannot be loaded.

    Raises:
        NotLoaded: the server cannot load it, takes too long, or dies of it. One line.
        ScorerUnavailable: the server is not there. One line.
    """
    with connect(address) as client:
        try:
            client.is_server_live(client_timeout=_LIVE_SECONDS)
        except Exception as error:
            raise ScorerUnavailable(*diagnose(error, address, model)) from error
        try:
            client.load_model(model, client_timeout=timeout_seconds)
            ready = client.is_model_ready(model, str(version), client_timeout=timeout_seconds)
        except Exception as error:
            trouble, line = diagnose(error, address, model)
            match trouble:
                case Trouble.FAILED | Trouble.REFUSED:
                    line = f"Triton at {address}: {_one_line(error)}"
                case Trouble.SILENT:
                    what = f"version {version} of {model} in {timeout_seconds:g} s"
                    line = f"Triton at {address} has not loaded {what}, and may yet"
                case Trouble.UNREACHABLE:
                    line = f"{line} since it was asked to load version {version} of {model}"
            raise NotLoaded(trouble, line) from error
    if not ready:
        raise NotLoaded(
            Trouble.NOT_READY,
            f"Triton at {address} has loaded the model {model}, but not its version {version}: "
            "was it started with another repository?",
        )


def _check_input(config: Any, served: ServedModel, address: str) -> None:
    """Check that the input CLIP has the shape that the parameters describe. Raises ClipMismatch."""
    takes = {tensor.name: list(tensor.dims) for tensor in config.input}.get("CLIP")
    clip = [served.clip.frames, served.clip.height, served.clip.width, 3]
    if takes is None or len(takes) != 4 or any(size not in (-1, want) for size, want in zip(takes, clip, strict=True)):
        raise ClipMismatch(
            f"the model {config.name} at {address} takes CLIP {takes or 'not at all'}, but says that it was "
            f"trained with {clip}: serve one written by `mistwatch export`"
        )


def _check_scene(config: Any, served: ServedModel, address: str) -> None:
    """Check that the input SCENE goes with the parameter, is optional and fits the clip. Raises ClipMismatch."""
    tensor = {tensor.name: tensor for tensor in config.input}.get("SCENE")
    if tensor is None and served.scene is None:
        return
    wrong = f"the model {config.name} at {address}"
    if tensor is None:
        wrong += f" reads a scene (parameter scene: {served.scene}) but has no input SCENE"
    elif served.scene is None:
        wrong += (
            " has an input SCENE but does not say which scene it reads (parameter 'scene' is missing in its "
            f"config.pbtxt; expected {' or '.join(SceneKind)})"
        )
    else:
        size = [served.clip.height, served.clip.width, 3]
        takes = f"{model_config.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
        if takes == f"TYPE_UINT8 {size}" and tensor.optional:
            return
        wrong += f" takes SCENE {takes}{', optional' if tensor.optional else ''}, expected TYPE_UINT8 {size}, optional"
    raise ClipMismatch(f"{wrong}: serve one written by `mistwatch export`")


def _check_mask(config: Any, served: ServedModel, address: str) -> None:
    """Check that the input MASK is optional and fits HEAT, whose values must be absolute. Raises ClipMismatch."""
    tensor = {tensor.name: tensor for tensor in config.input}.get("MASK")
    if tensor is None:
        return
    heat = served.heat
    if heat is None or heat.kind is not HeatKind.ANOMALY:
        wrong = "has an input MASK but no output HEAT of the kind 'anomaly'"
    else:
        size = [heat.rows, heat.columns]
        takes = f"{model_config.DataType.Name(tensor.data_type)} {list(tensor.dims)}"
        if takes == f"TYPE_UINT8 {size}" and tensor.optional:
            return
        wrong = f"takes MASK {takes}{', optional' if tensor.optional else ''}, expected TYPE_UINT8 {size}, optional"
    raise ClipMismatch(f"the model {config.name} at {address} {wrong}: serve one written by `mistwatch export`")


def _output(config: Any, name: str) -> tuple[int, ...] | None:
    """Return the shape of an output; None where the model does not have it."""
    return {tensor.name: tuple(tensor.dims) for tensor in config.output}.get(name)


def _check_heat(config: Any, said: dict[str, str], model: str, address: str) -> None:
    """Refuse a model whose configuration and outputs disagree about HEAT. Raises ClipMismatch."""
    has_output = _output(config, "HEAT") is not None
    if said.get("heat") and not has_output:
        raise ClipMismatch(
            f"the model {model} at {address} promises HEAT (parameter heat: {said['heat']}) but has no such output: "
            "serve one written by `mistwatch export`"
        )
    if has_output and not said.get("heat"):
        raise ClipMismatch(
            f"the model {model} at {address} has an output HEAT but does not say what it means (parameter 'heat' is "
            f"missing in its config.pbtxt; expected {' or '.join(HeatKind)}): serve one written by `mistwatch export`"
        )


def _heat(config: Any, said: dict[str, str]) -> HeatMap | None:
    """Read the output HEAT. Raises ValueError when its shape or its kind cannot be read."""
    dims = _output(config, "HEAT")
    if dims is None:
        return None
    if len(dims) != 2 or any(size < 1 for size in dims):
        raise ValueError(f"HEAT {list(dims)}, expected rows and columns")
    return HeatMap(dims[0], dims[1], HeatKind(said["heat"]))


def _features(config: Any) -> int | None:
    """Return the length of the output FEATURES; None where the model has no such output, or one of another shape."""
    dims = _output(config, "FEATURES")
    return dims[0] if dims is not None and len(dims) == 1 and dims[0] > 0 else None


def _number(text: str | None) -> float | None:
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"not a number: {text}")
    return value


def _rate(fps: float | None) -> str:
    return "native" if fps is None else f"{fps:g}"
