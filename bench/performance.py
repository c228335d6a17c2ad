"""Write docs/PERFORMANCE.md from the newest run of each bench of speed under bench/results/performance.

    python bench/performance.py          # write the page
    python bench/performance.py --run    # run every bench first, one after the other: `make bench`

Run the benches on a quiet machine, for they take all of its cores in turn: an hour or more on two. This program
measures nothing. A bench that has not been run is listed as not measured. All keys of the results that the page reads
stand in :data:`ROWS` and :data:`PEERS`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import growth
import idle
import latency
import replay
from alternately import PERFORMANCE, newest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "PERFORMANCE.md"

#: The benches in the order in which they run, by the names of their results, with their arguments.
BENCHES: dict[str, tuple[str, ...]] = {
    "precision": (),
    "precision_folds": (),
    "transport": (),
    "shared": (),
    "decode": (),
    "cameras": (),
    "containment": (),
    "gate": (),
    "latency": (),
    "idle": (),
    "replay": (),
    "growth": (),
}

#: Share of the clips of a camera that are sent to be scored, for the table of sizes.
SENT = {
    "something always moves, or not gated": 1.0,
    "something moves for a tenth of the time": 0.1 + 0.9 / 64,
    "nothing moves": 1 / 64,
}

INTRODUCTION = """\
# Performance

`make bench` runs the programs of speed under `bench/` one after the other on a quiet machine. Each appends its results
to `bench/results/performance/`, with the machine that they come from. `python bench/performance.py` generates this page
from the newest run of each.

Absolute times say little about another machine. A claim is therefore a ratio of two things that were measured
alternately in one run: the median over its rounds, with the 10th and 90th percentile in brackets. Time of processors
is used where the clock on the wall would count other work.
"""

NO_GPU = """\
The path through a GPU **has never run on a GPU**: this project has not had one. Its code runs in the tests on a
processor. `bench/gpu.py` measures clips per second by batch and the share of the card's matrix peak, on a machine that
has one. Then: cameras per GPU = clips per second of the card ÷ (clips per second of a camera × share that is sent).
"""

Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """One figure that a target bounds.

    Attributes:
        key: its place in the bench's results. ``*`` stands for any key, or any item of a list: the worst of all such
            figures counts.
        least, most: the bound; exactly one is given.
        unit: printed behind the figure and the bound; ``%`` also multiplies by 100.
        what: printed before the figure, where a row has several.
    """

    key: Path_
    least: float | None = None
    most: float | None = None
    unit: str = ""
    what: str = ""

    def asked(self) -> str:
        """Return the bound in words."""
        bound = self.most if self.least is None else self.least
        assert bound is not None
        text = f"{100 * bound:g} %" if self.unit == "%" else f"{bound:g} {self.unit}".rstrip()
        return f"{'≤' if self.least is None else '≥'} {text}"

    def measured(self, found: Mapping[str, Any] | None) -> Measured | None:
        """Return the figure in a bench's results; None: they lack it."""
        figures = [figure for value in at(found, self.key) if (figure := figure_of(value)) is not None]
        if not figures:
            return None
        value, spread = (min if self.least is not None else max)(figures, key=lambda one: one[0])
        low, high = spread or (None, None)
        text = shown(value, self.unit)
        if low is not None and high is not None:
            text += f" ({shown(low, self.unit)} to {shown(high, self.unit)})"
        met = value >= self.least if self.least is not None else value <= (self.most or 0.0)
        return Measured(f"{self.what} {text}".lstrip(), met)


@dataclass(frozen=True)
class Measured:
    """A figure as the page shows it, and whether it keeps its bound."""

    text: str
    met: bool


