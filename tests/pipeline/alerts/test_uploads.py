"""Evidence in an object store: what is kept there, what waits while it is away, and what a failure says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import object_stores
import pytest
from object_stores import ACCESS_KEY, SECRET_KEY, store_at
from ports import free_port
from prometheus_client import generate_latest

from pipeline import logs
from pipeline.alerts.evidence_folder import FILM, PICTURE, EvidenceFolder
from pipeline.alerts.object_store import ObjectStore
from pipeline.alerts.uploads import UploadDrop, Uploads, UploadWatch
from pipeline.live.metrics import CountedUploads, Metrics

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
    store.delete([one.key for one in store.list(PLACE)])
    return store


class Seen(UploadWatch):
    def __init__(self) -> None:
        self.drops: list[UploadDrop] = []
        self.failures = self.uploads = self.files = 0
        self.is_away = False
        self.aways: list[bool] = []

    def uploaded(self) -> None:
        self.uploads += 1

    def failed(self) -> None:
        self.failures += 1

    def dropped(self, reason: UploadDrop) -> None:
        self.drops.append(reason)

    def away(self, is_away: bool) -> None:
        self.is_away = is_away
        self.aways.append(is_away)

    def waiting(self, files: int) -> None:
        self.files = files


class Clocks:
    """Clocks that a test sets: the one that does not jump, and the wall clock."""

    def __init__(self) -> None:
        self.now, self.wall_now = 1e6, time.time()

    def clock(self) -> float:
        return self.now

    def wall_clock(self) -> float:
        return self.wall_now


def folder_at(path: Path, quota: int = 10**6, age: float = 1e6, clocks: Clocks | None = None) -> EvidenceFolder:
    more = {} if clocks is None else {"clock": clocks.clock, "wall_clock": clocks.wall_clock}
    return EvidenceFolder(path / "evidence", quota_bytes=quota, max_age_seconds=age, **more)


def uploads_of(
    folder: EvidenceFolder,
    store: ObjectStore,
    quota: int = 10**7,
    age: float = 1e6,
    clocks: Clocks | None = None,
) -> tuple[Uploads, Seen]:
    seen = Seen()
    more = {} if clocks is None else {"clock": clocks.clock, "wall_clock": clocks.wall_clock}
    uploads = Uploads(
        folder, store, PLACE, quota_bytes=quota, max_age_seconds=age, watch=seen, backoff_seconds=(0.02, 0.05), **more
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
    strange = put(folder, "../100 % & more", b"a name that needs escapes")
    until(lambda: len(keys(store)) == 4)
    assert uploads.close(SOON_SECONDS) == 0
    assert keys(store) == {"before.jpg", "film.mp4", "später.jpg", strange.name}
    assert store.key_of(store.uri_of(f"{PLACE}/gate/{strange.name}")) == f"{PLACE}/gate/{strange.name}"
    key = f"{PLACE}/gate/film.mp4"
    assert b"".join(store.read(key, 0, len(film))) == film
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
    assert uploads.close(SOON_SECONDS) == 0
    assert keys(store) == {"2.jpg", "3.jpg"}
    uploads, _ = uploads_of(folder_at(tmp_path / "empty"), store, age=1e-3)
    until(lambda: not keys(store))
    uploads.close(SOON_SECONDS)
    assert store.version("courtyard/south/gate/other.jpg")[0] == len(b"of another worker")


def test_a_file_that_was_replaced_by_one_of_its_size_after_the_upload_is_sent_after_a_restart(
    tmp_path: Path, store: ObjectStore
) -> None:
    folder = folder_at(tmp_path)
    uploads, _ = uploads_of(folder, store)
    path = put(folder, "peak", b"begin")
    until(lambda: keys(store) == {"peak.jpg"})
    assert uploads.close(SOON_SECONDS) == 0
    put(folder, "peak", b"later")  # as the process ends
    os.utime(path, (time.time() + 2, time.time() + 2))  # the store counts whole seconds
    uploads, seen = uploads_of(folder_at(tmp_path), store)
    until(lambda: seen.uploads == 1)
    assert uploads.close(SOON_SECONDS) == 0
    assert b"".join(store.read(f"{PLACE}/gate/peak.jpg", 0, 5)) == b"later"


def test_a_store_that_dies_and_comes_back_has_everything_in_the_end(
    tmp_path: Path, server: str, store: ObjectStore
) -> None:
    folder = folder_at(tmp_path, quota=10**8)
    with object_stores.Passing(server) as way:
        uploads, seen = uploads_of(folder, store_at(way.endpoint))
        put(folder, "one", b"1")
        until(lambda: keys(store) == {"one.jpg"})
        way.cut()
        for number in range(20):
            put(folder, f"{number}", b"while it is away")
        put(folder, "film", bytes(6 * 10**6), FILM)
        until(lambda: seen.failures > 1 and seen.is_away)
    assert uploads.close(SOON_SECONDS) == 21
    assert keys(store) == {"one.jpg"}
    uploads, seen = uploads_of(folder_at(tmp_path, quota=10**8), store)
    until(lambda: seen.uploads == 21)
    assert uploads.close(SOON_SECONDS) == 0
    assert len(keys(store)) == 22
    assert not seen.drops


def test_a_store_that_forbids_to_remove_still_takes_files(tmp_path: Path, server: str, store: ObjectStore) -> None:
    folder = folder_at(tmp_path)
    with object_stores.Passing(server, refuses="POST") as guarded:
        uploads, seen = uploads_of(folder, store_at(guarded.endpoint), quota=25)
        for number in range(6):
            put(folder, f"{number}", b"0123456789")
        until(lambda: seen.uploads == 6)
        assert uploads.close(SOON_SECONDS) == 0
    assert len(keys(store)) == 6
    assert seen.failures == 1, "it is not asked again for each file"
    assert not seen.is_away


def test_no_line_of_the_log_and_no_metric_holds_a_key(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug")
    folder = folder_at(tmp_path)
    metrics = Metrics()
    with object_stores.refusing_s3(403, "AccessDenied") as endpoint:
        uploads = Uploads(
            folder,
            store_at(endpoint),
            PLACE,
            quota_bytes=10**6,
            max_age_seconds=1e6,
            watch=CountedUploads(metrics),
            backoff_seconds=(0.02, 0.05),
        )
        uploads.start()
        put(folder, "one", b"1")
        until(lambda: counted(metrics, "evidence_uploads_total", outcome="failed") > 2)
        assert counted(metrics, "evidence_store_away") == 1
        assert counted(metrics, "evidence_waiting") == 1
        uploads.close(SOON_SECONDS)
    written = "".join(capfd.readouterr())
    assert written.count("evidence waits for its store") == 1
    assert "the access key may not do this" in written
    exposed = generate_latest(metrics.registry).decode()
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert secret not in written
        assert secret not in exposed


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"mistwatch_{name}", labels) or 0.0


def since_1970(path: Path, store: ObjectStore) -> tuple[Clocks, EvidenceFolder, Uploads]:
    """A box whose wall clock was not set yet; files are too old after 1000 s."""
    clocks = Clocks()
    clocks.wall_now = 100.0
    folder = folder_at(path, clocks=clocks)
    uploads, _ = uploads_of(folder, store, age=1000, clocks=clocks)
    return clocks, folder, uploads


def put_and_await(folder: EvidenceFolder, store: ObjectStore, name: str) -> None:
    put(folder, name, b"0123456789")
    until(lambda: f"{name}.jpg" in keys(store))


def test_a_clock_that_is_set_late_or_jumps_removes_nothing(tmp_path: Path, store: ObjectStore) -> None:
    """A box without a battery for its clock begins in 1970; ages count by the clock that does not jump."""
    earlier = tmp_path / "earlier.jpg"
    earlier.write_bytes(b"of an earlier run")
    store.put(f"{PLACE}/gate/earlier.jpg", earlier)
    clocks, folder, uploads = since_1970(tmp_path, store)
    put_and_await(folder, store, "in-1970")
    clocks.now += 100
    clocks.wall_now = time.time()
    put_and_await(folder, store, "set")
    clocks.wall_now += 1e6
    put_and_await(folder, store, "jumped")
    put_and_await(folder, store, "later")
    assert keys(store) == {f"{name}.jpg" for name in ("earlier", "in-1970", "set", "jumped", "later")}
    clocks.now += 950
    put_and_await(folder, store, "after")
    until(lambda: "in-1970.jpg" not in keys(store))
    assert uploads.close(SOON_SECONDS) == 0
    assert keys(store) == {f"{name}.jpg" for name in ("earlier", "set", "jumped", "later", "after")}


def test_nothing_is_too_old_before_the_clock_is_set(tmp_path: Path, store: ObjectStore) -> None:
    clocks, folder, uploads = since_1970(tmp_path, store)
    put_and_await(folder, store, "old")
    clocks.now += 2000
    put_and_await(folder, store, "new")
    put_and_await(folder, store, "newer")
    assert keys(store) == {"old.jpg", "new.jpg", "newer.jpg"}
    clocks.wall_now = time.time()
    put_and_await(folder, store, "set")
    until(lambda: keys(store) == {"new.jpg", "newer.jpg", "set.jpg"})
    uploads.close(SOON_SECONDS)


def test_the_age_of_a_file_that_waited_counts_from_its_own_time(tmp_path: Path, store: ObjectStore) -> None:
    clocks = Clocks()
    folder = folder_at(tmp_path, clocks=clocks)
    put(folder, "waited", b"0123456789")
    clocks.now += 900
    clocks.wall_now += 900
    uploads, _ = uploads_of(folder, store, age=1000, clocks=clocks)
    until(lambda: keys(store) == {"waited.jpg"})
    assert uploads.close(SOON_SECONDS) == 0
    uploads, _ = uploads_of(folder, store, age=1000, clocks=clocks)  # also after another start
    put_and_await(folder, store, "young")
    clocks.now += 200
    put_and_await(folder, store, "new")
    until(lambda: keys(store) == {"young.jpg", "new.jpg"})
    uploads.close(SOON_SECONDS)


def test_a_store_is_not_back_because_a_file_has_vanished(
    tmp_path: Path, server: str, store: ObjectStore, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json", "info")
    folder = folder_at(tmp_path)
    with object_stores.Passing(server, refuses="PUT") as guarded:
        uploads, seen = uploads_of(folder, store_at(guarded.endpoint))
        path = put(folder, "one", b"1")
        until(lambda: seen.failures > 1)
        path.unlink()
        until(lambda: seen.drops == [UploadDrop.UNREADABLE])
        assert uploads.close(SOON_SECONDS) == 0
    assert seen.aways == [True]
    assert "uploaded again" not in "".join(capfd.readouterr())


def test_a_file_in_flight_still_waits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    folder = folder_at(tmp_path)
    taking = object_stores.Taking(part_seconds=2.0)
    with taking.serving() as endpoint:
        uploads, seen = uploads_of(folder, store_at(endpoint))
        put(folder, "one", b"1")
        assert taking.has_begun.wait(SOON_SECONDS)
        assert seen.files == 1
        assert uploads.close(0.1) == 1
        until(lambda: seen.files == 0)
    assert "evidence not uploaded" in "".join(capfd.readouterr())


def test_a_file_that_leaves_the_folder_in_flight_is_lost_for_the_folders_reason(tmp_path: Path) -> None:
    clocks = Clocks()
    folder = folder_at(tmp_path, age=1000, clocks=clocks)
    taking = object_stores.Taking(part_seconds=1.0)
    with taking.serving() as behind, object_stores.Passing(behind) as way:
        uploads, seen = uploads_of(folder, store_at(way.endpoint))
        put(folder, "one", b"1")
        assert taking.has_begun.wait(SOON_SECONDS)
        clocks.now += 2000
        folder.prune()
        assert seen.drops == [], "the store may still take it"
        way.cut()
        until(lambda: seen.drops == [UploadDrop.AGE])
        assert uploads.close(SOON_SECONDS) == 0


def test_the_backlog_is_left_to_the_next_start_when_the_time_of_the_stop_is_over(tmp_path: Path) -> None:
    folder = folder_at(tmp_path)
    for number in range(10):
        put(folder, f"{number}", b"0123456789")
    taking = object_stores.Taking(part_seconds=0.3)
    with taking.serving() as endpoint:
        uploads, seen = uploads_of(folder, store_at(endpoint))
        assert taking.has_begun.wait(SOON_SECONDS)
        assert uploads.close(0.1) >= 8
        time.sleep(2)
    assert seen.uploads <= 2


def test_old_files_are_removed_many_at_a_time(tmp_path: Path, server: str, store: ObjectStore) -> None:
    folder = folder_at(tmp_path)
    uploads, _ = uploads_of(folder, store)
    for number in range(20):
        put(folder, f"{number}", b"0123456789")
    until(lambda: len(keys(store)) == 20)
    assert uploads.close(SOON_SECONDS) == 0
    with object_stores.Passing(server) as way:
        uploads, _ = uploads_of(folder, store_at(way.endpoint), quota=10)
        until(lambda: len(keys(store)) == 1)
        uploads.close(SOON_SECONDS)
        assert way.methods["POST"] == 1
