"""The client of the object store over real HTTP and TLS: versions, and one line for each failure, without keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import object_stores
import pytest
from certificates import Authority
from object_stores import ACCESS_KEY, SECRET_KEY, store_at
from ports import free_port
from tls_front import TlsFront

from pipeline.alerts.object_store import ObjectStore, StoreAddress
from pipeline.alerts.object_store_errors import ObjectGoneError, StoreError
from pipeline.errors import UsageError
from pipeline.tls import TlsFileError

PLACE = "courtyard/north"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with object_stores.serving_s3() as endpoint:
        yield endpoint


@pytest.fixture
def store(server: str) -> ObjectStore:
    return store_at(server)


def test_an_object_that_is_gone_is_an_error_of_its_own_and_can_be_removed_again(store: ObjectStore) -> None:
    with pytest.raises(ObjectGoneError, match="the object is gone"):
        store.version(f"{PLACE}/gate/gone.jpg")
    store.delete(f"{PLACE}/gate/gone.jpg")


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "InvalidAccessKeyId", "it does not know the access key"),
        (403, "SignatureDoesNotMatch", "the secret key does not fit"),
        (403, "AccessDenied", "the access key may not do this"),
        (404, "NoSuchBucket", "the bucket does not exist"),
        (403, "NewFangled", r"it refuses (NewFangled)"),
        (403, "", "it refuses the credentials"),
        (500, "", "it answers with status 500"),
        (301, "PermanentRedirect", "the bucket is in another region"),
    ],
)
def test_a_refusal_is_one_line_without_the_key(tmp_path: Path, status: int, code: str, says: str) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    with object_stores.refusing_s3(status, code) as endpoint, pytest.raises(StoreError) as caught:
        store_at(endpoint).put("a.jpg", file)
    line = str(caught.value)
    assert line.startswith("evidence store s3://evidence/site: ")
    assert says in line
    assert "\n" not in line
    assert ACCESS_KEY not in line
    assert SECRET_KEY not in line


def test_a_wrong_bucket_and_an_absent_server_are_one_line_each(tmp_path: Path, server: str) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    with pytest.raises(StoreError, match="the bucket does not exist"):
        store_at(server, "nowhere").put("a.jpg", file)
    with pytest.raises(StoreError, match="no connection; check store_endpoint"):
        store_at(f"http://127.0.0.1:{free_port()}").put("a.jpg", file)


def test_a_store_that_hangs_is_given_up(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    with object_stores.silent_s3() as endpoint, pytest.raises(StoreError, match="no answer in time"):
        store_at(endpoint, answer_seconds=0.5).put("a.jpg", file)


def test_keys_come_from_files(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    access, secret = tmp_path / "access", tmp_path / "secret"
    access.write_text(ACCESS_KEY + "\n")
    secret.write_text(SECRET_KEY + "\n")
    address = StoreAddress("s3://evidence/site", server, None, access, secret)
    with pytest.raises(ObjectGoneError):
        ObjectStore(address).version("gone.jpg")
    secret.unlink()
    with pytest.raises(UsageError, match=r"secret key file of the evidence store .*No such file"):
        ObjectStore(address)


def test_an_object_that_breaks_off_on_its_way_in_is_not_there(tmp_path: Path, server: str, store: ObjectStore) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(range(256)) * 60_000)  # in several parts
    with (
        object_stores.Passing(server, most_sent=len(film.read_bytes()) // 4) as weak,
        pytest.raises(StoreError, match=r"closed the connection|broke off"),
    ):
        store_at(weak.endpoint).put(f"{PLACE}/gate/half.mp4", film)
    with pytest.raises(ObjectGoneError):
        store.version(f"{PLACE}/gate/half.mp4")
    assert list(store.list(f"{PLACE}/gate")) == []
    assert store.put(f"{PLACE}/gate/half.mp4", film) == film.stat().st_size
    assert b"".join(store.read(f"{PLACE}/gate/half.mp4", 0, film.stat().st_size)) == film.read_bytes()


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(tmp_path: Path, store: ObjectStore) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"old" * 1_000_000)
    store.put("a.jpg", file)
    size, version = store.version("a.jpg")
    pieces = store.read("a.jpg", 0, size, version)
    assert next(pieces).startswith(b"oldold")
    file.write_bytes(b"new" * 1_000_000)
    store.put("a.jpg", file)
    with pytest.raises(StoreError, match="the object was replaced meanwhile"):
        next(pieces)


def test_a_private_authority_is_trusted_when_it_is_named_and_only_then(tmp_path: Path, server: str) -> None:
    authority = Authority(tmp_path / "authority")
    context = authority.sign("store", "IP:127.0.0.1").server_context()
    with TlsFront(context, int(server.rpartition(":")[2])) as front:
        endpoint = f"https://127.0.0.1:{front.port}"
        trusting = ObjectStore(StoreAddress("s3://evidence/site", endpoint, ca_file=authority.ca))
        with pytest.raises(ObjectGoneError):
            trusting.version("gone.jpg")
        with pytest.raises(StoreError, match=r"its certificate is not trusted; set evidence\.store_ca_file"):
            store_at(endpoint).version("gone.jpg")
        with pytest.raises(StoreError, match=r"not that of an object store|closed the connection|broke off"):
            store_at(endpoint.replace("https", "http")).version("gone.jpg")


@pytest.mark.parametrize(("content", "says"), [(None, "No such file"), (b"no PEM", "a certificate")])
def test_a_file_of_authorities_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    ca = tmp_path / "ca.pem"
    if content is not None:
        ca.write_bytes(content)
    with pytest.raises(TlsFileError, match=rf"evidence store TLS authority .*ca\.pem: .*{says}"):
        ObjectStore(StoreAddress("s3://evidence/site", "https://127.0.0.1:9", ca_file=ca))
