"""Measure the processor time of an idle ``mistwatch alerts tail`` on the embedded broker.

    python bench/idle_tail.py [--runs 5] [--seconds 10] > bench/results/idle_tail.md

Each run starts a reader of its own and begins to measure a second after that listens.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from deploy.broker.server import BrokerServer

TOPIC = "mistwatch.alerts"


def processor_seconds(pid: int) -> float:
    """Return the time that a process has spent on processors, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(bootstrap: str, seconds: float) -> float:
    """Return the share of one core that an idle reader takes."""
    command = [Path(sys.executable).with_name("mistwatch"), "alerts", "tail", "--bootstrap", bootstrap]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stderr is not None
            reader.stderr.readline()  # it listens
            time.sleep(1.0)
            before, began = processor_seconds(reader.pid), time.monotonic()
            time.sleep(seconds)
            return (processor_seconds(reader.pid) - before) / (time.monotonic() - began)
        finally:
            reader.kill()


def main() -> None:
    """Print the figures as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, BrokerServer(Path(folder)) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics([NewTopic(TOPIC, 1, 1)])
        admin.close()
        shares = [idle_share(broker.bootstrap, arguments.seconds) for _ in range(arguments.runs)]
    print("# An idle reader of the embedded broker\n")
    print(f"`python bench/idle_tail.py --runs {arguments.runs} --seconds {arguments.seconds:g}`\n")
    print("| share of one core | |\n|---|---|")
    print(f"| median | {statistics.median(shares):.2%} |")
    print(f"| smallest to largest | {min(shares):.2%} to {max(shares):.2%} |")


if __name__ == "__main__":
    main()
