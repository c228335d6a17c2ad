"""A stream joined from the fights of the shared data: normal footage with incidents at known times.

Only clips of the sources that the committed fights model never saw are used. An incident is up to three fight clips
of one source in a row; between two incidents stand normal clips. Run as a program it writes the video and its truth:

    python tests/support/joined_stream.py --data ../shared/data --out runs/joined.mp4
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import av
import av.filter

FPS = 25
WIDTH, HEIGHT = 640, 360
CLIPS_PER_INCIDENT = 3
NORMALS_BETWEEN = 3


@dataclass(frozen=True)
class Part:
    """One clip of the set in the joined stream; seconds on the stream's clock, ``end`` exclusive."""

    clip: str
    source: str
    label: int
    start: float
    end: float


@dataclass(frozen=True)
class Joined:
    """The joined stream and what is in it."""

    video: Path
    parts: list[Part]

    @property
    def incidents(self) -> list[tuple[float, float]]:
        """(start, end) of each unbroken run of fight clips, seconds."""
        runs = ((label, list(run)) for label, run in groupby(self.parts, key=lambda part: part.label))
        return [(run[0].start, run[-1].end) for label, run in runs if label == 1]

    @property
    def duration(self) -> float:
        return self.parts[-1].end


def held_out_clips(data: Path, card: Path) -> list[dict[str, object]]:
    """The rows of ``clips.json`` whose source the model of this card was not trained on."""
    held_out = set(json.loads(card.read_text())["held_out_sources"])
    return [row for row in json.loads((data / "fights" / "clips.json").read_text()) if row["source"] in held_out]


def arrange(rows: list[dict[str, object]], seed: int) -> list[dict[str, object]]:
    """Normal clips with incidents between them, beginning and ending with normal footage."""
    shuffle = random.Random(seed).shuffle
    normals = [row for row in rows if row["label"] == 0]
    shuffle(normals)
    fights = sorted((row for row in rows if row["label"] == 1), key=lambda row: str(row["source"]))
    incidents = [
        list(part)
        for _, of_source in groupby(fights, key=lambda row: row["source"])
        for part in _batches(list(of_source), CLIPS_PER_INCIDENT)
    ]
    shuffle(incidents)
    arranged: list[dict[str, object]] = []
    for quiet in _batches(normals, NORMALS_BETWEEN):
        arranged += quiet
        if incidents and len(quiet) == NORMALS_BETWEEN:
            arranged += incidents.pop()
    while arranged and arranged[-1]["label"] == 1:
        arranged.pop()
    return arranged


def join(data: Path, rows: list[dict[str, object]], video: Path) -> Joined:
    """Write ``video`` (H.264 at 25 fps without B-frames, 640×360 letterboxed) and ``video``.truth.json."""
    parts: list[Part] = []
    frames = 0
    video.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(video), "w") as container:
        options = {"crf": "20", "preset": "veryfast", "bf": "0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        for row in rows:
            first = frames
            for frame in _pictures(data / "fights" / str(row["clip"])):
                frame.pts, frame.time_base = frames, Fraction(1, FPS)
                frame.pict_type = av.video.frame.PictureType.NONE  # the clip's own types would be kept otherwise
                container.mux(stream.encode(frame))
                frames += 1
            parts.append(Part(str(row["clip"]), str(row["source"]), int(str(row["label"])), first / FPS, frames / FPS))
        container.mux(stream.encode(None))
    video.with_suffix(".truth.json").write_text(json.dumps([asdict(part) for part in parts], indent=1) + "\n")
    return Joined(video, parts)


def _pictures(path: Path) -> Iterator[av.VideoFrame]:
    """The clip's pictures at 25 fps, letterboxed to the stream's size."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        tail = graph.add_buffer(template=stream)
        for name, arguments in (
            ("fps", f"{FPS}"),
            ("scale", f"{WIDTH}:{HEIGHT}:force_original_aspect_ratio=decrease:force_divisible_by=2"),
            ("pad", f"{WIDTH}:{HEIGHT}:(ow-iw)/2:(oh-ih)/2"),
            ("setsar", "1"),
            ("format", "yuv420p"),
        ):
            node = graph.add(name, arguments)
            tail.link_to(node)
            tail = node
        sink = graph.add("buffersink")
        tail.link_to(sink)
        graph.configure()
        for frame in (*container.decode(stream), None):
            graph.push(frame)
            while True:
                try:
                    yield graph.pull()
                except (av.error.BlockingIOError, av.error.EOFError):
                    break


def _batches(rows: list[dict[str, object]], size: int) -> list[list[dict[str, object]]]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


def build(data: Path, card: Path, video: Path, seed: int = 7, *, clips: int | None = None) -> Joined:
    """Join clips of the sources that the model of ``card`` has not seen: the first ``clips`` of them, or all."""
    return join(data, arrange(held_out_clips(data, card), seed)[:clips], video)


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds fights/")
    parser.add_argument("--card", type=Path, default=root / "models" / "weights" / "fights" / "model-card.json")
    parser.add_argument("--out", type=Path, required=True, help="the video to write")
    arguments = parser.parse_args()
    joined = build(arguments.data, arguments.card, arguments.out)
    print(f"{joined.video}: {joined.duration:.0f} s, {len(joined.parts)} clips, {len(joined.incidents)} incidents")


if __name__ == "__main__":
    main()
