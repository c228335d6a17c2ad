"""Compare libraries that read recordings: PyAV as pipeline/sources/files.py uses it, torchcodec, decord.

    python -m venv --system-site-packages V && V/bin/pip install torchcodec decord     # beside the project, not in it
    V/bin/python bench/decoders.py --data ../shared/data [--rounds 5] [--minutes 60] [--out bench/results/decoders.md]

It measures speed and memory over a long film, and checks the pictures and their times against Debian's ffmpeg, also for
films that cause trouble. Every measurement has its own process, the libraries take turns, and each has one thread. A
library that is not installed is left out.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SIDE = 224  #: pixels; height and width of a clip
BATCH = 16  #: pictures of a clip; both other libraries return them in batches
RSS_EVERY = 500  #: pictures between two readings of memory

Picture = tuple[float, npt.NDArray[np.uint8]]  #: time on its stream's clock, seconds; uint8 (H, W, 3)


class Reader(NamedTuple):
    """A library.

    Attributes:
        package: name on PyPI.
        small: reads the film's pictures at SIDE × SIDE, as a clip needs them.
        whole: reads them at their own size.
    """

    package: str
    small: Callable[[Path], Iterator[Picture]]
    whole: Callable[[Path], Iterator[Picture]]


def pyav_small(path: Path) -> Iterator[Picture]:
    from pipeline.sources.base import Frame, FrameSpec
    from pipeline.sources.files import FileSource

    for item in FileSource("bench", path, threads=1).frames([FrameSpec(SIDE, SIDE)], threading.Event()):
        if isinstance(item, Frame):
            yield item.pts_seconds, item.image


def pyav_whole(path: Path) -> Iterator[Picture]:
    from pipeline.sources.base import Frame, FrameSpec
    from pipeline.sources.files import FileSource
    from pipeline.sources.scale import upright

    for item in FileSource("bench", path, threads=1).frames([FrameSpec(SIDE, SIDE)], threading.Event()):
        if isinstance(item, Frame):
            yield item.pts_seconds, upright(item.native).to_ndarray(format="rgb24")


def torchcodec(path: Path, size: tuple[int, int] | None) -> Iterator[Picture]:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(1)
    transforms = [Resize(size)] if size else None
    film = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, transforms=transforms)
    for first in range(0, len(film), BATCH):
        batch = film.get_frames_in_range(first, min(first + BATCH, len(film)))
        yield from zip(batch.pts_seconds.tolist(), batch.data.numpy(), strict=True)


def decord(path: Path, size: tuple[int, int] | None) -> Iterator[Picture]:
    import decord

    height, width = size or (-1, -1)
    film = decord.VideoReader(str(path), ctx=decord.cpu(0), width=width, height=height, num_threads=1)
    for first in range(0, len(film), BATCH):
        numbers = list(range(first, min(first + BATCH, len(film))))
        batch = film.get_batch(numbers).asnumpy()
        yield from ((float(film.get_frame_timestamp(n)[0]), picture) for n, picture in zip(numbers, batch, strict=True))


READERS = {
    "PyAV": Reader("av", pyav_small, pyav_whole),
    "torchcodec": Reader(
        "torchcodec", lambda path: torchcodec(path, (SIDE, SIDE)), lambda path: torchcodec(path, None)
    ),
    "decord": Reader("decord", lambda path: decord(path, (SIDE, SIDE)), lambda path: decord(path, None)),
}


# -- in a process of its own --------------------------------------------------------------------------------------


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(reader: Reader, path: Path) -> dict[str, Any]:
    """Read the film once at the size of clips. A first picture, read before, loads everything that loads only once."""
    next(reader.small(path))
    resident = []
    count, cpu = 0, time.process_time()
    for count, _ in enumerate(reader.small(path), 1):
        if count % RSS_EVERY == 0:
            resident.append(resident_mb())
    return {
        "pictures": count,
        "cpu": time.process_time() - cpu,
        "resident": resident,
    }


def digests(reader: Reader, path: Path) -> dict[str, Any]:
    """Return time, MD5 and means of each picture, to compare them with ffmpeg's."""
    found = [(pts, *summary(picture)) for pts, picture in reader.whole(path)]
    return {"pictures": found}


def summary(picture: npt.NDArray[np.uint8]) -> tuple[str, list[float]]:
    """Return the MD5 of a picture, and the mean grey level of each of its 8 × 8 parts."""
    picture = np.ascontiguousarray(picture)
    parts = [part for row in np.array_split(picture, 8) for part in np.array_split(row, 8, axis=1)]
    return hashlib.md5(picture).hexdigest(), [float(part.mean()) for part in parts]


def child(work: str, name: str, paths: Sequence[Path]) -> None:
    """Write a line of JSON for each film."""
    for path in paths:
        try:
            result = {"measure": measure, "digests": digests}[work](READERS[name], path)
        except Exception as error:  # libraries raise many types for a bad film
            result = {"error": type(error).__name__}
            print(f"{name}: {path.name}: {error}", file=sys.stderr)
        print(json.dumps(result), flush=True)


