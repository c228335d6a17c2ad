"""A ledger of every event that an outbox has accepted: ``CAMERA ID``, a line each. What is written survives SIGKILL.

    python -P accepted_ledger.py LEDGER run --config site.yaml

is ``mistwatch run`` with a ledger. Its reader compares it with the topic (delivery_counts.py), and finds an event that
the worker has accepted and lost without a word.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from pipeline.alerts.outbox import Outbox


def keep_ledger(path: Path) -> None:
    """Write every event that an outbox of this process accepts to ``path``, in the order of acceptance."""
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    accept = Outbox.accept

    def accepted(self: Outbox, event: Any) -> Any:
        result = accept(self, event)
        if result:
            os.write(ledger, f"{event.subject} {event.id}\n".encode())
        return result

    Outbox.accept = accepted  # type: ignore[method-assign]


def read_ledger(path: Path) -> list[tuple[str, str]]:
    """Return (camera, id) of every accepted event, in the order of acceptance; nothing where there is no ledger yet."""
    if not path.exists():
        return []
    return [(camera, identity) for camera, identity in map(str.split, path.read_text().splitlines())]


if __name__ == "__main__":
    from pipeline.cli.start import main

    keep_ledger(Path(sys.argv.pop(1)))
    main()
