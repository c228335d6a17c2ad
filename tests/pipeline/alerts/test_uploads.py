"""Evidence in an object store: what is kept there, what waits while it is away, and what a failure says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import object_stores
import pytest
from object_stores import ACCESS_KEY, SECRET_KEY, store_at
from ports import free_port

from pipeline.alerts import object_store
from pipeline.alerts.evidence_folder import FILM, PICTURE, EvidenceFolder
from pipeline.alerts.object_store import ObjectGoneError, ObjectStore, StoreAddress, StoreError
from pipeline.alerts.uploads import UploadDrop, Uploads, UploadWatch
from pipeline.errors import UsageError

PLACE = "courtyard/north"
SOON_SECONDS = 60.0  # the machine may be busy


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
    store = store_at(server)
    for one in list(store.list(PLACE)):
        store.delete(one.key)
    return store


class Seen(UploadWatch):
    def __init__(self) -> None:
        self.drops: list[UploadDrop] = []
        self.failures = self.uploads = 0

    def uploaded(self) -> None:
        self.uploads += 1

    def failed(self) -> None:
        self.failures += 1

    def dropped(self, reason: UploadDrop) -> None:
        self.drops.append(reason)


def folder_at(path: Path, quota: int = 10**6) -> EvidenceFolder:
    return EvidenceFolder(path / "evidence", quota_bytes=quota, max_age_seconds=1e6)


def uploads_of(
    folder: EvidenceFolder, store: ObjectStore, quota: int = 10**7, age: float = 1e6
) -> tuple[Uploads, Seen]:
    seen = Seen()
    uploads = Uploads(
        folder, store, PLACE, quota_bytes=quota, max_age_seconds=age, watch=seen, backoff_seconds=(0.02, 0.05)
    )
    uploads.start()
    return uploads, seen


def put(folder: EvidenceFolder, name: str, content: bytes, suffix: str = PICTURE) -> Path:
    path = folder.path("gate", name, suffix)
    folder.put(path, content, what="picture")
    return path


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON_SECONDS
    while not condition():
        assert time.monotonic() < limit, "not soon enough"
        time.sleep(0.02)


def keys(store: ObjectStore) -> set[str]:
    return {one.key.removeprefix(f"{PLACE}/gate/") for one in store.list(PLACE)}


def test_files_of_the_folder_are_in_the_store_byte_by_byte(tmp_path: Path, store: ObjectStore) -> None:
    folder = folder_at(tmp_path, quota=10**8)
    film = bytes(range(256)) * 30_000  # in several parts
    put(folder, "before", b"left by an earlier process")
    uploads, _ = uploads_of(folder, store)
    put(folder, "film", film, FILM)
    put(folder, "später", b"a name of other letters")
    until(lambda: len(keys(store)) == 3)
    assert uploads.close(SOON_SECONDS) == 0
    assert keys(store) == {"before.jpg", "film.mp4", "später.jpg"}
    key = f"{PLACE}/gate/film.mp4"
    assert b"".join(store.read(key, 0, store.size(key))) == film
    assert b"".join(store.read(key, 1000, 1010)) == film[1000:1010]
    assert store.key_of(store.uri_of(key)) == key
    assert store.key_of("s3://evidence/site-of-others/x.jpg") is None


def test_what_a_dead_store_lacks_waits_and_comes_after_a_restart(
    tmp_path: Path, server: str, store: ObjectStore
) -> None:
    folder = folder_at(tmp_path)
    dead = store_at(f"http://127.0.0.1:{free_port()}")
    uploads, seen = uploads_of(folder, dead)
    began = time.monotonic()
    put(folder, "one", b"1")
    assert time.monotonic() - began < 5, "a dead store delays nothing"
    until(lambda: seen.failures > 0)
    assert uploads.close(SOON_SECONDS) == 1
    assert (seen.uploads, seen.drops) == (0, [])

    uploads, seen = uploads_of(folder_at(tmp_path), store)
    until(lambda: keys(store) == {"one.jpg"})
    assert uploads.close(SOON_SECONDS) == 0
    uploads, seen = uploads_of(folder_at(tmp_path), store)
    assert uploads.close(SOON_SECONDS) == 0
    assert seen.uploads == 0, "what the store has is not sent again"


def test_files_that_leave_a_full_folder_before_the_store_has_them_are_counted(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, quota=25)
    dead = store_at(f"http://127.0.0.1:{free_port()}")
    uploads, seen = uploads_of(folder, dead)
    for number in range(4):
        put(folder, f"{number}", b"0123456789")
    assert seen.drops == [UploadDrop.QUOTA] * 2
    assert uploads.close(SOON_SECONDS) == 2


def test_the_store_keeps_the_newest_within_its_quota_and_no_others_files(tmp_path: Path, store: ObjectStore) -> None:
    other = tmp_path / "other.jpg"
    other.write_bytes(b"of another worker")
    store.put("courtyard/south/gate/other.jpg", other)
    folder = folder_at(tmp_path)
    uploads, _ = uploads_of(folder, store, quota=25)
    for number in range(4):
        put(folder, f"{number}", b"0123456789")
        until(lambda number=number: f"{number}.jpg" in keys(store))
    uploads.close(SOON_SECONDS)
    assert keys(store) == {"2.jpg", "3.jpg"}
    uploads, _ = uploads_of(folder_at(tmp_path / "empty"), store, age=-1.0)
    until(lambda: not keys(store))
    uploads.close(SOON_SECONDS)
    assert store.size("courtyard/south/gate/other.jpg") == 17


def test_an_object_that_is_gone_is_an_error_of_its_own_and_can_be_removed_again(store: ObjectStore) -> None:
    with pytest.raises(ObjectGoneError, match="the object is gone"):
        store.size(f"{PLACE}/gate/gone.jpg")
    store.delete(f"{PLACE}/gate/gone.jpg")


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "InvalidAccessKeyId", "it does not know the access key"),
        (403, "SignatureDoesNotMatch", "the secret key does not fit"),
        (403, "AccessDenied", "the access key may not do this"),
        (404, "NoSuchBucket", "the bucket does not exist"),
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


def test_a_store_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "_ANSWER_SECONDS", 0.5)
    file = tmp_path / "a.jpg"
    file.write_bytes(b"x")
    with object_stores.silent_s3() as endpoint, pytest.raises(StoreError, match=r"no answer within 0\.5 s"):
        store_at(endpoint).put("a.jpg", file)


def test_keys_come_from_files(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    access, secret = tmp_path / "access", tmp_path / "secret"
    access.write_text(ACCESS_KEY + "\n")
    secret.write_text(SECRET_KEY + "\n")
    address = StoreAddress("s3://evidence/site", server, None, access, secret)
    with pytest.raises(ObjectGoneError):
        ObjectStore(address).size("gone.jpg")
    secret.unlink()
    with pytest.raises(UsageError, match=r"secret key file of the evidence store .*No such file"):
        ObjectStore(address)
