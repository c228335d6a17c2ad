"""Triton killed, exchanged, frozen, slow, answering NaN, with a full queue, behind a connection that has died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_trial import Fault, Result, try_fault
from forked_worker import Bench, Forge
from ports import free_port
from triton_of_brightness import Server, write_repository

from deploy.broker.server import BrokerServer

pytestmark = [pytest.mark.faults, pytest.mark.waits, pytest.mark.realparts]

PROMISE = "scoring goes on by itself; every accepted alert arrives, in order; alerts stay legal; drops are counted"
BLINK = "blink://?bright=0.6&dark=0.6"


@pytest.fixture
def own_triton(tmp_path: Path) -> Iterator[Server]:
    """A Triton that may die."""
    server = Server(tmp_path / "triton")
    server.start()
    yield server
    server.thaw()
    server.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker's address; each test takes a topic of its own."""
    with BrokerServer(tmp_path_factory.mktemp("broker")) as server:
        yield server.bootstrap


@pytest.fixture
def bench(tmp_path: Path, broker: str) -> Callable[..., Bench]:
    """Makes a site of six cameras, some of them with a source of their own."""

    def make(triton: str, **sources: str) -> Bench:
        cameras = {f"cam{number}": BLINK for number in range(6)} | sources
        return Bench(
            tmp_path / "site", triton, broker, cameras, topic=f"t{tmp_path.name}", metrics_port=free_port(),
            more={"triton": {"address": triton, "deadline_seconds": 5}},
        )  # fmt: skip

    return make


def note(record: Callable[..., None], fault: str, result: Result, promise: str = PROMISE, more: str = "") -> None:
    """Check the counts, and record them."""
    counts = result.counts
    assert (counts.missing, counts.disordered, counts.unlogged) == (0, 0, 0)
    assert not result.illegal
    assert result.stop_seconds < 25  # 10 s, and the time that a busy machine takes
    text = f"{result.dropped:.0f} clips dropped and counted; SIGTERM during it: {result.stop_seconds:.1f} s"
    record(
        f"scorer: {fault}",
        promise,
        counts.accepted,
        counts.arrived,
        counts.duplicates,
        result.recovery_seconds,
        f"{text}{more}",
    )


@pytest.mark.timeout(900)
def test_triton_is_killed(
    own_triton: Server, bench: Any, forge: Forge, whole: bool, record: Callable[..., None]
) -> None:
    result = try_fault(forge, bench(own_triton.address), Fault(own_triton.kill, own_triton.start, 60 if whole else 3))
    assert result.dropped > 0, "live cameras drop while nothing scores"
    note(record, "SIGKILL and restart", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_triton_comes_back_with_another_version(
    own_triton: Server, bench: Any, forge: Forge, record: Callable[..., None]
) -> None:
    versions = iter(range(2, 10))

    def end() -> None:
        write_repository(own_triton.repository, version=next(versions))
        own_triton.start()

    result = try_fault(forge, bench(own_triton.address), Fault(own_triton.kill, end, 1))
    by_version = {message.value.partition(b'"model_version":"')[2][:1] for message in result.messages}
    assert {b"1", b"2"} <= by_version
    note(record, "SIGKILL, and back with another version of the model", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_triton_is_frozen(
    own_triton: Server, bench: Any, forge: Forge, whole: bool, record: Callable[..., None]
) -> None:
    result = try_fault(forge, bench(own_triton.address), Fault(own_triton.freeze, own_triton.thaw, 40 if whole else 8))
    note(record, "SIGSTOP, SIGCONT", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_connection_to_triton_is_half_dead(
    own_triton: Server, bench: Any, forge: Forge, record: Callable[..., None]
) -> None:
    with own_triton.forgetful_path() as path:
        result = try_fault(forge, bench(path.address), Fault(path.forget, lambda: None, 0))
        assert path.connections > 2
    note(record, "its connection is half dead (nothing closed, nothing answered)", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_model_is_slow_and_its_queue_full(
    own_triton: Server, bench: Any, forge: Forge, record: Callable[..., None]
) -> None:
    """Two cameras ask for four times what the model can do; Triton refuses what its queue of one clip cannot take."""
    config = own_triton.repository / "clip_scorer" / "config.pbtxt"
    limited = config.read_text().replace(
        "dynamic_batching { }", "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"
    )
    assert "max_queue_size" in limited
    config.write_text(limited)
    own_triton.load()
    site = bench(own_triton.address, slow1=f"{BLINK}&slow=2-12", slow2=f"{BLINK}&slow=2-12")
    result = try_fault(forge, site, Fault(lambda: None, lambda: None, 14), sigterm=False)
    assert result.dropped > 0
    note(record, "slow (200 ms a clip, four times its rate) and its queue full", result)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_model_answers_nan(own_triton: Server, bench: Any, forge: Forge, record: Callable[..., None]) -> None:
    site = bench(own_triton.address, ill=f"{BLINK}&nan=2-6")
    dropped: dict[str, float] = {}

    def count_drops() -> None:
        for name in site.cameras:
            dropped[name] = site.metric("mistwatch_clips_dropped_total", camera=name, reason="error")

    result = try_fault(forge, site, Fault(lambda: None, count_drops, 8), sigterm=False)
    assert dropped["ill"] > 0, "4 s of 10 clips a second"
    assert sum(dropped.values()) == dropped["ill"], "the answers to the other cameras are used"
    assert any(message.camera == "ill" for message in result.messages)
    note(
        record,
        "answers NaN to one camera's clips",
        result,
        more=f"; {dropped['ill']:.0f} as errors, all of that camera",
    )
