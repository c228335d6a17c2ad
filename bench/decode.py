"""Measure the processor time of reading films for clips: ours against the ffmpeg command line and other libraries.

    python bench/decode.py [--data ../shared/data] [--rounds 3]

adds a line to bench/results/performance/decode.jsonl, in about three minutes. Everyone does the same work with one
thread: decode the whole film of 25 pictures a second, keep 12.5 of them, scale those to 224 × 224, in RGB. ffmpeg drops
pictures before it scales the others with the same algorithm, and writes to its null muxer. A library that is not
installed is named and left out. The films are made of vtest.avi. Starting the program and opening the film count.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from alternately import alternate, append, ratio

from pipeline.sources.base import Frame, FrameSpec
from pipeline.sources.files import FileSource

ROOT = Path(__file__).resolve().parent.parent
SIDE = 224  #: pixels; height and width of a clip
FPS, KEPT_FPS = 25, 12.5
EVERY = 2  #: FPS / KEPT_FPS
BATCH = 16  #: pictures that decord and torchcodec return at once

#: What each film is encoded with.
FILMS = {
    "H.264 768×576": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0"),
    "H.264 768×576, B frames": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2"),
    "H.264 1280×720": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-vf", "scale=1280:720"),
    "MPEG-4 768×576": ("-c:v", "mpeg4", "-q:v", "4"),
}


def processor_seconds() -> float:
    """Return the processor time of this process and of its children that have ended, seconds."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


def ours(film: Path) -> int:
    items = FileSource("bench", film, threads=1).frames([FrameSpec(SIDE, SIDE, fps=KEPT_FPS)], threading.Event())
    return sum(isinstance(item, Frame) for item in items)


def ffmpeg(film: Path, *, scale: bool = True) -> None:
    steps = f"fps={KEPT_FPS},scale={SIDE}:{SIDE}:flags=bilinear,format=rgb24"
    threads = ("-threads", "1", "-filter_threads", "1")
    filters = ("-vf", steps) if scale else ()
    _ffmpeg(*threads, "-i", film, "-an", *filters, "-f", "null", "-")


def opencv(film: Path) -> int:
    import cv2

    cv2.setNumThreads(1)
    reader = cv2.VideoCapture(str(film), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    number = 0
    while reader.grab():
        if number % EVERY == 0:
            small = cv2.resize(reader.retrieve()[1], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
        number += 1
    return number


def decord(film: Path) -> int:
    import decord

    reader = decord.VideoReader(str(film), ctx=decord.cpu(0), width=SIDE, height=SIDE, num_threads=1)
    kept = range(0, len(reader), EVERY)
    for first in range(0, len(kept), BATCH):
        reader.get_batch(list(kept[first : first + BATCH])).asnumpy()
    return len(kept)


def torchcodec(film: Path) -> int:
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(1)
    reader = VideoDecoder(
        str(film),
        dimension_order="NHWC",
        num_ffmpeg_threads=1,
        transforms=[Resize((SIDE, SIDE))],
        seek_mode="approximate",
    )
    for first in range(0, len(reader), EVERY * BATCH):
        reader.get_frames_in_range(first, min(first + EVERY * BATCH, len(reader)), EVERY).data.numpy()
    return len(reader)


PEERS: dict[str, Callable[[Path], object]] = {
    "mistwatch": ours,
    "ffmpeg": ffmpeg,
    "ffmpeg, decoding alone": partial(ffmpeg, scale=False),
    "OpenCV": opencv,
    "decord": decord,
    "torchcodec": torchcodec,
}


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def make_films(data: Path, folder: Path) -> dict[str, Path]:
    """Encode the films, by description: vtest.avi at 25 pictures a second, twice over."""
    films = {}
    for number, (what, encoding) in enumerate(FILMS.items()):
        once, films[what] = folder / f"once-{number}.mp4", folder / f"film-{number}.mp4"
        _ffmpeg("-r", str(FPS), "-i", data / "cctv" / "vtest.avi", *encoding, once)
        _ffmpeg("-stream_loop", "1", "-i", once, "-c", "copy", films[what])
    return films


def usable(film: Path) -> tuple[dict[str, Callable[[Path], object]], dict[str, str]]:
    """Return the peers that can read the film, and why the others cannot."""
    found, missing = {}, {}
    for name, peer in PEERS.items():
        try:
            peer(film)
        except Exception as problem:  # each library fails in its own way where a part of it is missing
            missing[name] = f"{type(problem).__name__}: {problem}".splitlines()[0]
        else:
            found[name] = peer
    return found, missing


def compare(films: dict[str, Path], rounds: int) -> dict[str, Any]:
    """Return for each film the milliseconds a decoded picture of each peer, and the ratios of ours to theirs."""
    peers, missing = usable(next(iter(films.values())))
    found: dict[str, Any] = {}
    for what, film in films.items():
        pictures = len(FileSource("bench", film).frame_times())
        works = {name: partial(peer, film) for name, peer in peers.items()}
        taken = alternate(works, rounds=rounds, clock=processor_seconds)
        found[what] = {
            "pictures": pictures,
            "milliseconds_a_picture": {
                name: round(statistics.median(seconds) / pictures * 1000, 4) for name, seconds in taken.items()
            },
            "ours_to": {name: ratio(taken["mistwatch"], taken[name]) for name in taken if name != "mistwatch"},
        }
        print(f"\n{what}, {pictures} pictures: ms of processor time a decoded picture, and ours to theirs", flush=True)
        for name, cost in found[what]["milliseconds_a_picture"].items():
            print(f"  {name:24}{cost:8.3f}   {found[what]['ours_to'].get(name, '')}", flush=True)
    return {"films": found, "left_out": missing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of cctv/vtest.avi")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        parser.exit(1, f"{parser.prog}: ffmpeg: missing; install Debian's package of that name\n")
    if not (options.data / "cctv" / "vtest.avi").exists():
        parser.exit(2, f"{parser.prog}: {options.data}: lacks cctv/vtest.avi; give its folder with --data\n")
    with tempfile.TemporaryDirectory() as folder:
        results = compare(make_films(options.data, Path(folder)), options.rounds)
    for name, why in results["left_out"].items():
        print(f"left out: {name} ({why})")
    append("decode", results | {"side": SIDE, "kept_fps": KEPT_FPS})


if __name__ == "__main__":
    main()