@dataclass(frozen=True)
class Row:
    """A target.

    Attributes:
        what: in words.
        bench: name of the results.
        checks: all must hold.
        tried: what was tried, shown where the target is missed or could not be measured.
        counts: returns why the results do not count as a measurement of it, or nothing.
    """

    what: str
    bench: str
    checks: tuple[Check, ...]
    tried: str = ""
    counts: Callable[[Mapping[str, Any]], str] = lambda _found: ""

    def judged(self, found: Mapping[str, Any] | None) -> tuple[str, str]:
        """Return the figures and the verdict."""
        measured = [check.measured(found) for check in self.checks]
        there = [one for one in measured if one is not None]
        text = "; ".join(one.text for one in there)
        if found is not None and (why := self.counts(found)):
            return text, f"not measured: {why}"
        if any(not one.met for one in there):
            return text, "**missed**"
        return text, "met" if len(there) == len(self.checks) else "not measured"


def _not_gated(found: Mapping[str, Any]) -> str:
    return "" if found["gated"] else "the worker had no gate"


def _late(*counts: int) -> Callable[[Mapping[str, Any]], str]:
    """Return a check that the worker kept up with so many cameras."""

    def why(found: Mapping[str, Any]) -> str:
        late = [str(count) for count in counts if count in found["late_at"]]
        return f"the worker fell behind at {' and '.join(late)} cameras" if late else ""

    return why


def _transport_not_counted(found: Mapping[str, Any]) -> str:
    return _late(16)(found) or ("the transport is not counted" if found["transport_ms_a_clip"] is None else "")


def _without_incidents(found: Mapping[str, Any]) -> str:
    lacking = [one["footage"] for one in found["sets"] if "lost" not in one or not one["incidents"]]
    return f"no lost incidents counted for {', '.join(lacking)}" if lacking else ""


