"""Judge the embedding of the courtyard's alerts: do an alert's neighbours show the same kind of incident?

    python bench/alike_courtyard.py [--model alike-courtyard] [--count 20] [--seconds 100]

writes bench/results/alike_courtyard.json and .md. The days have seeds that no training and no choice used. Two sets of
clips are judged. *Incidents*: the middle clip of every incident by the renderer's truth, and clips of hard normals
(open umbrellas, joggers, dogs) at least 2.5 s apart. *Alerts*: the clip of the peak with which each alert of the
committed model begins; an alert without an incident is of the kind "normal". The neighbours of a clip are sought among
the other days. Compared are the model's features as they are (standardised as the embedding model does it), the
embedding, and the features of a backbone with random weights (of the clip alone). Intervals of accuracies resample
days, those of NMI leave one out at a time.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from alike_scenes import NORMAL, Day, alerts_of, embedder_of, features_of_clips, watched_days
from courtyard import COOLDOWN_SECONDS
from recorded import record
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from models.alike.served.card import EmbeddingCard
from models.alike.served.embedder import Embedder
from operators.grouping import Grouping
from pipeline.errors import MistwatchError

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
KEPT = ROOT / "runs" / "alike-courtyard"
#: Reserved for this bench and bench/muting.py.
FIRST_SEED, DAYS, SECONDS = 23001, 20, 100.0
NEIGHBOURS, TEMPERATURE = 20, 0.1
#: Hard normals of one day are taken so far apart, seconds, so that one person is not counted again and again.
APART_SECONDS = 2.5
CLUSTER_SEEDS = 5
DRAWS = 2000
ASKED = {"accuracy": 0.85, "nmi": 0.6}

Floats = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]

FROZEN, TRAINED, RANDOM = "frozen features", "trained embedding", "random network"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="alike-courtyard", help="committed embedding model, or a folder of training")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--count", type=int, default=DAYS, help="number of days")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the films")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of alike_courtyard.json and .md")
    options = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    seeds = range(options.first_seed, options.first_seed + options.count)
    try:
        card, embedder = embedder_of(options.model)
        with Progress(*columns, console=Console(stderr=True)) as bars:
            days = watched_days(seeds, options.seconds, card.features, options.kept, bars)
            sets = {"incidents": incidents(days), "alerts": alerts(days)}
            chosen = [sorted({clip for one in sets.values() for clip in one.clips_of(day)}) for day in range(len(days))]
            random = features_of_clips(days, chosen, card.features, options.kept, bars)
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "model": {"name": card.name, "version": card.version, "similarity": card.similarity},
        "seeds": [seeds[0], seeds[-1]],
        "seconds": options.seconds,
        "neighbours": NEIGHBOURS,
        "draws": DRAWS,
        "sets": {name: judged(one, days, card, embedder, random) for name, one in sets.items()},
    }
    record(options.results, "alike_courtyard", results, page(results))
    print(page(results), end="")


class Clips:
    """Clips with their kinds.

    Attributes:
        day, clip: int64 (n,), ordinals of the day and of its clip.
        kind: (n,), of the incident; ``normal`` for hard normals.
    """

    def __init__(self, rows: Sequence[tuple[int, int, str]]) -> None:
        self.day = np.array([day for day, _, _ in rows], np.int64)
        self.clip = np.array([clip for _, clip, _ in rows], np.int64)
        self.kind = np.array([kind for _, _, kind in rows])

    def clips_of(self, day: int) -> list[int]:
        """Return the clips of one day."""
        return [int(clip) for clip in self.clip[self.day == day]]


def incidents(days: Sequence[Day]) -> Clips:
    """Return the middle clips of incidents, and clips of hard normals."""
    rows = []
    for number, day in enumerate(days):
        middles = [(day.middle_of(incident), str(incident.kind)) for incident in day.incidents]
        rows += [(number, middle, kind) for middle, kind in middles if middle is not None]
        last = -np.inf
        for clip in np.flatnonzero(day.free_of_incidents):
            if day.ordinary[clip] and day.start[clip] >= last + APART_SECONDS:
                last = float(day.start[clip])
                rows.append((number, int(clip), NORMAL))
    return Clips(rows)


def alerts(days: Sequence[Day]) -> Clips:
    """Return the peaks with which the alerts of the committed model begin."""
    found = alerts_of(days, "courtyard", cooldown_seconds=COOLDOWN_SECONDS)
    return Clips([(number, alert.peak, alert.kind) for number, of_day in enumerate(found) for alert in of_day])


def judged(
    clips: Clips, days: Sequence[Day], card: EmbeddingCard, embedder: Embedder, random: Sequence[dict[int, Floats]]
) -> dict[str, Any]:
    """Return the figures of a set of clips, for each kind of features."""
    plain = np.stack([days[day].described(clip) for day, clip in zip(clips.day, clips.clip, strict=True)])
    noise = np.stack([random[day][clip] for day, clip in zip(clips.day, clips.clip, strict=True)])
    variants = {
        FROZEN: unit(embedder.standardised(plain)),
        TRAINED: embedder.embed(plain),
        RANDOM: unit((noise - noise.mean(0)) / (noise.std(0) + 1e-6)),
    }
    right = {name: right_by_neighbours(values, clips) for name, values in variants.items()}
    draw = np.random.default_rng(0)
    # The same draws of days for all variants.
    draws = [draw.integers(len(days), size=len(days)) for _ in range(DRAWS)]
    rows = [np.flatnonzero(clips.day == day) for day in range(len(days))]
    resampled = [np.concatenate([rows[day] for day in days_drawn]) for days_drawn in draws]
    figures: dict[str, Any] = {"clips": len(clips.kind), "kinds": dict(sorted(Counter(clips.kind.tolist()).items()))}
    for name, values in variants.items():
        clusters = [kmeans(values, clips, seed) for seed in range(CLUSTER_SEEDS)]
        agreements = [normalized_mutual_info_score(clips.kind, found) for found in clusters]
        figures[name] = {
            "accuracy": estimate(right[name], resampled),
            "accuracy_by_kind": {
                kind: round(float(right[name][clips.kind == kind].mean()), 3) for kind in figures["kinds"]
            },
            "nmi": {**jackknife(clips, clusters, rows), "spread": round(float(np.std(agreements)), 3)},
        }
    figures["trained_minus_frozen"] = estimate(right[TRAINED].astype(float) - right[FROZEN], resampled)
    figures["online_groups"] = grouped(variants[TRAINED], clips, card.similarity)
    return figures


def right_by_neighbours(values: Floats, clips: Clips) -> npt.NDArray[np.bool_]:
    """Return for each clip whether its weighted nearest neighbours on other days give its kind, (n,)."""
    similarity = values @ values.T
    similarity[clips.day[:, None] == clips.day[None]] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    weights = np.exp(np.take_along_axis(similarity, nearest, 1) / TEMPERATURE)
    kinds = np.unique(clips.kind)
    votes = np.stack([(weights * (clips.kind[nearest] == kind)).sum(1) for kind in kinds], axis=1)
    found: npt.NDArray[np.bool_] = kinds[votes.argmax(1)] == clips.kind
    return found


def kmeans(values: Floats, clips: Clips, seed: int) -> npt.NDArray[np.int32]:
    """Return the cluster of each clip; as many clusters as kinds."""
    number = len(np.unique(clips.kind))
    found: npt.NDArray[np.int32] = KMeans(number, n_init=10, random_state=seed).fit_predict(values)
    return found


def jackknife(
    clips: Clips, clusters: Sequence[npt.NDArray[np.int32]], rows: Sequence[npt.NDArray[np.int64]]
) -> dict[str, float]:
    """Return the mean NMI of the clusterings, with a 95 % interval by leaving out one day at a time.

    Days that are drawn with repeats, as for the accuracy, would hold the same clip twice, which raises the NMI.
    """

    def mean(chosen: npt.NDArray[np.int64]) -> float:
        scores = [normalized_mutual_info_score(clips.kind[chosen], found[chosen]) for found in clusters]
        return float(np.mean(scores))

    value = mean(np.arange(len(clips.kind)))
    left = np.array([mean(np.delete(np.arange(len(clips.kind)), day)) for day in rows])
    error = float(np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()))
    return {
        "value": round(value, 3),
        "low": round(value - 1.96 * error, 3),
        "high": round(value + 1.96 * error, 3),
    }


def grouped(values: Floats, clips: Clips, similarity: float) -> dict[str, Any]:
    """Return how the live grouping does, in the order of the days: groups, their agreement with the kinds, purity."""
    grouping = Grouping(similarity)
    groups = np.array([grouping.assign(str(row), values[row]).group for row in range(len(values))])
    most = sum(Counter(clips.kind[groups == group].tolist()).most_common(1)[0][1] for group in np.unique(groups))
    return {
        "groups": len(grouping),
        "nmi": round(float(normalized_mutual_info_score(clips.kind, groups)), 3),
        "purity": round(most / len(groups), 3),
    }


def estimate(values: npt.NDArray[Any], resampled: Sequence[npt.NDArray[np.int64]]) -> dict[str, float]:
    """Return the mean with its 95 % interval over the draws."""
    means = [float(values[chosen].mean()) for chosen in resampled]
    low, high = np.quantile(means, (0.025, 0.975))
    return {"value": round(float(values.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def unit(values: npt.NDArray[Any]) -> Floats:
    """Scale rows to length 1."""
    found: Floats = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    return found


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    first, last = results["seeds"]
    lines = [
        "# Likeness of the courtyard's alerts",
        "",
        f"Embedding `{results['model']['version']}`, days of {results['seconds']:g} s with seeds {first} to {last}, "
        "which no training and no choice used.",
        f"Kind by {results['neighbours']} weighted nearest neighbours on other days; NMI of k-means with as many "
        f"clusters as kinds (mean of {CLUSTER_SEEDS} seeds). In brackets: 95 % intervals over days.",
        f"Asked: accuracy {ASKED['accuracy']}, NMI {ASKED['nmi']}, and the trained embedding above frozen features.",
    ]
    for name, one in results["sets"].items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in one["kinds"].items())
        lines += ["", f"## {name.capitalize()}: {one['clips']} clips ({kinds})", ""]
        lines += ["| | accuracy of the kind | NMI | lowest kind |", "|---|--:|--:|---|"]
        for variant in (FROZEN, TRAINED, RANDOM):
            found = one[variant]
            worst = min(found["accuracy_by_kind"], key=lambda kind: found["accuracy_by_kind"][kind])
            lines.append(
                f"| {variant} | {_interval(found['accuracy'])} | {_interval(found['nmi'])} | {worst} "
                f"{found['accuracy_by_kind'][worst]:.2f} |"
            )
        groups = one["online_groups"]
        lines += [
            "",
            f"Trained minus frozen, accuracy: {_interval(one['trained_minus_frozen'])}. The live grouping at "
            f"similarity {results['model']['similarity']:g} makes {groups['groups']} groups (purity "
            f"{groups['purity']:.2f}, NMI {groups['nmi']:.2f}).",
        ]
    return "\n".join(lines) + "\n"


def _interval(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


if __name__ == "__main__":
    main()
