"""Measure what one more camera costs a worker: processor time, its share beside decoding and encoder, and memory.

    python bench/cameras.py [--data ../shared/data] [--rounds 3] [--seconds 6] [--encoder-seconds SECONDS]

adds a line to bench/results/performance/cameras.jsonl, in about four minutes. Each measurement has a process of its own
with a whole worker, its board and its metrics. The cameras are live: films of 640 × 480 and 25 pictures a second that
are read at the pace of their own clock, by the code of all live cameras but for the network; neither the pacing nor the
timing counts. Clips have 16 pictures of 224 × 224 at 12.5 a second. The scorer answers at once, so its transport costs
nothing here. Two figures are added for each clip: the transport's processor time, through shared memory to a model that
costs nothing, of the newest run of bench/transport.py; and the encoder's, in int8, of that of bench/precision.py: its
milliseconds times the cores that it takes. A worker that falls behind its cameras is marked as late.

Processor time is counted per decoded picture, so a machine that cannot keep up does not look cheap. Memory is PSS.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import av.container
from alternately import append, newest, ratio
from film_camera import FilmCamera

from operators.chain import ChainSettings
from pipeline.live.board import Board
from pipeline.live.camera import CameraPlan, DetectorPlan
from pipeline.live.judging import chain_settings
from pipeline.live.metrics import Metrics, MetricsListener
from pipeline.live.worker import Worker
from pipeline.scoring.scorer import ScoredModel, Scorer
from pipeline.scoring.served_model import ServedModel
from pipeline.scoring.target import Target
from pipeline.scoring.transport import Answer
from pipeline.settings import AlertTuning
from pipeline.sources import decode
from pipeline.sources.pace import PacedClock
from pipeline.sources.scale import Scaler
from pipeline.windows import ClipSpec

ROOT = Path(__file__).resolve().parent.parent
FPS = 25
CLIP = ClipSpec(fps=12.5)
SERVED = ServedModel("stub", "1", CLIP, threshold=0.5, kernel=3)
COUNTS = (4, 8, 16, 32)
SHARE_AT = 16  #: cameras at which the share beside decoding and encoder is asked for
ON_TIME = 0.95  #: least share of the pictures that come in their time; below, the worker fell behind
WARM_SECONDS = 4.0  #: until every camera has its decoder, its scaler and a full window
_TIMINGS = 2000
#: Seconds of a camera's stream for each clip.
CLIP_SECONDS = CLIP.stride / 12.5

OPTIONS = ("-r", str(FPS), "-vf", "scale=640:480", "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "50")


class AtOnce:
    """A transport whose server answers every clip at once."""

    def is_live(self, *, timeout_seconds: float) -> None:
        pass

    def describe(self, _target: Target, *, version: str = "", timeout_seconds: float) -> ServedModel:
        return SERVED

    def infer(self, _target: Target, _pixels: Any, *, on_answer: Callable[[Any], None], **_options: Any) -> None:
        on_answer(Answer("1", 0.1))

    def load(self, model: str) -> None:
        pass

    def unload(self, model: str) -> None:
        pass

    def close(self) -> None:
        pass


class Spent:
    """Processor time of threads, by the kind of their work; each thread adds to a place of its own."""

    def __init__(self) -> None:
        self._of_threads: list[list[float]] = []
        self._own = threading.local()

    def add(self, seconds: float) -> None:
        if not hasattr(self._own, "total"):
            self._own.total = [0.0, 0]
            self._of_threads.append(self._own.total)
        self._own.total[0] += seconds
        self._own.total[1] += 1

    @property
    def seconds(self) -> float:
        return sum(total[0] for total in self._of_threads)

    @property
    def count(self) -> float:
        return sum(total[1] for total in self._of_threads)


DECODING, SCALING, PACING = Spent(), Spent(), Spent()


class TimedPacket:
    """A packet whose decoding is timed."""

    def __init__(self, packet: av.Packet[av.VideoStream]) -> None:
        self._packet = packet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._packet, name)

    def decode(self) -> list[av.VideoFrame]:
        began = time.thread_time()
        try:
            return self._packet.decode()
        finally:
            DECODING.add(time.thread_time() - began)


class TimedScaler(Scaler):
    """The scaler of every camera here, timed."""

    def __call__(self, picture: av.VideoFrame) -> Any:
        began = time.thread_time()
        try:
            return super().__call__(picture)
        finally:
            SCALING.add(time.thread_time() - began)


class TimedClock(PacedClock):
    """The pace of a film, timed: a camera in the network does not need it."""

    def __call__(self, picture: av.VideoFrame) -> float | None:
        began = time.thread_time()
        try:
            return super().__call__(picture)
        finally:
            PACING.add(time.thread_time() - began)


class TimedCamera(FilmCamera):
    """A film's camera whose waiting and decoding are timed."""

    def _clock(self, _container: Any, stop: threading.Event) -> PacedClock:
        return TimedClock(stop)

    def _arriving(self, container: Any, stream: Any, stop: threading.Event) -> Iterator[Any]:  # type: ignore[override]
        arriving = super()._arriving(container, stream, stop)
        try:
            while True:
                yield TimedPacket(next(arriving))
        except StopIteration as end:
            return end.value


