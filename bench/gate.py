"""Judge the motion gate against the ungated run: incidents lost, share of clips gated, and what it costs.

    python bench/gate.py [--data ../shared/data] [--seeds 20] [--minutes 1] [--fights 30] [--rounds 5]

prints a table and adds a line to bench/results/performance/gate.jsonl.

* **Courtyard**: rendered films of unseen seeds, scored by the committed `courtyard-motion` (or --model).
* **Fights**: each film of a fight planted into a still camera: its first picture with a sensor's noise for 24 clips
  before it, its last one for 24 clips after it. The films alone are shorter than the gate's learning, so nothing of
  them would be gated. Some of them are scored by the committed `fights`; for all it is checked that every clip is sent.
* **Ped2**: the test films of its camera one after the other, as one segment, after its training films. It is not
  scored: an incident of which a clip is not sent counts as lost, as with the fights that are not scored.
* **Still cameras**: films in which nothing moves, but noise, rain, light or the codec changes the picture.

Scores do not depend on the gate. So each clip is scored once, and the operators run twice: over all scores, and with
the clips that the gate keeps back handed in as gated. Films and scores are kept under runs/gate-bench.

The cost is processor time of this process, in turns: decoding a static film of 640 × 480 (H.264) alone, decoding it
with scaling and cutting of clips, and the same with the gate. The scoring of one clip is measured beside it and counted
at the floor rate. Constants of the gate were chosen on other seeds, scenes and films.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from alternately import PERFORMANCE, alternate, append, ratio
from courtyard import Scorer, film_of, watch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from still_cameras import CAMERAS, Picture, scene_of, write

from models.serving.export import ExportError
from operators.alerting import AlertState
from operators.chain import ChainSettings, ScoreChain
from operators.figures.events import ScoreSheet, Span, score, total
from operators.gate import GateSettings, MotionGate, Why
from operators.scores import ClipScore, GatedClip, SegmentEnd
from pipeline.courtyard.scene import Courtyard
from pipeline.courtyard.settings import SceneSettings
from pipeline.errors import MistwatchError
from pipeline.live.judging import gate_settings
from pipeline.manifests.fights import fights
from pipeline.manifests.ped2 import ped2
from pipeline.settings import GateTuning
from pipeline.sources.files import FileSource
from pipeline.windows import ClipSpec, ClipWindow, cut

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "runs" / "gate-bench"
DATA = ROOT.parent / "shared" / "data"
#: Reserved for this bench; the gate was tuned on films and scenes that it does not report.
FIRST_SEED = 29601
STILL_CLIPS = 24  #: before and after each planted film
NOISE = 2.0  #: of the still camera into which a film is planted, levels of 255
STILL_SECONDS = 60.0
PLAIN = ClipSpec()  #: of I3D, 16 × 224 × 224

Pixels = npt.NDArray[np.uint8]
#: Start and end in seconds, and the score, of each clip.
Scored = list[tuple[float, float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with fights/, ped2/ and cctv/")
    parser.add_argument("--model", default="courtyard-motion", help="committed model that scores the courtyard")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="first seed of the courtyard")
    parser.add_argument("--seeds", type=int, default=20, help="number of courtyards")
    parser.add_argument("--minutes", type=float, default=1.0, help="length of each of them")
    parser.add_argument("--fights", type=int, default=30, help="films of fights that are scored, too")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the measurement of cost")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of films and scores")
    parser.add_argument("--results", type=Path, default=PERFORMANCE, help="folder of gate.jsonl")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            sets = [
                courtyards(options.model, seeds, options.minutes, options.kept / "courtyard", bars),
                planted_fights(options.data / "fights", options.fights, bars),
                walkway(options.data / "ped2", bars),
            ]
            scene = scene_of(options.data / "cctv" / "vtest.avi", 320, 240)
            shares = still_cameras(scene, options.kept / "still", bars)
        costs = cost(scene_of(options.data / "cctv" / "vtest.avi", 640, 480), options.kept / "still", options.rounds)
    except (ExportError, MistwatchError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    results = {"sets": sets, "still_cameras": shares, "gate": GateSettings(), **costs}
    append("gate", results, options.results)
    print(page(results), end="")


def gate_of(chain: ChainSettings | None = None) -> MotionGate:
    """Return a gate with the settings that a worker uses by default."""
    settings = GateSettings() if chain is None else gate_settings(GateTuning(), chain)
    assert settings is not None
    return MotionGate(settings)


def clip_seconds(spec: ClipSpec) -> float:
    """Return the seconds from one clip to the next; of a clip of native rate at the 25 pictures of these films."""
    return spec.stride / (25.0 if spec.fps is None else spec.fps)


def clips_of(film: Path, spec: ClipSpec = PLAIN) -> Iterator[ClipWindow]:
    """Yield the clips of a film, in order."""
    items = FileSource("bench", film, threads=1).frames([spec.frame_spec], threading.Event())
    return (item for item in cut(items, spec) if isinstance(item, ClipWindow))


def alerts(scored: Scored, gated: Sequence[bool], chain: ChainSettings) -> list[Span]:
    """Return the alerts of one segment, by the operators that run live: opening and end of each."""
    operators = ScoreChain("bench", chain, awaits_all=True)
    transitions = []
    for index, ((start, end, value), kept_back) in enumerate(zip(scored, gated, strict=True)):
        if kept_back:
            transitions += operators.gate(GatedClip("bench", "film", index, start, end))
        else:
            transitions += operators.score(ClipScore("bench", "film", index, start, end, value, "model", "1"))
    transitions += operators.end(SegmentEnd("bench", "film", len(scored), "stream_end"))
    opened = [one.last.end for one in transitions if one.state is AlertState.BEGIN]
    ended = [one.last.end for one in transitions if one.state is AlertState.END]
    return [Span(*times) for times in zip(opened, ended, strict=True)]


@dataclass(frozen=True)
class Compared:
    """One camera with and without the gate.

    Attributes:
        ungated, gated: the sheets of both.
    """

    ungated: ScoreSheet
    gated: ScoreSheet

    @classmethod
    def of(
        cls, scored: Scored, gated: Sequence[bool], chain: ChainSettings, incidents: Sequence[Span], watched: Span
    ) -> Compared:
        nothing = [False] * len(scored)
        sheets = [score(incidents, alerts(scored, kept, chain), watched) for kept in (nothing, gated)]
        return cls(*sheets)

    @property
    def lost(self) -> int:
        """Number of incidents that are found without the gate and not with it; others do not make up for them."""
        pairs = zip(self.ungated.outcomes, self.gated.outcomes, strict=True)
        return sum(before.delay is not None and after.delay is None for before, after in pairs)


def figures(
    name: str,
    gated: Sequence[bool],
    abnormal: Sequence[bool],
    compared: Sequence[Compared],
    unscored: Sequence[bool] = (),
) -> dict[str, Any]:
    """Return the figures of one set of footage.

    Args:
        gated, abnormal: of each clip: it is not sent; it shows an incident.
        compared: the cameras that were scored.
        unscored: of each incident that was not: a clip of it is not sent. Such an incident counts as lost.
    """
    scored = sum(one.ungated.incidents for one in compared)
    found: dict[str, Any] = {
        "footage": name,
        "clips": len(gated),
        "gated": int(np.sum(gated)),
        "abnormal_clips": int(np.sum(abnormal)),
        "abnormal_gated": int(np.sum(np.logical_and(gated, abnormal))),
        "incidents": scored + len(unscored),
        "incidents_scored": scored,
        "lost": sum(one.lost for one in compared) + sum(unscored),
    }
    if compared:
        ungated, with_gate = total(one.ungated for one in compared), total(one.gated for one in compared)
        found |= {
            "found_ungated": ungated.found,
            "found_gated": with_gate.found,
            "false_alarms_ungated": ungated.false_alarms,
            "false_alarms_gated": with_gate.false_alarms,
        }
    return found


def courtyards(model: str, seeds: range, minutes: float, kept: Path, bars: Progress) -> dict[str, Any]:
    """Compare rendered courtyards, with incidents at known times."""
    scorer = Scorer(model, progress=bars.console.print)
    scenes = [SceneSettings(seed=seed, seconds=60 * minutes) for seed in seeds]
    watches = watch(scenes, scorer, kept, bars)
    gated: list[bool] = []
    abnormal: list[bool] = []
    compared = []
    for one in bars.track(watches, description="courtyards through the gate"):
        gate = gate_of(scorer.chain)
        film = film_of(one.settings, kept)
        of_film = [not gate.push("film", clip.pixels).sent for clip in clips_of(film, scorer.clip)]
        scored = [(each.clip.start, each.clip.end, each.clip.score) for each in one.smoothed]
        spans = one.spans
        abnormal += [any(span.start < end and start < span.end for span in spans) for start, end, _ in scored]
        gated += of_film
        compared.append(Compared.of(scored, of_film, scorer.chain, spans, one.watched))
    assert all(Courtyard(one.settings).incidents == one.incidents for one in watches)
    return figures(f"courtyard, {len(seeds)} seeds of {minutes:g} min", gated, abnormal, compared)


def planted_fights(folder: Path, scored_films: int, bars: Progress) -> dict[str, Any]:
    """Compare fights that were planted into still cameras."""
    scorer = Scorer("fights", progress=bars.console.print)
    films = [video for video in fights(folder) if video.label]
    chosen = {video.path for video in films[:: max(1, len(films) // max(1, scored_films))]} if scored_films else set()
    gated: list[bool] = []
    abnormal: list[bool] = []
    compared = []
    unscored: list[bool] = []
    for number, video in enumerate(bars.track(films, description="planted fights")):
        clips = [clip.pixels for clip in clips_of(video.path, scorer.clip)]
        if not clips:
            continue
        rng = np.random.default_rng(number)
        before, after = clips[0][:1], clips[-1][-1:]
        gate = gate_of(scorer.chain)
        shown = [*stills(before, scorer.clip, rng), *clips, *stills(after, scorer.clip, rng)]
        of_film = [not gate.push("film", clip).sent for clip in shown]
        fight = [STILL_CLIPS <= at < STILL_CLIPS + len(clips) for at in range(len(of_film))]
        gated += of_film
        abnormal += fight
        if video.path in chosen:
            still, stays = (scorer.score_of(next(stills(picture, scorer.clip, rng))) for picture in (before, after))
            values = [still] * STILL_CLIPS + [scorer.score_of(clip) for clip in clips] + [stays] * STILL_CLIPS
            seconds = clip_seconds(scorer.clip)
            scored = [(at * seconds, (at + 1) * seconds, value) for at, value in enumerate(values)]
            span = Span(STILL_CLIPS * seconds, (STILL_CLIPS + len(clips)) * seconds)
            whole = Span(0.0, len(values) * seconds)
            compared.append(Compared.of(scored, of_film, scorer.chain, [span], whole))
        else:
            unscored.append(any(of_film[STILL_CLIPS : STILL_CLIPS + len(clips)]))
    return figures(f"{len(films)} fights in still cameras, {len(compared)} scored", gated, abnormal, compared, unscored)


def stills(picture: Pixels, spec: ClipSpec, rng: np.random.Generator) -> Iterator[Pixels]:
    """Yield clips of a still camera: one picture (1, H, W, 3) with the noise of a sensor, drawn once and shifted."""
    noise = NOISE * rng.standard_normal((spec.frames, spec.height, spec.width, 1), dtype=np.float32)
    for _ in range(STILL_CLIPS):
        shifted = np.roll(noise, rng.integers(0, spec.height, 2).tolist(), axis=(1, 2))
        yield np.clip(picture + shifted, 0, 255).round().astype(np.uint8)


def walkway(folder: Path, bars: Progress) -> dict[str, Any]:
    """Return the figures of Ped2's camera, whose films follow each other."""
    videos = sorted(ped2(folder), key=lambda video: (video.label, video.path))
    gate = gate_of()
    gated: list[bool] = []
    abnormal: list[bool] = []
    unscored: list[bool] = []
    for video in bars.track(videos, description="Ped2"):
        of_film = len(gated)
        for number, clip in enumerate(clips_of(video.path)):
            first, end = number * PLAIN.stride, number * PLAIN.stride + PLAIN.frames
            gated.append(not gate.push("camera", clip.pixels).sent)
            abnormal.append(any(begins < end and first < ends for begins, ends in video.intervals))
        for begins, ends in video.intervals:
            shows = [
                begins < number * PLAIN.stride + PLAIN.frames and number * PLAIN.stride < ends
                for number in range(len(gated) - of_film)
            ]
            unscored.append(any(kept and one for kept, one in zip(gated[of_film:], shows, strict=True)))
    return figures("Ped2, one camera", gated, abnormal, [], unscored)


