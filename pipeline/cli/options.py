"""Option types that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.errors import UsageError

CONSOLE_ADDRESS = "[HOST:]PORT"
CONSOLE_HELP = "Serve the console here, beside the work; without HOST on 127.0.0.1, port 0 takes a free one."


def one_of(option: str, *allowed: str) -> Callable[[str], str]:
    """Return a parser for an option with a few allowed values; it raises UsageError, one line, for any other."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise UsageError(f"{option} {text}: expected {', '.join(allowed[:-1])} or {allowed[-1]}")
        return text

    return parse


def camera_tls(trust: str | None) -> dict[str, Any]:
    """Return the settings ``tls`` of a camera for the option ``--tls``."""
    if trust is None:
        return {}
    if trust == "any":
        return {"verify": False}
    if re.fullmatch(r"(?i)(sha256:)?([0-9a-f]{2}:?){32}", trust):
        return {"fingerprint": trust}
    return {"ca": trust}


CameraTrust = Annotated[
    str | None,
    typer.Option(
        "--tls",
        metavar="FILE|SHA-256|any",
        help="Trust in cameras over rtsps:// and https://: PEM file of their authority, fingerprint of one "
        "certificate, or any certificate.",
        show_default="the system's authorities",
    ),
]
Draws = Annotated[int, typer.Option(min=1, help="Bootstrap draws for the intervals.")]
By = Annotated[
    Literal["video", "group"],
    typer.Option(
        parser=one_of("--by", "video", "group"),
        metavar="video|group",
        help="Unit of the bootstrap: video, or group (of the manifest).",
    ),
]
VideoScores = Annotated[
    Literal["mean", "max"],
    typer.Option(
        parser=one_of("--video-score", "mean", "max"),
        metavar="mean|max",
        help="How a video's own score is made from its clips' scores.",
    ),
]
Split = Annotated[
    Literal["train", "validation", "test"] | None,
    typer.Option(
        parser=one_of("--split", "train", "validation", "test"),
        metavar="train|validation|test",
        help="Use only this split of the manifest.",
    ),
]
Detector = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --config: the detector of the site.", show_default="its only one"),
]
Part = Annotated[
    str | None,
    typer.Option(
        metavar="CAMERA",
        help="Camera whose part scores, where the model hosts the parts of several cameras.",
        show_default="the site's or detector's only one",
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="List recordings that cannot be replayed instead of failing.")
]
Join = Annotated[
    bool | None,
    typer.Option(
        "--join/--no-join",
        help="Read all files as one camera's, in the order of their times or names; or each file by itself.",
        show_default="files of one camera whose names state their times are joined",
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Zone of the times in files' names: Europe/Berlin, UTC.", show_default="this machine's"
    ),
]
FramesPerScore = Annotated[int, typer.Option(min=1, help="With --scores: frames that a score stands for.")]
ListOfVideos = Annotated[
    Path | None,
    typer.Option("--videos", metavar="LIST", help="Lines of NAME FRAMES that divide one array of all videos."),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed of the bootstrap.")]