def chain(served: ServedModel) -> ChainSettings:
    return chain_settings(AlertTuning(), served, max_in_flight=4)


def plan(camera: str, film: Path) -> CameraPlan:
    return CameraPlan(
        camera, lambda callbacks: TimedCamera(camera, film, callbacks), [DetectorPlan(CLIP, SERVED, chain)]
    )


def spent() -> tuple[float, ...]:
    """Return the processor seconds of this process, those of its threads by the kind of their work, and timings."""
    timings = DECODING.count + SCALING.count + PACING.count
    return time.process_time(), DECODING.seconds, SCALING.seconds, PACING.seconds, timings


def timing_seconds() -> float:
    """Return the processor time of one timing, which is a call of the system before and one behind."""
    began = time.thread_time()
    for _ in range(_TIMINGS):
        time.thread_time(), time.thread_time()
    return (time.thread_time() - began) / _TIMINGS


def pss_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def stub_worker(clip: ClipSpec, *listeners: Any) -> Worker:
    """Return a worker whose scorer answers at once and whose alerts go nowhere."""
    return Worker(
        [],
        site="bench",
        run="bench",
        scorer=Scorer("stub:1", [ScoredModel("stub", clip)], connect=AtOnce),
        queue_clips=4,
        outbox=SimpleNamespace(accept=lambda _event: True),
        notify=lambda: None,
        pictures=None,
        listeners=listeners,
    )


def measure(film: Path, count: int, seconds: float) -> dict[str, float]:
    """Run a worker of so many cameras; return processor milliseconds a decoded picture, by their kind, and memory."""
    decode.Scaler = TimedScaler  # type: ignore[misc]
    board = Board()
    worker = stub_worker(CLIP, board, MetricsListener(Metrics()))
    worker.start()
    for number in range(count):
        worker.add(plan(f"camera-{number}", film))
        time.sleep(WARM_SECONDS / 2 / count)  # cameras do not all have their key pictures and clips at one time
    time.sleep(WARM_SECONDS / 2)
    kept = sum(state.frames for state in board.states)
    then = spent()
    time.sleep(seconds)
    took = [now - before for now, before in zip(spent(), then, strict=True)]
    pictures = (sum(state.frames for state in board.states) - kept) * FPS / 12.5
    memory = pss_mb()
    worker.stop()
    took[0] -= took.pop() * timing_seconds()
    total, decoding, scaling, pacing = (1000 * one / pictures for one in took)
    return {
        "all": total - pacing,
        "decoding": decoding,
        "scaling": scaling,
        "rest": total - pacing - decoding - scaling,
        "pss_mb": memory,
        "on_time": pictures / (seconds * FPS * count),
    }


def in_a_process(film: Path, count: int, seconds: float) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(film), str(count), "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_film(data: Path, folder: Path, seconds: float) -> Path:
    """Encode vtest.avi at 25 pictures a second, and repeat it for so many seconds and more."""
    once, film = folder / "once.mp4", folder / "film.mp4"
    quiet = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    subprocess.run([*quiet, "-r", str(FPS), "-i", str(data / "cctv" / "vtest.avi"), *OPTIONS, str(once)], check=True)
    repeated = [*quiet, "-stream_loop", "-1", "-i", str(once), "-t", str(seconds), "-c", "copy", str(film)]
    subprocess.run(repeated, check=True)
    return film


def transport_of(found: dict[str, Any] | None) -> float | None:
    """Return the processor milliseconds of a clip's way through shared memory, of bench/transport.py; None: unknown."""
    if found is None:
        return None
    value: float | None = found["transport_alone"]["processor_milliseconds_a_clip"].get("shared memory")
    return value


def encoder_of(found: dict[str, Any] | None) -> float | None:
    """Return the processor seconds of the int8 encoder for a clip, of bench/precision.py; None: unknown."""
    if found is None or "int8_in_process" not in found["milliseconds"]:
        return None
    return float(found["milliseconds"]["int8_in_process"] * found["machine"]["cores"] / 1000)