ROWS = (
    Row(
        "clips per second, float32 224×224, served through Triton, against PyTorch eager in process",
        "precision",
        (
            Check(("eager_over_fp32_served",), least=2.6),
            Check(("largest_score_difference", "fp32_served"), most=1e-2, what="score moved by"),
        ),
        "The ratio depends on the processor: see its features, and the share of its peak that the encoder reaches. A "
        "profile of the layers, by hand, found most of the time in convolutions, and no cheap change of the graph.",
    ),
    Row(
        "the same, bfloat16 on processors that have it (in process), against PyTorch eager",
        "precision",
        (Check(("eager_over_bf16_in_process",), least=4.5),),
        "The processors of this machine lack bfloat16: an export to it is refused here, or falls back with a log line.",
    ),
    Row(
        "clips per second, int8, served, against PyTorch eager (aim: 12)",
        "precision",
        (Check(("eager_over_int8_served",), least=8.0),),
        "Without VNNI or AMX a product of int8 takes several instructions. Clips of a lower resolution or rate cost "
        "less, as the peers show; what they cost in accuracy was not measured. A smaller encoder by distillation was "
        "not tried.",
    ),
    Row(
        "points of AUC that int8 loses on the folds of the fights",
        "precision_folds",
        (Check(("auc_points_lost",), most=0.5),),
    ),
    Row(
        "clips per second through Triton against the same engine in a plain loop, float32",
        "transport",
        (Check(("shared_memory_against_loop",), least=0.95),),
    ),
    Row(
        "the same, int8",
        "precision",
        (Check(("int8_loop_over_served",), least=0.90),),
    ),
    Row(
        "processor time of decoding, scaling and sampling against the `ffmpeg` command line",
        "decode",
        (Check(("films", "*", "ours_to", "ffmpeg"), most=1.05),),
        "Scaling in YUV costs three quarters of what it cost, for the same pictures. Without exact rounding it costs "
        "less than half, but moved scores by up to 0.02 (`bench/scaler.py`), twice what is allowed.",
    ),
    Row(
        "processor time of everything that is neither decoding nor the encoder, 16 cameras, share of the whole",
        "cameras",
        (Check(("shares_at_16", "neither_decoding_nor_encoder"), most=0.03, unit="%"),),
        "The scorer is a stub, and a real server at 80 % of the capacity was not measured: the processor time of "
        "encoder and transport is that of `bench/precision.py` and `bench/transport.py`.",
        _transport_not_counted,
    ),
    Row(
        "static cameras that one core holds with the motion gate, against decoding alone (a day was not measured)",
        "gate",
        (
            Check(("cameras_against_decoding",), least=0.7),
            Check(("sets", "*", "lost"), most=0.0, what="incidents lost:"),
        ),
        "",
        _without_incidents,
    ),
    Row(
        "time from the clip's last frame to the consumer at 80 % of the capacity, 95th percentile (aim: 0.3 s)",
        "latency",
        (Check(("clip_to_consumer_seconds", "p95"), most=1.0, unit="s"),),
        "Most of it is the encoder's own time for a clip, and a clip that waits for another one takes twice that; see "
        "*Where the time goes*. The consumer pauses between fetches at the embedded broker alone.",
    ),
    Row(
        "cost for each camera at 32 cameras against at 4",
        "cameras",
        (Check(("cost_at_32_to_4",), most=1.1),),
        counts=_late(4, 32),
    ),
    Row(
        "worker memory for one more 640×480 camera",
        "cameras",
        (Check(("memory_mb_a_camera",), most=12.0, unit="MB"),),
    ),
    Row(
        "the same where each camera is decoded in a process of its own, which is the default",
        "containment",
        (Check(("ways", "a process each", "memory_mb_a_camera"), most=12.0, unit="MB"),),
        "The row above is that of one process for all cameras (`decoding: threads`). A crash of one decoder then ends "
        "all cameras, so the default is a process each, from a fork server that shares what it has imported; four "
        "cameras a process saved 5 MB ([the decision](DECISIONS.md)).",
    ),
    Row(
        "processor time of an idle `alerts tail`, share of a core",
        "idle",
        (Check(("share_of_a_core", "tail"), most=0.01, unit="%"),),
    ),
    Row(
        "processor time of an idle worker with all cameras gated, share of a core beyond decoding",
        "idle",
        (Check(("share_of_a_core", "beyond_decoding"), most=0.01, unit="%"),),
        "The worker also scales the pictures that the gate looks at, takes each one from the process of its decoder, "
        "and cuts clips. The share that remains beyond decoding and scaling stands in the section *Idle*.",
        _not_gated,
    ),
    Row(
        "clips per second of a replay against the scorer's own",
        "replay",
        (Check(("replay_to_scoring",), least=0.95),),
        "A replay decodes and scales on the cores that the scorer would take. The ratio by processor time, in "
        "the section *Replay*, is the bound that this sets.",
    ),
)


@dataclass(frozen=True)
class Peers:
    """A table of peers: figures by the peers' names.

    Attributes:
        bench, key: see :class:`Check`; ``*`` gives a table of several columns.
    """

    what: str
    bench: str
    key: Path_
    digits: int = 2


PEERS = (
    Peers(
        "milliseconds a clip of the plain encoder, 16×224² unless it says otherwise", "precision", ("milliseconds",), 0
    ),
    Peers("clips per second of a detector, in a plain loop and served", "transport", ("clips_per_second",)),
    Peers(
        "milliseconds of a processor for a decoded picture, sampled and scaled",
        "decode",
        ("films", "*", "milliseconds_a_picture"),
        3,
    ),
    Peers("two detectors, each with its own backbone, against both on one", "shared", ("i3d_served",)),
)
LIMITS = (
    Peers("peak of the processor on one large convolution, float32, GFLOP/s", "precision", ("peak_f32_gflop_s",), 0),
    Peers("share of that peak that the encoder reaches", "precision", ("share_of_peak_fp32",)),
    Peers("the same peak in int8, 10⁹ operations a second", "precision", ("peak_int8_gop_s",), 0),
    Peers("share of that peak that the encoder reaches in int8", "precision", ("share_of_peak_int8",)),
)
GROWTH = (
    Peers(
        "processor milliseconds of a decoded picture (25 a second of each camera), and memory, by number of cameras",
        "cameras",
        ("cameras", "*"),
        3,
    ),
)
#: Where ``bench/gpu.py`` has run; cards are rare, so that ``make bench`` leaves it out.
ON_GPU = Peers("clips per second on a GPU, by the size of the batch", "gpu", ("precisions", "*", "as_it_is"))


