"""The group of a site's worker, put together from its settings; and its metrics."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

from prometheus_client import Counter, Gauge

from pipeline.live.group import CameraHost, Group, GroupListener
from pipeline.live.group_member import GroupMember, Share
from pipeline.live.metrics import Metrics
from pipeline.live.reporting import default_worker_id
from pipeline.settings import GroupSite
from pipeline.sinks.compacted_topic import CompactedTopic
from pipeline.sinks.kafka_broker import Broker

#: Cameras for each core of this machine, where the site names no capacity: at 640 × 480 and 5 fps a core decodes,
#: scales and judges some twice as many (docs/PERFORMANCE.md).
CAMERAS_A_CORE = 8


def capacity_of(site: GroupSite) -> int:
    """Return the number of cameras that this worker can watch."""
    return site.group.capacity or CAMERAS_A_CORE * (os.cpu_count() or 1)


def site_group(site: GroupSite, name: str, *, host: CameraHost, metrics: Metrics) -> Group:
    """Return the group ``name``, whose cameras ``host`` watches. Raises KafkaSecurityError."""
    kafka = site.kafka
    broker = Broker(kafka.bootstrap, kafka.security)
    topic = CompactedTopic(broker, kafka.control_topic, partitions=site.group.partitions, create=kafka.create_topic)
    capacity = capacity_of(site)
    return Group(
        name,
        capacity=capacity,
        host=host,
        make_member=lambda on_share: GroupMember(
            broker,
            kafka.control_topic,
            f"mistwatch-{name}",
            worker=site.worker or default_worker_id(),
            version=version("mistwatch"),
            capacity=capacity,
            ensure_topic=topic.ensure,
            on_share=on_share,
        ),
        listener=GroupMetrics(metrics, capacity),
    )


class GroupMetrics(GroupListener):
    """Counts the calls of a group in the worker's metrics."""

    def __init__(self, metrics: Metrics, capacity: int) -> None:
        common: dict[str, Any] = {"registry": metrics.registry, "namespace": "mistwatch"}
        self._capacity = capacity
        Gauge("group_capacity", "Cameras that this worker can watch", **common).set(capacity)
        self._workers = Gauge("group_workers", "Workers of the group, as its leader sees them", **common)
        self._partitions = Gauge("group_partitions", "Partitions of the control topic of this worker", **common)
        self._cameras = Gauge("group_cameras", "Cameras of the group that this worker watches", **common)
        self._overloaded = Gauge("group_overloaded", "1 while there are more of them than its capacity", **common)
        self._moved = Counter(
            "group_cameras_moved", "Cameras gained, lost, or fenced by another worker's claim", ["direction"], **common
        )
        self._refused = Counter("control_messages_refused", "Control messages that cannot be used", **common)

    def shared(self, share: Share) -> None:
        self._partitions.set(len(share.partitions))
        if share.view is not None:
            self._workers.set(share.view.size)

    def watching(self, cameras: int) -> None:
        self._cameras.set(cameras)
        self._overloaded.set(cameras > self._capacity)

    def refused(self) -> None:
        self._refused.inc()

    def moved(self, direction: str) -> None:
        self._moved.labels(direction).inc()
