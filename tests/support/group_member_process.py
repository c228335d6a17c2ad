"""A member of a group as a process of its own, which prints each of its shares as a JSON line.

Arguments: BOOTSTRAP TOPIC GROUP WORKER.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from pipeline import logs
from pipeline.live.group_member import GroupMember, Share
from pipeline.sinks.kafka_broker import Broker


def show(share: Share) -> None:
    """Print a share."""
    workers = 0 if share.view is None else share.view.size
    shown = {"partitions": sorted(share.partitions), "records": sorted(share.records), "workers": workers}
    print(json.dumps(shown), flush=True)


def main() -> None:
    """Be a member until SIGTERM."""
    logs.configure()  # on standard error
    bootstrap, topic, group, worker = sys.argv[1:5]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    member = GroupMember(
        Broker(bootstrap),
        topic,
        group,
        worker=worker,
        version="1",
        capacity=4,
        ensure_topic=lambda: None,
        on_share=show,
    )
    member.start()
    while not ended.wait(0.2):
        pass
    member.leave(20)


if __name__ == "__main__":
    main()