def still_cameras(scene: Picture, kept: Path, bars: Progress) -> dict[str, float]:
    """Return the share of clips gated after the learning, for each camera before which nothing moves."""
    shares = {}
    for camera in bars.track(list(CAMERAS), description="still cameras"):
        film = kept / f"{camera.replace(' ', '-')}.mp4"
        if not film.exists():
            write(film, camera, scene, STILL_SECONDS, seed=len(camera))
        gate = gate_of()
        whys = [gate.push("film", clip.pixels).why for clip in clips_of(film)]
        judged = [why for why in whys if why is not Why.LEARNING]
        shares[camera] = round(judged.count(Why.STILL) / len(judged), 3)
    return shares


def cost(scene: Picture, kept: Path, rounds: int) -> dict[str, Any]:
    """Measure the processor time of a static camera, with and without the gate, against decoding alone."""
    film = kept / "static-640x480.mp4"
    if not film.exists():
        write(film, "still", scene, 20.0, seed=1)
    clips = list(clips_of(film))
    fights_scorer = Scorer("fights", progress=lambda _line: None)
    taken = alternate(
        {
            "decode": lambda: decode(film),
            "clips": lambda: exhaust(clips_of(film)),
            "gate": lambda: through_gate(gate_of(), (clip.pixels for clip in clips_of(film))),
            "gate alone": lambda: through_gate(gate_of(), (clip.pixels for clip in clips)),
            "score": lambda: fights_scorer.score_of(clips[0].pixels),
        },
        rounds=rounds,
        clock=time.process_time,
    )
    count = len(clips)
    floor = GateSettings().floor
    gated = [whole + count / floor * one for whole, one in zip(taken["gate"], taken["score"], strict=True)]
    ungated = [whole + count * one for whole, one in zip(taken["clips"], taken["score"], strict=True)]
    return {
        "gate_ms_a_clip": round(1000 * float(np.median(taken["gate alone"])) / count, 3),
        "score_ms_a_clip": round(1000 * float(np.median(taken["score"])), 1),
        "decode_ms_a_clip": round(1000 * float(np.median(taken["decode"])) / count, 2),
        "clip_seconds": clip_seconds(PLAIN),
        "cameras_against_decoding": ratio(taken["decode"], gated),
        "cameras_against_decoding_without_scoring": ratio(taken["decode"], taken["gate"]),
        "cutting_against_decoding": ratio(taken["decode"], taken["clips"]),
        "cameras_against_ungated": ratio(ungated, gated),
    }


