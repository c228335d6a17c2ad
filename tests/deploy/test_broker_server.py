"""The launcher of the embedded broker, against the real binary."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer
from processes import process_exists

from deploy.broker.server import BrokerError, BrokerServer

pytestmark = pytest.mark.realparts


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerServer]:
    server = BrokerServer(tmp_path / "broker")
    yield server
    server.stop(0)


def test_a_record_survives_a_clean_stop_and_the_port_is_kept(broker: BrokerServer) -> None:
    broker.start()
    first_port = broker.port
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    producer.send("t", b"kept").get(timeout=60)
    producer.close(timeout=30)
    pid = broker.pid
    broker.stop()
    assert pid is not None
    assert not process_exists(pid)
    assert not broker.alive()

    broker.start()
    assert broker.port == first_port
    consumer = KafkaConsumer(
        "t", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000
    )
    assert next(iter(consumer)).value == b"kept"
    consumer.close()


def test_it_is_bound_to_loopback_only(broker: BrokerServer) -> None:
    broker.start()
    wanted = f":{broker.port:04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(wanted) and line.split()[3] == "0A"  # 0A: LISTEN
    ]
    assert listening == [f"0100007F{wanted}"]


def test_a_taken_port_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = BrokerServer(tmp_path, port=port)
        with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{port}: port {port} is already in use") as caught:
            server.start()
    assert "\n" not in str(caught.value)
    assert not server.alive()


def test_a_folder_in_use_is_one_line_and_leaves_the_first_alone(broker: BrokerServer) -> None:
    broker.start()
    with pytest.raises(BrokerError, match="already running") as caught:
        BrokerServer(broker.data_dir).start()
    assert "\n" not in str(caught.value)
    assert broker.alive()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"cannot start in .*file/below: Not a directory"):
        BrokerServer(tmp_path / "file" / "below").start()


def test_a_frozen_broker_is_killed_by_stop(broker: BrokerServer) -> None:
    broker.start()
    pid = broker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    broker.stop(timeout=0.3)
    assert not process_exists(pid)


def test_stop_without_start_and_twice(broker: BrokerServer) -> None:
    broker.stop()
    broker.start()
    broker.stop()
    broker.stop()
    assert broker.pid is None


def test_the_context_manager_stops_it(tmp_path: Path) -> None:
    with BrokerServer(tmp_path) as server:
        pid = server.pid
        assert server.alive()
    assert pid is not None
    assert not process_exists(pid)