def at(found: Any, key: Path_) -> Iterator[Any]:
    """Yield the values at a place in results; none where they lack it."""
    if found is None:
        return
    if not key:
        yield found
    elif isinstance(found, Mapping):
        for name in found if key[0] == "*" else [key[0]]:
            yield from at(found.get(name), key[1:])
    elif isinstance(found, list) and key[0] == "*":
        for one in found:
            yield from at(one, key[1:])


def figure_of(value: Any) -> tuple[float, tuple[float, float] | None] | None:
    """Return a number and its spread, from a number or from a median with ``low`` and ``high``; else None."""
    if isinstance(value, int | float):
        return float(value), None
    if isinstance(value, Mapping) and {"median", "low", "high"} <= value.keys():
        return value["median"], (value["low"], value["high"])
    return None


def shown(value: float, unit: str = "") -> str:
    """Return a figure with its unit."""
    if unit == "%":
        return f"{100 * value:.2g} %"
    digits = f"{value:.2f}" if 0.1 <= abs(value) < 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def table_of(peers: Peers, found: Mapping[str, Any] | None) -> list[str]:
    """Return a table of peers as lines of Markdown."""
    places = columns(found, peers.key)
    if not places:
        return [f"{peers.what}: not measured. Run `python bench/{peers.bench}.py`.", ""]
    if set(places) == {""}:
        (value,) = places.values()
        if (figure := figure_of(value)) is not None:
            spread = "" if figure[1] is None else f" ({figure[1][0]:.2f} to {figure[1][1]:.2f})"
            return [f"{peers.what}: {figure[0]:.{peers.digits}f}{spread} (`bench/{peers.bench}.py`).", ""]
    names = list(dict.fromkeys(name for column in places.values() for name in column))
    lines = [f"| {peers.what} | " + " | ".join(places) + " |", "|---|" + "--:|" * len(places)]
    for name in names:
        cells = []
        for column in places.values():
            figure = figure_of(column.get(name))
            cells.append("" if figure is None else f"{figure[0]:.{peers.digits}f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Command: `python bench/{peers.bench}.py`.", ""]


def columns(found: Any, key: Path_) -> dict[str, Any]:
    """Return what lies at a place in results by the keys that ``*`` stands for."""
    if "*" not in key:
        return dict.fromkeys([""], value) if (value := next(at(found, key), None)) is not None else {}
    place = key.index("*")
    return {
        str(name): value
        for inner in at(found, key[:place])
        if isinstance(inner, Mapping)
        for name, part in inner.items()
        for value in at(part, key[place + 1 :])
    }