def decode(film: Path) -> None:
    """Decode a film on one thread, and do nothing with its pictures."""
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _ in container.decode(stream):
            pass


def exhaust(items: Iterable[object]) -> None:
    """Take every item and forget it."""
    for _ in items:
        pass


def through_gate(gate: MotionGate, clips: Iterable[Pixels]) -> None:
    """Hand clips to a gate."""
    for clip in clips:
        gate.push("film", clip)


def page(results: dict[str, Any]) -> str:
    """Return the results as a table for a terminal."""
    lines = [
        "footage                                     clips  gated  abnormal gated  found ungated/gated  false alarms"
    ]
    for one in results["sets"]:
        alarms = "–"
        found = f"lost {one['lost']} of {one['incidents']}"
        if "found_gated" in one:
            found = f"{one['found_ungated']}/{one['found_gated']} of {one['incidents_scored']}, {found}"
            alarms = f"{one['false_alarms_ungated']}/{one['false_alarms_gated']}"
        share = one["gated"] / one["clips"]
        abnormal = f"{one['abnormal_gated']} of {one['abnormal_clips']}"
        lines.append(f"{one['footage']:<42} {one['clips']:>6} {share:>6.1%} {abnormal:>14}  {found:>19}  {alarms:>12}")
    lines += ["", "still camera         gated after learning"]
    lines += [f"{camera:<20} {share:>20.1%}" for camera, share in results["still_cameras"].items()]
    lines += [
        "",
        f"gate {results['gate_ms_a_clip']} ms a clip, decoding {results['decode_ms_a_clip']} ms, scoring "
        f"{results['score_ms_a_clip']} ms (processor time)",
        f"static cameras a core holds, against decoding alone: {results['cameras_against_decoding']} with one clip in "
        f"{results['gate'].floor} scored, {results['cameras_against_decoding_without_scoring']} without scoring, "
        f"{results['cutting_against_decoding']} without gate and scoring",
        f"against ungated: {results['cameras_against_ungated']} times as many",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