def ask(work: str, name: str, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Run :func:`child` in its own process, and continue after any film at which it died."""
    found: list[dict[str, Any]] = []
    while len(found) < len(paths):
        command = [sys.executable, __file__, "--child", work, name, *map(str, paths[len(found) :])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        found += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if len(found) < len(paths):
            found.append({"error": f"the process ended with {done.returncode}"})
    return found


# -- the films ----------------------------------------------------------------------------------------------------


def ffmpeg(*arguments: str | Path) -> bytes:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def ordinary_films(data: Path, folder: Path) -> dict[str, Path]:
    """Return the films for measuring speed, by description."""
    vtest, h264, large = data / "cctv" / "vtest.avi", folder / "h264.mp4", folder / "large.mp4"
    encode = ("-i", vtest, "-c:v", "libx264", "-preset", "veryfast")
    ffmpeg(*encode, "-frames:v", "400", h264)
    ffmpeg(*encode, "-vf", "scale=1280:720", "-frames:v", "200", large)
    return {"MPEG-4 768×576": vtest, "H.264 768×576": h264, "H.264 1280×720": large}


def long_film(data: Path, folder: Path, minutes: float) -> Path:
    """Write a film of ``minutes`` by repeating the packets of a small one."""
    small, path = folder / "small.mp4", folder / "long.mp4"
    ffmpeg("-i", data / "cctv" / "vtest.avi", "-vf", "scale=320:240", "-c:v", "libx264", "-bf", "0", small)
    ffmpeg("-stream_loop", "-1", "-i", small, "-t", f"{minutes * 60}", "-c", "copy", path)
    return path


def troublesome_films(folder: Path) -> dict[str, Path]:
    """Write films of two seconds each: a moving test picture, 320 × 240, 10 per second."""
    plain, b_frames = folder / "plain.mp4", folder / "b-frames.mp4"
    source = ("-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=2", "-pix_fmt", "yuv420p", "-c:v", "libx264")
    ffmpeg(*source, "-bf", "0", "-g", "10", plain)
    ffmpeg(*source, "-bf", "3", "-g", "20", b_frames)
    films = {"H.264": plain, "with B frames": b_frames}

    def make(what: str, name: str, *arguments: str | Path) -> Path:
        films[what] = folder / name
        ffmpeg(*arguments, films[what])
        return films[what]

    variable = ("-vf", "select=lt(t\\,1)+not(mod(n\\,3))", "-fps_mode", "passthrough", "-c:v", "libx264")
    make("variable rate (MKV)", "variable.mkv", "-i", plain, *variable)
    make("cut by an edit list", "cut.mp4", "-ss", "0.75", "-i", b_frames, "-c", "copy")
    make("turned by 90° (a phone's)", "turned.mp4", "-i", plain, "-c", "copy", "-metadata:s:v", "rotate=90")
    make("no time stamps (raw H.264)", "raw.h264", "-i", plain, "-c", "copy")
    make("10 bits", "ten.mp4", "-i", plain, "-pix_fmt", "yuv420p10le", "-c:v", "libx264")
    take = make("MPEG-TS", "plain.ts", "-i", plain, "-c", "copy")
    films["clock set back (TS)"] = folder / "back.ts"
    films["clock set back (TS)"].write_bytes(2 * take.read_bytes())
    ffmpeg("-i", plain, "-c", "copy", folder / "whole.mkv")
    films["cut off (MKV)"] = folder / "cut-off.mkv"
    whole = (folder / "whole.mkv").read_bytes()
    films["cut off (MKV)"].write_bytes(whole[: len(whole) * 6 // 10])
    scratched = make("scratched (MJPEG)", "scratched.avi", "-i", plain, "-c:v", "mjpeg", "-q:v", "3")
    content = bytearray(scratched.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    scratched.write_bytes(content)
    make("one picture", "one.mp4", "-i", plain, "-frames:v", "1", "-c", "copy")
    return films


def by_ffmpeg(path: Path) -> list[tuple[float, str, list[float]]]:
    """Return time, MD5 and means of every picture as Debian's ffmpeg shows it."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"]
    entries = "frame=best_effort_timestamp_time"
    lines = subprocess.run([*probe, "-show_entries", entries, str(path)], check=True, capture_output=True, text=True)
    times = [line.strip().rstrip(",") for line in lines.stdout.splitlines() if line.strip()]
    size = subprocess.run(
        [
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-i",
            str(path),
            "-frames:v",
            "1",
            "-f",
            "image2pipe",
            "-c:v",
            "ppm",
            "-",
        ],
        check=True,
        capture_output=True,
    ).stdout.split(maxsplit=3)
    width, height = int(size[1]), int(size[2])
    raw = ffmpeg("-i", path, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    pictures = np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)
    stamps = [float(time) if time not in ("", "N/A") else float("nan") for time in times]
    stamps += [float("nan")] * (len(pictures) - len(stamps))
    return [(time, *summary(picture)) for time, picture in zip(stamps, pictures, strict=False)]


# -- the page -----------------------------------------------------------------------------------------------------


def speeds(names: list[str], films: dict[str, Path], rounds: int) -> Iterator[str]:
    yield f"| pictures per second of one core | {' | '.join(names)} |"
    yield f"|---|{'--:|' * len(names)}"
    rates: dict[tuple[str, str], list[float]] = {(what, name): [] for what in films for name in names}
    for _ in range(rounds):
        for name in names:
            for what, found in zip(films, ask("measure", name, list(films.values())), strict=True):
                rates[what, name].append(found["pictures"] / found["cpu"])
    for what in films:
        cells = [f"{statistics.median(r):.0f} ({min(r):.0f} to {max(r):.0f})" for r in (rates[what, n] for n in names)]
        yield f"| {what} | {' | '.join(cells)} |"


def memory(names: list[str], path: Path) -> Iterator[str]:
    yield f"| | resident after {RSS_EVERY} pictures | halfway | at the end | pictures | seconds of one core |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name in names:
        (found,) = ask("measure", name, [path])
        if "error" in found:
            yield f"| {name} | {found['error']} | | | | |"
            continue
        mb = found["resident"]
        at = " | ".join(f"{value:.0f} MB" for value in (mb[0], mb[len(mb) // 2], mb[-1]))
        yield f"| {name} | {at} | {found['pictures']} | {found['cpu']:.0f} |"


def exactness(names: list[str], films: dict[str, Path]) -> Iterator[str]:
    yield f"| film | ffmpeg's pictures | {' | '.join(names)} |"
    yield f"|---|--:|{'---|' * len(names)}"
    found = [ask("digests", name, list(films.values())) for name in names]
    for (what, path), results in zip(films.items(), zip(*found, strict=True), strict=True):
        expected = by_ffmpeg(path)
        yield f"| {what} | {len(expected)} | {' | '.join(compared(result, expected) for result in results)} |"


def compared(found: dict[str, Any], expected: list[tuple[float, str, list[float]]]) -> str:
    """Format one cell: number of pictures, number identical, largest difference in a 64th of a picture, and in time."""
    if "error" in found:
        return f"**fails** ({found['error']})"
    pictures = found["pictures"]
    parts = [f"{len(pictures)}" if len(pictures) == len(expected) else f"**{len(pictures)}**"]
    pairs = list(zip(pictures, expected, strict=False))
    same = sum(ours[1] == theirs[1] for ours, theirs in pairs)
    off = max((float(np.abs(np.subtract(a[2], b[2])).max()) for a, b in pairs), default=0.0)
    parts.append("all identical" if same == len(expected) else f"{same} identical, at most {off:.1f} levels off")
    if not any(np.isnan(theirs[0]) for _, theirs in pairs):
        late = [abs((a[0] - pictures[0][0]) - (b[0] - expected[0][0])) for a, b in pairs]
        if (most := max(late, default=0.0)) > 0.002:
            parts.append(f"**times {most:.2f} s off**")
    return ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs="+", metavar="WORK READER FILM", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        work, name, *paths = arguments.child
        child(work, name, [Path(path) for path in paths])
        return
    names = [name for name, reader in READERS.items() if importlib.util.find_spec(reader.package) is not None]
    head = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True).stdout.split()[2]
    versions = ", ".join(f"{name} {version(READERS[name].package)}" for name in names)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        page = [
            "# Libraries for reading recordings",
            "",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
            f"Python {platform.python_version()}; {versions}; ffmpeg {head} as the reference. "
            "`bench/decoders.py` writes this page.",
            "",
            f"## Speed: decoded and scaled to {SIDE} × {SIDE} RGB, one thread",
            "",
            f"Pictures per second of one core's time, with the libraries in turn, {arguments.rounds} rounds: median "
            "and range.",
            "",
            *speeds(names, ordinary_films(arguments.data, scratch), arguments.rounds),
            "",
            f"## Memory over {arguments.minutes:.0f} minutes (H.264 320×240, 10 per second)",
            "",
            *memory(names, long_film(arguments.data, scratch, arguments.minutes)),
            "",
            "## Exactness: pictures at their own size, RGB, compared with ffmpeg's",
            "",
            "Each cell gives the number of pictures and how many of them have ffmpeg's MD5. If some differ, it gives",
            "the largest difference of the mean of a 64th of a picture, in grey levels. Times are relative to the",
            "first picture. They are given only where they differ from ffmpeg's.",
            "",
            *exactness(names, troublesome_films(scratch)),
        ]
    text = "\n".join(page) + "\n"
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
