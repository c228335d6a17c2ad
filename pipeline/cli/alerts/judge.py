"""``mistwatch alerts judge``: publish the operator's verdict on an alert or a group."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from pipeline.cli.alerts.memory import DEFAULT_TOPIC, Bootstrap, Site, Topic, read_memory
from pipeline.errors import UsageError

#: A mute ends by itself after this time unless the operator says otherwise: a place changes with the season.
_NORMAL_EXPIRES = "90d"
#: Similarities have four decimals.
_LEAST_SIMILARITY = 0.0001
#: Longest note, characters: it is repeated in every alert that it mutes.
_LONGEST_NOTE = 500

Verdict = Literal["normal", "real", "withdrawn"]


def judge(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ALERT|GROUP",
            help="Id of an alert, or with --group of a group, or at least its first 4 characters.",
        ),
    ],
    bootstrap: Bootstrap,
    topic: Topic = DEFAULT_TOPIC,
    site: Site = None,
    group: Annotated[
        bool, typer.Option("--group", help="Judge the group with this id, or the group of this alert.")
    ] = False,
    normal: Annotated[bool, typer.Option("--normal", help="A false alarm: mute alerts like it.")] = False,
    real: Annotated[
        bool, typer.Option("--real", help="An incident: never mute alerts that are nearest to it.")
    ] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the judgement of this target back.")] = False,
    note: Annotated[str, typer.Option(help="Your words; muted alerts repeat them.")] = "",
    similarity: Annotated[
        float | None,
        typer.Option(
            help="With --normal: least similarity of an alert that is muted, at most 1.",
            show_default="that of the site",
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            help="End of the judgement: a span like 30d (s, m, h, d), an ISO 8601 time, or never.",
            show_default=f"{_NORMAL_EXPIRES} for --normal, else never",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish also if it mutes most alerts, or some that are judged real.")
    ] = False,
) -> None:
    """Judge an alert or a group, for every worker and every consumer of the topic.

    Alerts like a target judged normal are still sent, marked as muted, until the judgement expires or is withdrawn. The
    newest judgement of a target holds. The command ends when the broker has acknowledged the event.
    """
    verdict = _verdict(normal=normal, real=real, withdraw=withdraw)
    now = datetime.now(UTC)
    expires_at = _expiry(expires, verdict, now)
    _check(verdict, note, similarity, expires)
    from pipeline.alerts.judging import check_reach, judgement_on
    from pipeline.sinks.judgements import publish_judgement
    from pipeline.sinks.kafka import KafkaSink

    memory = read_memory(bootstrap, topic, None, site)
    event = judgement_on(memory, target, group, verdict, note, similarity, now, expires_at)
    muted = "" if verdict != "normal" else check_reach(memory, event, now, force)
    publish_judgement(KafkaSink(bootstrap, topic, create_topic=False), event, now)
    from pipeline.alerts.describe import describe

    print(f"{describe(event)}{muted}")


def _verdict(*, normal: bool, real: bool, withdraw: bool) -> Verdict:
    given: dict[Verdict, bool] = {"normal": normal, "real": real, "withdrawn": withdraw}
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise UsageError(f"expected one of --normal, --real and --withdraw, got {len(chosen)} of them")
    return chosen[0]


def _check(verdict: Verdict, note: str, similarity: float | None, expires: str | None) -> None:
    if similarity is not None and verdict != "normal":
        raise UsageError("--similarity: only a judgement --normal mutes; leave it out")
    if similarity is not None and not _LEAST_SIMILARITY <= similarity <= 1:
        raise UsageError(f"--similarity: must be {_LEAST_SIMILARITY:g} to 1 (got {similarity:g})")
    if verdict == "withdrawn" and (note or expires):
        raise UsageError("--withdraw: takes neither --note nor --expires; leave them out")
    if len(note) > _LONGEST_NOTE:
        raise UsageError(f"--note: at most {_LONGEST_NOTE} characters (got {len(note)})")


def _expiry(expires: str | None, verdict: Verdict, now: datetime) -> datetime | None:
    """Return the moment of ``--expires``. Raises UsageError."""
    text = (_NORMAL_EXPIRES if verdict == "normal" else "never") if expires is None else expires
    if text == "never":
        return None
    from pipeline.sinks.tail import parse_since

    try:
        # A span is parsed as one before now, and reaches as far after it.
        moment = now + (now - parse_since(text, now)) if text.endswith(tuple("smhd")) else parse_since(text, now)
    except (ValueError, OverflowError):
        raise UsageError(f"--expires: expected a span like 30d, an ISO 8601 time or never, got {text!r}") from None
    if moment <= now + timedelta(seconds=1):
        raise UsageError(f"--expires: must be in the future (got {text}, now is {now:%Y-%m-%dT%H:%M}Z)")
    return moment