def page(results: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return docs/PERFORMANCE.md.

    Args:
        results: the newest run of each bench; None: it has not run.
    """
    lines = [INTRODUCTION, "## Targets", "", "| | at least, at most | measured | | by |", "|---|---|---|---|---|"]
    open_rows = []
    for row in ROWS:
        figures, verdict = row.judged(results.get(row.bench))
        asked = "; ".join(check.asked() for check in row.checks)
        lines.append(f"| {row.what} | {asked} | {figures} | {verdict} | `bench/{row.bench}.py` |")
        if verdict != "met":
            open_rows.append((row, figures, verdict))
    lines += ["", "## Missed targets and what was tried", ""]
    for row, figures, verdict in open_rows:
        verdict = verdict.replace("*", "")
        text = f"* {row.what}: {verdict}{f' ({figures})' if figures and 'not' not in verdict else ''}."
        lines.append(f"{text} {row.tried}".rstrip())
    lines += ["", "## Machines", "", *machines(results), "", "## Peers", ""]
    for peers in PEERS:
        lines += table_of(peers, results.get(peers.bench))
    lines += ["## Physical limits", ""]
    for peers in LIMITS:
        lines += table_of(peers, results.get(peers.bench))
    lines += ["The limit of decoding is the `ffmpeg` command line, among the peers above.", ""]
    lines += section("Where the time goes", "latency", latency.page, results)
    lines += section("Idle", "idle", idle.page, results)
    lines += section("Replay", "replay", replay.page, results)
    lines += ["## How the cost grows", ""]
    for peers in GROWTH:
        lines += table_of(peers, results.get(peers.bench))
    lines += section("", "growth", growth.page, results)
    lines += ["## Sizing", "", *sizing(results.get("growth")), ""]
    gpu = results.get("gpu")
    lines += [NO_GPU] if gpu is None else table_of(ON_GPU, gpu)
    return "\n".join(lines).rstrip() + "\n"


def section(
    title: str, bench: str, of: Callable[[Mapping[str, Any]], str], results: Mapping[str, Mapping[str, Any] | None]
) -> list[str]:
    """Return the page of one bench as a section."""
    found = results.get(bench)
    heading = [f"## {title}", ""] if title else []
    if found is None:
        return [*heading, f"Not measured. Run `python bench/{bench}.py`.", ""]
    return [*heading, of(found).rstrip(), "", f"Command: `python bench/{bench}.py`.", ""]


def machines(results: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Return the table of the machines and times of the runs."""
    lines = ["| bench | when | processor | load average | packages |", "|---|---|---|--:|---|"]
    for name in (*BENCHES, "gpu"):
        if (found := results.get(name)) is not None:
            of = found["machine"]
            packages = ", ".join(f"{package} {version}" for package, version in of["packages"].items())
            processor = f"{of['cores']} cores of {of['cpu']} ({', '.join(of['features'])})"
            lines.append(f"| `{name}` | {found['when'][:10]} | {processor} | {of['load']} | {packages} |")
    return lines


def sizing(found: Mapping[str, Any] | None) -> list[str]:
    """Return the table of cameras per core, with its arithmetic."""
    if found is None:
        return ["Not measured. Run `python bench/growth.py`."]
    lines = [
        "Cameras per core = 1 ÷ (reading + share of the clips that is sent × scoring), the seconds of a core for a "
        "second of the camera with one detector in the table above. Leave a fifth of each core free. The motion gate "
        "sends one of 64 clips in which nothing moves.",
        "",
        f"| camera, stride | {' | '.join(SENT)} |",
        "|---|" + "--:|" * len(SENT),
    ]
    for one in found["camera_second"]:
        if one["detectors"] == 1:
            cells = [f"{1 / (one['reading'] + share * one['scoring']):.1f}" for share in SENT.values()]
            lines.append(f"| {one['resolution']}, {one['stride']} | {' | '.join(cells)} |")
    return lines


def run_all(benches: Mapping[str, Sequence[str]]) -> list[str]:
    """Run the benches one after the other; return the names of those that failed."""
    failed = []
    for name, arguments in benches.items():
        program = Path(__file__).with_name(f"{name}.py")
        if not program.exists():
            continue
        began = time.monotonic()
        print(f"== {name} ==", file=sys.stderr, flush=True)
        if subprocess.run([sys.executable, str(program), *arguments], check=False).returncode:
            failed.append(name)
        print(f"== {name}: {time.monotonic() - began:.0f} s ==", file=sys.stderr, flush=True)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the benches first")
    parser.add_argument("--results", type=Path, default=PERFORMANCE, help="folder of the results")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    failed = run_all(BENCHES) if options.run else []
    options.out.write_text(page({name: newest(name, options.results) for name in (*BENCHES, "gpu")}), encoding="utf-8")
    print(f"written: {options.out}")
    if failed:
        parser.exit(1, f"{parser.prog}: failed: {', '.join(failed)}\n")


if __name__ == "__main__":
    main()
