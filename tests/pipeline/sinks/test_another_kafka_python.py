"""A kafka-python 3 that lacks undocumented names: without them there are no pauses, and less precise errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from misleading_broker import MisleadingBroker

from pipeline.sinks import kafka_broker

#: Takes away some of the names, then asks the broker at the argument for its topics.
WITHOUT = """
import sys
from kafka import KafkaConsumer
from kafka.future import Future
del Future.chain
sys.modules['kafka.protocol.sasl'] = None
from pipeline.sinks.kafka_broker import Broker, PACED_CLIENT
from pipeline.sinks.kafka_security import KafkaSecurity
assert PACED_CLIENT is None
consumer = Broker(sys.argv[1], KafkaSecurity()).client(KafkaConsumer, group_id=None)
print(*consumer.topics())
consumer.close()
"""


def test_the_installed_version_has_them() -> None:
    """Otherwise an idle ``alerts tail`` takes a third of a core or more on the embedded broker."""
    assert kafka_broker.PACED_CLIENT is not None


def test_without_one_of_them_a_broker_is_read_as_kafka_python_does_it(root: Path) -> None:
    with MisleadingBroker() as broker:
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT, broker.bootstrap],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "mistwatch.alerts\n", "")
