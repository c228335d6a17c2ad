"""Write docs/RESULTS.md from the results that the benches have recorded under bench/results.

    python bench/results.py

This program measures nothing. Each bench writes its own JSON and page. This joins the pages under one table with each
figure, its target and the model that it judges. A bench that has not been run is listed as not measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alike_courtyard as likeness_bench
import muting as muting_bench
from learning_time import ASKED_MINUTES
from one_class_ped2 import KINDS, MOST_MILLISECONDS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "RESULTS.md"

INTRODUCTION = """\
# Results

Programs under `bench/` measured every figure below, and recorded their seeds, splits and settings in `bench/results/`.
`python bench/results.py` generates this page. Intervals contain 95 % of bootstrap draws over videos
(`operators/figures/`), and "better than" is a paired bootstrap. *Stage 1* is MIST's generator, a linear
head or both on pooled I3D features, as in `models/weights/`. *Contrast* means that these are differences from the
features of the standing scene. *Stage 2* is the self-guided-attention encoder that `mistwatch train mist` trains. A
rate is *not contradicted* when its interval contains the target: the footage is too short to decide.
"""

REPORTED = """\
## The paper's own numbers

MIST reports these figures with I3D on RGB: a frame AUC of 94.83 and 0.05 % false alarms on ShanghaiTech, 82.30 and
0.13 % on UCF-Crime. **We have not been able to run either on the full data**, which is not ours to redistribute. Both
ShanghaiTech recipes run in the tests, on a small stand-in with the real data's layout. [REPRODUCE.md](REPRODUCE.md)
lists the downloads and the commands.
"""


#: Name of the recipe that the folds of the fights compare with.
BEFORE = "stage 1 of 0.2.0"


@dataclass(frozen=True)
class Line:
    """One figure of the table."""

    what: str
    figure: str
    asked: str
    met: bool | str | None  #: None: without a target; a word: neither met nor missed
    judges: str


@dataclass(frozen=True)
class Section:
    """The recorded results of one bench."""

    name: str  #: stem of its files
    command: str
    lines: Callable[[dict[str, Any]], Iterator[Line]]


def fights(found: dict[str, Any]) -> Iterator[Line]:
    methods, differences = found["methods"], found["differences"]
    judges = f"recipe `{found['recipe']['name']}`, out of fold"
    yield Line(
        "fights, linear probe: video AUC", _auc(methods["linear probe"]["video_auc"]), "", None, "no model of ours"
    )
    yield Line("fights, stage 1: video AUC", _auc(methods["stage 1"]["video_auc"]), "", None, judges)
    stage_2 = methods["stage 2"]["video_auc"]
    asked = found["asked"]
    yield Line("fights, stage 2: video AUC", _auc(stage_2), f"≥ {asked:.2f}", stage_2["value"] >= asked, judges)
    gain = differences["stage 2 less stage 1"]["by video"]
    yield Line("fights, stage 2 less stage 1", _signed(gain), "interval above 0", gain["interval_95"][0] > 0, judges)
    first = differences["stage 1 less linear probe"]["by video"]
    yield Line("fights, stage 1 less linear probe", _signed(first), "≥ 0", first["value"] >= 0, judges)


def fights_folds(found: dict[str, Any]) -> Iterator[Line]:
    recipe, before = (found["methods"][name] for name in ("recipe", BEFORE))
    asked = found["asked"]
    judges = f"recipe `{found['recipe']['name']}`, out of fold, {len(found['divisions'])} divisions"
    names = {"video_auc": "video AUC", "video_recall_at_5": "recall at 5 % false positives"}
    for name, what in names.items():
        yield Line(f"fights, {BEFORE}: {what}", _by_film(before[name]), "", None, f"{BEFORE}, the same folds")
        figure, met = _by_film(recipe[name]), recipe[name]["value"] >= asked[name]
        yield Line(f"fights, contrast: {what}", figure, f"≥ {asked[name]:.2f}", met, judges)
    gain = recipe[f"less {BEFORE}"]["video_auc"]["by film"]
    what = f"fights, contrast less {BEFORE}: video AUC, by film"
    yield Line(what, _signed(gain), "interval above 0", gain["interval_95"][0] > 0, judges)
    held = found["committed"]
    judges = f"committed `{held['name']}`; the idea was found on folds that held these films"
    for name, what in names.items():
        yield Line(f"fights, held-out films: {what}", _by_film(held[name]), "", None, judges)
    gain = held[f"less {BEFORE}"]["video_auc"]["by film"]
    yield Line(f"fights, held-out films, less {BEFORE}: video AUC, by film", _signed(gain), "", None, judges)


def ped2(found: dict[str, Any]) -> Iterator[Line]:
    for name, method in found["methods"].items():
        auc = method["frame_auc"]
        ours = name.startswith("stage")
        judges = "retrained for each split" if ours else "no model of ours"
        asked = f"≥ {found['asked']:.2f}" if ours else ""
        met = auc["value"] >= found["asked"] if ours else None
        yield Line(f"Ped2, {name}: frame AUC", _auc(auc), asked, met, judges)


def one_class_ped2(found: dict[str, Any]) -> Iterator[Line]:
    kind = KINDS[found["detector"]]
    judges = f"{kind.title}, learned from {found['videos']} normal videos, judged on {found['test_videos']} others"
    begins = f"Ped2, one class, {kind.title}"
    for kernel, auc in found["frame_auc"].items():
        least = kind.asked.get("frame_auc") if int(kernel) == found["kernel"] else None
        yield _at_least(f"{begins}, average of {kernel}: frame AUC", auc, least, judges)
    if "pixel_auc" in found:
        yield _at_least(f"{begins}: pixel AUC", found["pixel_auc"], kind.asked.get("pixel_auc"), judges)
        yield _at_least(f"{begins}: PRO", found["pro"], kind.asked.get("pro"), judges)
    at, cost = found["at_open_threshold"], found["milliseconds_a_frame"]
    yield Line(f"{begins}: abnormal frames above the threshold", f"{at['abnormal']:.2f}", "", None, judges)
    yield Line(f"{begins}: normal frames above the threshold", f"{at['normal']:.3f}", "", None, judges)
    figure = f"{cost['median']:.1f} ms (95th percentile: {cost['p95']:.1f})"
    target = f"≤ {MOST_MILLISECONDS} ms"
    unit = "frame" if found.get("every", 1) == 1 else "clip"  # earlier results are of a clip for each frame
    yield Line(f"{begins}: a {unit} on one core", figure, target, cost["median"] <= MOST_MILLISECONDS, judges)


def ablation_students(found: dict[str, Any]) -> Iterator[Line]:
    judges = "slim networks, few steps; beside one another, not beside other figures"
    for field, by_maps in found["fields"].items():
        for name, figures in by_maps.items():
            yield Line(f"Ped2, students, {field}, {name}: frame AUC", _auc(figures["frame_auc"]), "", None, judges)
    for name, figures in found["losses"].items():
        yield Line(f"Ped2, students, p = 33, {name}: frame AUC", _auc(figures["frame_auc"]), "", None, judges)


def learning_time(found: dict[str, Any]) -> Iterator[Line]:
    yield Line(
        f"{found['detector']}: time to learn {found['footage_minutes']:g} minutes of footage",
        f"{found['minutes']:g} min (of a core: {found['processor_minutes']:g})",
        f"≤ {ASKED_MINUTES} min",
        found["minutes"] <= ASKED_MINUTES,
        f"{found['cores']} cores, load average {found['load_average'][0]:g} to {found['load_average'][1]:g}",
    )


def planted_incidents(found: dict[str, Any]) -> Iterator[Line]:
    gained = found["difference"]
    yield Line(
        f"Ped2, one class, {KINDS[found['detector']].title}: frame AUC lost by {100 * found['share']:g} % incidents",
        _signed(gained),
        f"≥ −{found['asked']:g}",
        gained["value"] >= -found["asked"],
        "learned with and without planted incidents, judged on the same videos",
    )


def learned_courtyard(found: dict[str, Any]) -> Iterator[Line]:
    for place, one in enumerate(found["models"]):
        judges = f"model `{one['model']['name']}`, weights `{one['model']['weights_sha256'][:12]}`"
        what = "learned from normal footage" if place == 0 else "beside it, supervised"
        for rate, point in one["points"].items():
            if rate not in found["asked"]:
                continue
            least = found["asked"][rate] if place == 0 else None
            low, high = point["interval_95"]
            figure = f"{point['recall']:.2f} ({low:.2f} to {high:.2f})"
            met = None if least is None else point["recall"] >= least
            asked = "" if least is None else f"≥ {least:g}"
            yield Line(f"courtyard, {what}: incidents found at {rate} false alarms", figure, asked, met, judges)


def one_class_baselines(found: dict[str, Any]) -> Iterator[Line]:
    for name, one in found["descriptors"].items():
        for method, figures in one["of"].items():
            begins = f"Ped2, one class, {method} on descriptors of {name}"
            kernel, auc = list(figures["frame_auc"].items())[-1]
            yield Line(f"{begins}: frame AUC over {kernel} frames", _auc(auc), "", None, "no model of ours")
            yield Line(f"{begins}: PRO", _auc(figures["pro"]), "", None, "no model of ours")


def halves(found: dict[str, Any]) -> Iterator[Line]:
    for detector, one in found["detectors"].items():
        low, high = one["interval_95"]
        what = f"{found['film']}, second half: false alarms an hour ({len(one['alerts'])} in {one['seconds']:.0f} s)"
        yield Line(what, f"{one['per_hour']:.0f} ({low:.0f} to {high:.0f})", "", None, f"{detector}, of the first half")


def standing_things(found: dict[str, Any]) -> Iterator[Line]:
    for one in found["models"]:
        for rate in ("30/hour", "6/hour"):
            if (point := one["points"].get(rate)) is not None:
                kinds = {"abandoned objects": point["abandoned"], "falls": point["kinds"].get("fall")}
                found_of = [f"{each['found']} of {each['incidents']} {kind}" for kind, each in kinds.items() if each]
                what = f"courtyard, things that lie still, {one['model']['name']}: found at {rate} false alarms"
                yield Line(what, ", ".join(found_of), "", None, "tried, not a detector")


def digits(found: dict[str, Any]) -> Iterator[Line]:
    for name, by_digit in found["held_out"].items():
        runs = [sum(one["runs"][seed] for one in by_digit) / 10 for seed in range(found["seeds"])]
        figure = f"{sum(runs) / len(runs):.3f} (seeds: {min(runs):.3f} to {max(runs):.3f})"
        what = f"handwritten digits, each held out as the anomaly, {name}: mean AUC"
        yield Line(what, figure, "", None, f"{found['seeds']} seeds, half of the other nine digits learned")


def alike_digits(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"{found['seeds']} seeds, {found['judged']} digits that were not learned from"
    last = list(found["methods"])[-1]
    for name, one in found["methods"].items():
        figure, aim = one["accuracy"], found["aim"]
        low, high = figure["interval_95"]
        asked, met = (f"≥ {aim:g}", figure["mean"] >= aim) if name == last else ("", None)
        what = f"handwritten digits without labels, {name}: clustering accuracy"
        yield Line(what, f"{figure['mean']:.3f} ({low:.3f} to {high:.3f})", asked, met, judges)
    nearest = found["neighbours"]["knn_accuracy"]
    what = "handwritten digits, class by neighbours in SimCLR's embedding: accuracy"
    yield Line(what, f"{nearest['mean']:.3f} (seeds: ± {nearest['spread']:.3f})", "", None, judges)


def alike_courtyard(found: dict[str, Any]) -> Iterator[Line]:
    asked, trained = likeness_bench.ASKED, likeness_bench.TRAINED
    for name, one in found["sets"].items():
        judges = f"`{found['model']['name']}`, {one['clips']} clips of fresh days"
        for variant in (likeness_bench.FROZEN, trained, likeness_bench.RANDOM):
            for figure, what in (("accuracy", "kind by neighbours, accuracy"), ("nmi", "clusters, NMI")):
                value, least = one[variant][figure], asked[figure]
                target, met = (f"≥ {least:g}", value["value"] >= least) if variant == trained else ("", None)
                yield Line(f"courtyard, {name}, {variant}: {what}", _within(value), target, met, judges)
        gained = one["trained_minus_frozen"]
        figure = f"{gained['value']:+.3f} ({gained['low']:+.3f} to {gained['high']:+.3f})"
        what = f"courtyard, {name}, {trained} less frozen features: accuracy"
        yield Line(what, figure, "interval above 0", gained["low"] > 0, judges)


def muting(found: dict[str, Any]) -> Iterator[Line]:
    asked = muting_bench.ASKED
    for one in found["at"]:
        suggested = one["similarity"] == found["model"]["mute_similarity"]
        first, shares = one["first_judged"], one["at_random"]
        begins = f"a mute from similarity {one['similarity']:g}{' (suggested)' if suggested else ''}"
        for kind in ("umbrellas", "incidents"):
            mean, low, high = (shares[kind][name] for name in ("mean", "low", "high"))
            share, met = asked[f"muted_{kind}"], None
            if suggested and kind == "umbrellas":
                met = mean >= share
            elif suggested:
                few = first["incidents"] < asked["incidents"]
                met = "too few incidents" if mean <= share and few else mean <= share
            target = f"{'≥' if kind == 'umbrellas' else '≤'} {100 * share:g} %" if suggested else ""
            figure = f"{mean:.0%} (middle 90 % of draws: {low:.0%} to {high:.0%})"
            judges = f"`{found['model']['name']}`, {first[kind]} later alerts, {found['judged']} judged"
            yield Line(f"{begins}: muted {kind}", figure, target, met, judges)


def ignore_zones(found: dict[str, Any]) -> Iterator[Line]:
    seeds = len(found["seeds"])
    for model in found["models"]:
        way = found["used"][model["name"]]
        before, now = model["ways"]["without zones"], model["ways"][way]
        judges = f"`{model['name']}`, by {'the' if way == 'standing scene' else 'a'} {way}, {seeds} seeds"
        inside = now["inside_found"]
        was = f"(without zones {before['inside_found']})"
        yield Line("ignore zones: incidents inside that raise an alert", f"{inside} {was}", "0", inside == 0, judges)
        outside, lost = now["outside_found"], len(now["lost"])
        was = f"of {before['outside_found']} without zones"
        yield Line(
            "ignore zones: incidents outside still found", f"{outside - len(now['won'])} {was}", "all", not lost, judges
        )


def addition_cost(found: dict[str, Any]) -> Iterator[Line]:
    asked, before, after = found["asked"], *found["load_average"].values()
    of = found["of"]
    judges = f"{found['cameras']} live cameras, load average {before:g} to {after:g}"
    for name, what in (
        ("share", "all processes"),
        ("share_by_parts", "worker and second model alone"),
    ):
        low, median, high = (found[name][part] for part in ("lowest", "median", "highest"))
        figure = f"{median:+.1%} ({len(found['pairs'])} pairs: {low:+.1%} to {high:+.1%})"
        target = f"≤ {100 * asked['share']:g} %"
        yield Line(f"{of}, processor time, {what}", figure, target, _kept(low, high, asked["share"]), judges)
    held = found["held_ms"]
    figure = f"{held['highest']:.1f} ms (median: {held['median']:.1f}, 99 %: {held['p99']:.1f})"
    what = f"{of}, longest time that an event was held back, of {held['events']}"
    yield Line(what, figure, f"≤ {asked['held_ms']:g} ms", held["highest"] <= asked["held_ms"], judges)
    outcomes = found["outcomes"]
    figure = (
        f"{outcomes['in_time']} of {sum(outcomes.values())} ({outcomes['late']} late, {outcomes['missing']} missing)"
    )
    yield Line(f"{of}, alerts that begin with it", figure, "", None, judges)


def published(found: dict[str, Any]) -> Iterator[Line]:
    auc = found["left_out"]["per_video_auc"]
    yield Line(
        "UCF-Crime C3D features, left-out videos: AUC within a video", _auc(auc), "it runs", True, "stage 1, 8 videos"
    )


def pseudo_labels(found: dict[str, Any]) -> Iterator[Line]:
    figure = f"{found['frame_auc']:.7f} (known: {found['known']['frame_auc']:.7f})"
    met = found["difference"] <= found["asked"]
    what = "MIST's published pseudo labels of ShanghaiTech: frame AUC"
    yield Line(what, figure, f"within {found['asked']:g} of it", met, "no model of ours")


def courtyard(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"model `{found['model']['name']}`, weights `{found['model']['weights_sha256'][:12]}`"
    judges += f", {found['camera_hours']:.2f} h"
    asked = found["asked"]
    recall, rate, delay = asked["recall"], asked["false_alarms_per_camera_hour"], asked["p95_delay"]
    for name, what, unit, target, met in (
        ("recall", "incidents found", "", f"≥ {100 * recall:g} %", lambda x: x >= recall),
        (
            "false_alarms_per_camera_hour",
            "false alarms per camera-hour",
            "",
            f"≤ {rate:g}",
            lambda x: x <= rate,
        ),
        ("p95_delay", "95th percentile of the delay", " s", f"≤ {delay:g} s", lambda x: x <= delay),
    ):
        value, (low, high) = found["figures"][name]["value"], found["figures"][name]["interval_95"]
        figure = f"{value:.3g}{unit} ({low:.3g} to {high:.3g})"
        yield Line(f"courtyard, {what}", figure, target, met(value), judges)


def extraction(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"no model: speed on {found['machine']['device']}, engine {found['engine']}"
    for what, one in found["extraction"].items():
        ratio, aim = one["ratio"], one["aim"]
        yield Line(f"extraction of {what}, relative to the engine", f"{ratio:.2f}", f"≥ {aim:g}", ratio >= aim, judges)


def calibration(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"model `{found['model']['name']}`, weights `{found['model']['weights_sha256'][:12]}`"
    for one in found["budgets"]:
        what = f"courtyards without incidents, calibrated to {one['budget']}: false alarms per hour"
        if "refused" in one:
            yield Line(what, "refused: too little footage", "", None, judges)
            continue
        low, high = one["checked_on"]["interval_95"]
        figure = f"{one['checked_on']['per_hour']:.1f} ({low:.1f} to {high:.1f})"
        yield Line(what, figure, f"≤ {one['budget_per_hour']:g}", _kept(low, high, one["budget_per_hour"]), judges)


def day(found: dict[str, Any]) -> Iterator[Line]:
    yield from _day(found, f"`{found['model']['name']}`, footage that it never saw")
    if (before := found.get("before")) is not None:
        yield from _day(before, f"0.2.0's `{before['model']['name']}`, the same day")


def _day(found: dict[str, Any], judges: str) -> Iterator[Line]:
    for row in found["rows"]:
        name = f"a day, {row['thresholds']}"
        if "refused" in row:
            yield Line(name, "refused: too little footage", "", None, judges)
            continue
        (low, high), (fewest, most) = row["recall_interval_95"], row["false_alarms_interval_95"]
        yield Line(f"{name}: recall", f"{row['recall']:.2f} ({low:.2f} to {high:.2f})", "", None, judges)
        rate, budget = row["false_alarms_per_hour"], row.get("budget_per_hour")
        asked, met = ("", None) if budget is None else (f"≤ {budget:g}", _kept(fewest, most, budget))
        yield Line(f"{name}: false alarms per hour", f"{rate:.1f} ({fewest:.1f} to {most:.1f})", asked, met, judges)
        delay = row["median_delay"]
        yield Line(f"{name}: delay, median", "–" if delay is None else f"{delay:.2f} s", "", None, judges)


def ordinary(found: dict[str, Any]) -> Iterator[Line]:
    most = found["asked"]
    for name, variant in found["variants"].items():
        judges = f"{name}, trained without the place"
        is_ours = name == "recipe"
        for place in found["asked_of"]:
            share = variant["places"][place]["share_above"]
            met = share["value"] <= most if is_ours else None
            what = f"ordinary footage, {place}: share above the threshold"
            yield Line(what, _divisions(share, 2), f"≤ {most:.2f}" if is_ours else "", met, judges)
        what = f"ordinary footage, {60 * variant['hours']:.0f} minutes: alerts per hour"
        yield Line(what, _divisions(variant["alerts_per_hour"], 1), "", None, judges)


def contrast_scenes(found: dict[str, Any]) -> Iterator[Line]:
    for name, one in found["sets"].items():
        judges = f"stage 1 of `{one['recipe']['name']}`, retrained"
        for variant, method in one["methods"].items():
            auc, least = method["frame_auc"], one["asked"]
            asked, met = ("", None) if least is None else (f"≥ {least:.2f}", auc["value"] >= least)
            yield Line(f"{name}, {variant}: frame AUC", _auc(auc), asked, met, judges)


def misleading(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"committed `{found['model']['name']}`, {found['films']} normal films that it never saw"
    for name, change in found["changes"].items():
        yield Line(f"share of clips above the threshold: {name}", f"{change['share_above']:.2f}", "", None, judges)


def clip_cost(found: dict[str, Any]) -> Iterator[Line]:
    judges, asked = f"no model: cost of `{found['model']['name']}` relative to 0.2.0's", found["asked"]
    for name, ratio in found["clip"]["ratio"].items():
        figure = f"{ratio['median']:.2f} (5th to 95th percentile: {ratio['p5']:.2f} to {ratio['p95']:.2f})"
        most = asked.get(name)
        target, met = ("", None) if most is None else (f"≤ {most:g}", ratio["median"] <= most)
        yield Line(f"a clip, {name}", figure, target, met, judges)
    most, exact = asked["second of footage"], asked["score difference"]
    for name, one in found["films"].items():
        cost, difference = one["second_of_footage"], one["largest_difference"]
        what = f"a second of {name} (scene reused in {one['reused']:.0%})"
        yield Line(what, f"{cost:.2f}", f"≤ {most:g}", cost <= most, judges)
        what = f"largest difference of a score by reuse, {name}"
        yield Line(what, f"{difference:.2g}", f"≤ {exact:g}", difference <= exact, judges)


def labelled_sets(found: dict[str, Any]) -> Iterator[Line]:
    for one in found["sets"]:
        judges = f"model `{one['model']['name']}`, weights `{one['model']['weights_sha256'][:12]}`, unseen videos"
        for row in one["rows"]:
            (low, high), (fewest, most) = row["recall_interval_95"], row["false_alarms_interval_95"]
            figure = f"{row['found'] / row['incidents']:.2f} ({low:.2f} to {high:.2f})"
            yield Line(f"{one['name']}, {row['thresholds']}: recall", figure, "", None, judges)
            calibrated = row is not one["rows"][0]
            asked = f"≤ {one['budget_per_hour']:g}" if calibrated else ""
            met = _kept(fewest, most, one["budget_per_hour"]) if calibrated else None
            figure = f"{row['false_alarms_per_hour']:g} ({fewest:g} to {most:g})"
            yield Line(f"{one['name']}, {row['thresholds']}: false alarms per hour", figure, asked, met, judges)


def drift(found: dict[str, Any]) -> Iterator[Line]:
    simulation, film = found["simulation"], found["film"]
    judges = "no model: simulated scores"
    for seconds, count in simulation["false_reports"].items():
        what = f"drift, scores that hang together for {seconds} s: false reports in {simulation['days']} days"
        # One in a year is stated while the expected share of a minute, given all earlier ones, is at most a fifth.
        # Scores that hang together for minutes break that.
        asked, met = ("0", count == 0) if int(seconds) <= 60 else ("", None)
        yield Line(what, str(count), asked, met, judges)
    for share, one in simulation["noticed_minutes"].items():
        what = f"drift, {float(share):.0%} of clips above the learned 90 % quantile: reported after"
        figure, met = f"{one['median']:.0f} min (longest: {one['longest']:.0f})", one["median"] <= 60
        yield Line(what, figure, "≤ 60 min", met, judges)
    judges = f"motion, learned from the first half of {film['name']}"
    for name, one in film["changes"].items():
        minutes = one["noticed_minutes"]
        figure = "silent" if minutes is None else f"after {minutes} min"
        asked, met = ("silent", minutes is None) if name == "as it is" else ("", None)
        yield Line(f"drift, second half {name}", f"{figure} ({one['share_above']:.0%} of clips)", asked, met, judges)


def tamper(found: dict[str, Any]) -> Iterator[Line]:
    judges = "no model: looks at pictures"
    alarms = sum(len(one["begun"]) for one in found["ordinary"])
    hours = sum(one["seconds"] for one in found["ordinary"]) / 3600
    yield Line(f"tampering, false alarms in {hours:.1f} h of ordinary footage", str(alarms), "0", alarms == 0, judges)
    for name in dict.fromkeys(one["trial"] for one in found["trials"]):
        ones = [one for one in found["trials"] if one["trial"] == name]
        if not ones[0]["expected"]:
            reports = sum(len(one["kinds"]) for one in ones)
            yield Line(f"tampering, {name}: reports", f"{reports} in {len(ones)}", "0", reports == 0, judges)
            continue
        noticed = [one["delay_seconds"] for one in ones if one["delay_seconds"] is not None]
        delay = f", within {max(noticed)} s" if noticed else ""
        yield Line(f"tampering, {name}: noticed", f"{len(noticed)} of {len(ones)}{delay}", "", None, judges)


def replay(found: dict[str, Any]) -> Iterator[Line]:
    memory = found["memory"]
    growth = memory["growth_after_first_tenth_mb"]
    figure = f"{growth:+.1f} MB of {memory['rss_mb_by_tenth'][-1]:.0f}"
    what = "replay of an hour: growth of memory after the first tenth"
    yield Line(what, figure, "flat", growth < 10, "no model: memory")


def parts(found: dict[str, Any]) -> Iterator[Line]:
    for name, one in found["families"].items():
        figure, asked = f"{one['one_more_mb']:.1f} MB", found["asked_mb"]
        what = f"one more camera among {found['cameras']} in a hosting model, `{name}`"
        yield Line(what, figure, f"≤ {asked:g} MB", one["one_more_mb"] <= asked, "drawn values of the default size")


def families(_found: dict[str, Any]) -> Iterator[Line]:
    yield from ()  # its page is a table of the figures of others


def courtyard_families(found: dict[str, Any]) -> Iterator[Line]:
    for name, one in found["detectors"].items():
        judges = f"`{name}`, {found['test_seconds']:.0f} s of unseen days"
        yield Line(f"courtyard, {name}: frame AUC", _auc(one["frame_auc"]), "", None, judges)
        yield Line(f"courtyard, {name}: recall at 2 %", _auc(one["frame_recall_at_2"]), "", None, judges)


def classifier_fights(found: dict[str, Any]) -> Iterator[Line]:
    for name, one in found["classifiers"].items():
        judges = f"classifier on {name}, out of fold, {found['divisions']} divisions"
        yield Line("fights, frames: video AUC", _auc(one["video_auc"]), "", None, judges)


def few_pictures(found: dict[str, Any]) -> Iterator[Line]:
    for kind, one in found["kinds"].items():
        for number, draws in one["draws"].items():
            values = [draw["auc"] for draw in draws]
            figure = f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f}, {len(values)} draws)"
            yield Line(f"courtyard, {kind}s from {number} pictures: AUC", figure, "", None, "classifier")


def alert_history(found: dict[str, Any]) -> Iterator[Line]:
    milliseconds = found["consider_ms"]["median"]
    what = f"a new alert among {found['alerts']:,}: time of a core"
    yield Line(
        what, f"{milliseconds} ms (99 %: {found['consider_ms']['p99']} ms)", "≤ 20 ms", milliseconds <= 20, "likeness"
    )


def places_courtyard(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"{found['seeds']} seeds, {found['judged']}"
    for kind, one in found["kinds"].items():
        accuracy, iou = (one["only_boxed"][figure]["value"] for figure in ("mean_accuracy", "mean_iou"))
        what = f"courtyard, {kind}: classes of boxes alone, mean accuracy and mean IoU"
        yield Line(what, f"{accuracy:.3f}, {iou:.3f}", "", None, judges)
    for other, figures in found["differences"].items():
        for figure, gained in figures.items():
            what = f"courtyard, hierarchical less {other}: classes of boxes alone, {figure.replace('_', ' ')}"
            within = f"{gained['value']:+.3f} ({gained['low']:+.3f} to {gained['high']:+.3f})"
            target, met = ("interval above 0", gained["low"] > 0) if other == "flat" else ("", None)
            yield Line(what, within, target, met, judges)


def places_alerts(found: dict[str, Any]) -> Iterator[Line]:
    judges = f"{len(found['seeds']) // 2} demos with two cameras"
    for detector, one in found["detectors"].items():
        for name, what in (("place", "place"), ("object", "thing")):
            low, high = one[name]["interval_95"]
            figure = f"{one[name]['share']:.2f} ({low:.2f} to {high:.2f}) of {one['alerts']}"
            asked = found["asked"][name]
            label = f"alerts of `{detector}` about an incident: {what} right"
            yield Line(label, figure, f"≥ {asked:.1f}", one[name]["share"] >= asked, judges)


def places_samples(found: dict[str, Any]) -> Iterator[Line]:
    for level in found["levels"]:
        what = f"street scenes, level {level['level']} of the paper's tree: mean pixel accuracy, mean IoU"
        figure = f"{level['mean_accuracy']:.3f}, {level['mean_iou']:.3f}"
        yield Line(what, figure, "", None, f"the authors' decisions on {found['pictures']} pictures")


SECTIONS = (
    Section("families", "python bench/families.py", families),
    Section("fights_mist", "python bench/fights_mist.py", fights),
    Section("fights_folds", "python bench/fights_folds.py", fights_folds),
    Section("classifier_fights", "python bench/classifier_fights.py", classifier_fights),
    Section("ordinary", "python bench/ordinary.py --only", ordinary),
    Section("ped2", "python bench/ped2.py", ped2),
    *(
        Section(f"one_class_ped2-{name}", f"python bench/one_class_ped2.py --detector {name}", one_class_ped2)
        for name in KINDS
    ),
    Section("one_class_baselines", "python bench/one_class_baselines.py", one_class_baselines),
    Section("digits", "python bench/digits.py", digits),
    Section("alike_digits", "python bench/alike_digits.py", alike_digits),
    Section("alike_courtyard", "python bench/alike_courtyard.py", alike_courtyard),
    Section("muting", "python bench/muting.py", muting),
    Section("alike_cost", "python bench/addition_cost.py --of likeness", addition_cost),
    Section("ignore_zones", "python bench/ignore_zones.py", ignore_zones),
    Section("halves", "python bench/halves.py", halves),
    Section("ablation_students", "python bench/ablation_students.py", ablation_students),
    Section("planted_incidents-motion", "python bench/planted_incidents.py", planted_incidents),
    Section("learning_time-motion", "python bench/learning_time.py --detector motion", learning_time),
    Section("learning_time-fused", "python bench/learning_time.py", learning_time),
    Section(
        "contrast_scenes",
        "python bench/contrast_scenes.py --set 'layers=[mixed_4f,mixed_5b,mixed_5c]'",
        contrast_scenes,
    ),
    Section("published_features", "python bench/published_features.py", published),
    Section("pseudo_labels", "python bench/pseudo_labels.py", pseudo_labels),
    Section("courtyard", "python bench/courtyard.py", courtyard),
    Section(
        "courtyard-hours/courtyard",
        "python bench/courtyard.py --first-seed 19101 --count 10 --minutes 10 --results bench/results/courtyard-hours",
        courtyard,
    ),
    Section(
        "courtyard-mist/courtyard",
        "python bench/courtyard.py --model runs/courtyard-mist/product --results bench/results/courtyard-mist",
        courtyard,
    ),
    Section("learned_courtyard-motion", "python bench/learned_courtyard.py --count 6 --objects 3", learned_courtyard),
    Section("courtyard_families", "python bench/courtyard_families.py", courtyard_families),
    Section("few_pictures", "python bench/few_pictures.py", few_pictures),
    Section("standing_things", "python bench/standing_things.py --count 6 --objects 3", standing_things),
    Section("day", "python bench/day.py", day),
    Section("calibration", "python bench/calibration.py", calibration),
    Section("labelled_sets", "python bench/labelled_sets.py", labelled_sets),
    Section("drift", "python bench/drift.py", drift),
    Section("tamper", "python bench/tamper.py --films FOLDER --seeds 7401 7402", tamper),
    Section("misleading", "python bench/misleading.py", misleading),
    Section("features", "python bench/features.py", extraction),
    Section("clip_cost", "python bench/clip_cost.py --clips 20", clip_cost),
    Section("parts", "python bench/parts.py", parts),
    Section("replay", "python bench/replay.py --hour", replay),
    Section("places_courtyard", "python bench/places_courtyard.py", places_courtyard),
    Section("places_alerts", "python bench/places_alerts.py", places_alerts),
    Section("place_cost", "python bench/addition_cost.py --of place", addition_cost),
    Section("places_samples", "python bench/places_samples.py", places_samples),
    Section("alert_history", "python bench/alert_history.py", alert_history),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the benches' results")
    parser.add_argument("--page", type=Path, default=PAGE, help="page to write")
    options = parser.parse_args()
    options.page.write_text(page(options.results), encoding="utf-8")
    print(f"written: {options.page}")


def page(folder: Path) -> str:
    """Build the page from the benches' files in ``folder``."""
    table = ["| figure | value (95 %) | target | verdict | model |", "|---|--:|---|---|---|"]
    pages = []
    for section in SECTIONS:
        try:
            found = json.loads((folder / f"{section.name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            table.append(f"| {section.name} | not measured yet | | | run `{section.command}` |")
            continue
        for line in section.lines(found):
            verdict = {True: "met", False: "**missed**", None: ""}.get(line.met, line.met)
            table.append(f"| {line.what} | {line.figure} | {line.asked} | {verdict} | {line.judges} |")
        own = folder / f"{section.name}.md"
        if own.exists():
            pages.append(_demoted(own.read_text(encoding="utf-8")) + f"\nCommand: `{section.command}`.\n")
    return "\n".join([INTRODUCTION, *table, "", *pages, REPORTED])


def _demoted(text: str) -> str:
    """Lower the headings of a page by one level, to make it a section of another."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.rstrip().splitlines()) + "\n"


def _kept(low: float, high: float, budget: float) -> bool | str:
    """Judge a rate's interval against a budget: a few minutes without an alarm do not prove that it is kept."""
    return True if high <= budget else False if low > budget else "not contradicted"


def _auc(summary: dict[str, Any]) -> str:
    low, high = summary["interval_95"]
    return f"{summary['value']:.3f} ({low:.3f} to {high:.3f})"


def _within(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _at_least(what: str, summary: dict[str, Any], least: float | None, judges: str) -> Line:
    if least is None:
        return Line(what, _auc(summary), "", None, judges)
    return Line(what, _auc(summary), f"≥ {least:g}", summary["value"] >= least, judges)


def _divisions(figure: dict[str, Any], digits: int) -> str:
    low, high = min(figure["by_division"]), max(figure["by_division"])
    return f"{figure['value']:.{digits}f} (divisions: {low:.{digits}f} to {high:.{digits}f})"


def _by_film(summary: dict[str, Any]) -> str:
    low, high = summary["interval_95_by_film"]
    return f"{summary['value']:.3f} ({low:.3f} to {high:.3f})"


def _signed(summary: dict[str, Any]) -> str:
    low, high = summary["interval_95"]
    return f"{summary['value']:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
