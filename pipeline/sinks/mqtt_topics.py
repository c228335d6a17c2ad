"""Names of MQTT topics: the levels that hold a name of the operator's are escaped."""

from __future__ import annotations

import re

#: Characters with a meaning in topics, the escape's own, and control characters, against which the standard advises.
_ESCAPED = re.compile(r"[/+#%$\x00-\x1f\x7f]")


def level(name: str) -> str:
    """Return a name as one level of a topic: ``/``, ``+``, ``#``, ``$``, ``%`` and control characters as in URLs.

    >>> level("hall/2")
    'hall%2F2'
    """
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", name)


def alerts_topic(site: str, camera: str) -> str:
    """Return the topic of a camera's events."""
    return f"mistwatch/{level(site)}/{level(camera)}/alerts"


def state_topic(site: str, camera: str) -> str:
    """Return the topic that says whether an alert of a camera is open: ``ON`` or ``OFF``, retained."""
    return f"mistwatch/{level(site)}/{level(camera)}/state"


def status_topic(site: str, worker: str | None) -> str:
    """Return the topic that says whether a worker is connected: ``online`` or ``offline``, retained.

    Args:
        worker: its name at the broker; None: the worker is the site's only one.
    """
    return f"mistwatch/{level(site)}/status" + (f"/{level(worker)}" if worker else "")
