"""``mistwatch alerts similar``: the alerts of the topic that look like one of them."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from pipeline.cli.alerts.memory import DEFAULT_TOPIC, Bootstrap, Since, Site, Topic, read_memory
from pipeline.printable import printable


def similar(
    alert: Annotated[str, typer.Argument(metavar="ALERT", help="Id of an alert, or at least its first 4 characters.")],
    bootstrap: Bootstrap,
    topic: Topic = DEFAULT_TOPIC,
    site: Site = None,
    since: Since = None,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Most alerts to list.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document per line.")] = False,
) -> None:
    """List the alerts most like ALERT, earlier and later ones, most similar first.

    A line has the similarity (1 is equal), the id, the camera, the time, the judgement and the picture.
    """
    memory = read_memory(bootstrap, topic, since, site)
    chosen = memory.alert(alert)
    known = {one.alert_id: one for one in memory.history.alerts()}
    for one in memory.history.similar_to(chosen.alert_id, number):
        evidence = known[one.alert_id].evidence
        if json:
            print(json_module.dumps(one.model_dump(mode="json") | {"evidence": list(evidence)}))
            continue
        parts = [
            f"{one.similarity:.3f}",
            str(one.alert_id)[:8],
            one.camera,
            "(no wall clock)" if one.started_at is None else f"{one.started_at:%Y-%m-%d %H:%M:%S}Z",
            *([] if one.judgement is None else [f"judged {one.judgement}"]),
            *evidence,
        ]
        print(printable("  ".join(parts)))