def shares(costs: dict[str, float], encoder_seconds: float, transport_ms: float = 0.0) -> dict[str, float]:
    """Return shares of the whole, the processor time of encoder and transport for each clip among it."""
    pictures = CLIP_SECONDS * FPS
    encoder, transport = 1000 * encoder_seconds / pictures, transport_ms / pictures  # ms a decoded picture
    whole = costs["all"] + encoder + transport
    return {
        "encoder": encoder / whole,
        "decoding": costs["decoding"] / whole,
        "scaling": costs["scaling"] / whole,
        "transport": transport / whole,
        "rest": costs["rest"] / whole,
        "neither_decoding_nor_encoder": (costs["rest"] + costs["scaling"] + transport) / whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=2, metavar=("FILM", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of cctv/vtest.avi")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument(
        "--encoder-seconds",
        type=float,
        help="processor time of the int8 encoder for one clip (default: of the newest run of bench/precision.py)",
    )
    options = parser.parse_args()
    if options.child:
        film, count = options.child
        print(json.dumps(measure(Path(film), int(count), options.seconds)))
        return
    if not (options.data / "cctv" / "vtest.avi").exists():
        parser.exit(2, f"{parser.prog}: {options.data}: lacks cctv/vtest.avi; give its folder with --data\n")
    encoder = encoder_of(newest("precision")) if options.encoder_seconds is None else options.encoder_seconds
    if encoder is None:
        parser.exit(2, f"{parser.prog}: bench/precision.py has not run; run it first, or give --encoder-seconds\n")
    runs: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    with tempfile.TemporaryDirectory() as folder:
        film = make_film(options.data, Path(folder), 4 * (WARM_SECONDS + options.seconds))
        for number in range(options.rounds):
            for count in COUNTS if number % 2 else reversed(COUNTS):
                runs[count].append(in_a_process(film, count, options.seconds))
    results = summary(runs, encoder, transport_of(newest("transport")))
    print_table(results)
    append("cameras", results)


def summary(
    runs: dict[int, list[dict[str, float]]], encoder_seconds: float, transport_ms: float | None
) -> dict[str, Any]:
    """Return the medians by number of cameras, and the figures that are asked for.

    Args:
        transport_ms: processor milliseconds of the transport of one clip; None: not measured, and not counted.
    """
    medians = {
        count: {name: statistics.median(run[name] for run in found) for name in found[0]}
        for count, found in runs.items()
    }
    fewest, most = min(runs), max(runs)
    memory = [
        (many["pss_mb"] - few["pss_mb"]) / (most - fewest) for few, many in zip(runs[fewest], runs[most], strict=True)
    ]
    return {
        "cameras": {str(count): found for count, found in medians.items()},
        "encoder_seconds_a_clip": encoder_seconds,
        "transport_ms_a_clip": transport_ms,
        "late_at": [count for count, found in runs.items() if min(run["on_time"] for run in found) < ON_TIME],
        "shares_at_16": shares(medians[SHARE_AT], encoder_seconds, transport_ms or 0.0),
        "cost_at_32_to_4": ratio([run["all"] for run in runs[most]], [run["all"] for run in runs[fewest]]),
        "memory_mb_a_camera": statistics.median(memory),
    }


def print_table(results: dict[str, Any]) -> None:
    print("Processor time a decoded picture, ms (640 × 480, 25 a second, of which 12.5 are scaled and cut into clips)")
    print(f"{'cameras':>8}{'all':>9}{'decoding':>10}{'scaling':>9}{'rest':>8}{'PSS, MB':>10}{'on time':>9}")
    for count, found in results["cameras"].items():
        costs = "".join(f"{found[name]:{width}.3f}" for name, width in COLUMNS.items())
        print(f"{count:>8}{costs}{found['pss_mb']:10.0f}{found['on_time']:9.0%}")
    print(f"32 cameras to 4, each: {results['cost_at_32_to_4']}")
    print(f"memory of one more camera: {results['memory_mb_a_camera']:.1f} MB")
    parts = ", ".join(f"{name.replace('_', ' ')} {share:.1%}" for name, share in results["shares_at_16"].items())
    print(f"at {SHARE_AT} cameras, with {results['encoder_seconds_a_clip']} s of the encoder a clip: {parts}")
    if results["transport_ms_a_clip"] is None:
        print("the transport is not counted: bench/transport.py has not run")
    if results["late_at"]:
        print(f"LATE at {results['late_at']} cameras: less than {ON_TIME:.0%} of the pictures came in time")


COLUMNS = {"all": 9, "decoding": 10, "scaling": 9, "rest": 8}

if __name__ == "__main__":
    main()
