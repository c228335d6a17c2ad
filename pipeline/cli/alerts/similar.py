"""``mistwatch alerts similar``: the alerts of the topic that look like one of them."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.alerts.memory import DEFAULT_TOPIC, Bootstrap, Since, Site, Topic, read_memory
from pipeline.cli.output import print_lines
from pipeline.printable import printable

if TYPE_CHECKING:
    from pipeline.alerts.likeness import SimilarAlert


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
    found = memory.history.similar_to(chosen.alert_id, number)
    print_lines(_line(one, known[one.alert_id].evidence, as_json=json) for one in found)


def _line(one: SimilarAlert, evidence: tuple[str, ...], *, as_json: bool) -> str:
    if as_json:
        return json_module.dumps(one.model_dump(mode="json") | {"evidence": list(evidence)})
    parts = [
        f"{one.similarity:.3f}",
        str(one.alert_id)[:8],
        one.camera,
        "(no wall clock)" if one.started_at is None else f"{one.started_at:%Y-%m-%d %H:%M:%S}Z",
        *([] if one.judgement is None else [f"judged {one.judgement}"]),
        *evidence,
    ]
    return printable("  ".join(parts))
