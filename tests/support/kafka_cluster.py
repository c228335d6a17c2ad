"""Three nodes of Apache Kafka (KRaft, each a broker and a controller), of which one may die."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Self

from brokers import CLUSTER, listens
from kafka import KafkaAdminClient
from ports import free_port


class KafkaCluster:
    """A cluster on loopback with at most 256 MB of heap a node. As a context it runs for the length of the block."""

    def __init__(self, folder: Path, jars: Path, nodes: int = 3) -> None:
        self._java = ["java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        self._folder = folder
        self._ports = [free_port() for _ in range(nodes)]
        self._controllers = [free_port() for _ in range(nodes)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True)
        voters = ",".join(f"{number + 1}@127.0.0.1:{port}" for number, port in enumerate(self._controllers))
        for number in range(nodes):
            self._write_settings(number, voters)
            subprocess.run(
                [*self._java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._settings(number))],
                check=True,
                capture_output=True,
                timeout=120,
            )

    @property
    def bootstrap(self) -> str:
        """Every node."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    def start_node(self, number: int) -> None:
        """Start one node, from 0, and wait until it listens."""
        with (self._folder / f"node{number}.log").open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self._settings(number))],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_node(self, number: int) -> None:
        """SIGKILL, if it runs."""
        process = self._processes.pop(number, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait_for_replicas(self, topic: str, timeout: float = 180.0) -> None:
        """Wait until every replica of the topic is in sync."""
        deadline = time.monotonic() + timeout
        while not self._all_in_sync(topic):
            assert time.monotonic() < deadline, f"not every replica of {topic} is in sync after {timeout:g} s"
            time.sleep(0.2)

    def _all_in_sync(self, topic: str) -> bool:
        with closing(KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","))) as admin:
            (described,) = admin.describe_topics([topic])
        partitions = described["partitions"]
        return all(len(each["isr_nodes"]) == len(self._ports) for each in partitions)

    def __enter__(self) -> Self:
        try:
            for number in range(len(self._ports)):
                self.start_node(number)
            deadline = time.monotonic() + 180
            while not all(map(listens, self._ports)):
                assert time.monotonic() < deadline, "the cluster does not listen after 180 s"
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._processes):
            self.kill_node(number)

    def _settings(self, number: int) -> Path:
        return self._folder / f"node{number}.properties"

    def _write_settings(self, number: int, voters: str) -> None:
        clients, controller = self._ports[number], self._controllers[number]
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(number + 1),
            "controller.quorum.voters": voters,
            "listeners": f"CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENTS://127.0.0.1:{clients}",
            "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENTS",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self._folder / f"data{number}"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "3",
            "min.insync.replicas": "2",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        self._settings(number).write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
