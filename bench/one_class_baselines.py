"""Judge three classical detectors of patches on UCSD Ped2, beside those that `mistwatch learn` has.

    python bench/one_class_baselines.py [--data ../shared/data/ped2]

writes bench/results/one_class_baselines.json and .md. P. Bergmann et al. (Uninformed Students, CVPR 2020) compare their
students with 1-nearest-neighbour, k-means and a one-class SVM on the teacher's descriptors. Here they are fitted to
those of the slim teacher and of the memory bank, after a PCA that keeps 95 % of the variance. Footage, test videos,
scores and figures are those of bench/one_class_ped2.py. The settings were written down before a test video had been
scored.

Figures of one kind of descriptors are kept under runs/one-class-baselines, so a bench that was stopped resumes with the
other kind. To measure again, remove that folder.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from one_class_ped2 import HOLD_OUT, RESULTS, ROOT, Scored, figures
from recorded import record
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

from models.backbones import weights
from models.backbones.efficientnet_lite0 import NAME
from models.data.camera_clips import judged_clips, sparse_clips
from models.data.clip_places import PlaceList
from models.data.normal_footage import NormalFootage, read_footage
from models.data.reservoir import Reservoir
from models.detectors.memory_bank.descriptors import descriptor_network
from models.detectors.memory_bank.distances import Neighbours, Patches
from models.detectors.memory_bank.program import DESCRIPTORS
from models.detectors.memory_bank.recipe import MemoryBankRecipe
from models.detectors.program import ProgramNetwork
from models.detectors.student_teacher.inputs import EVERY
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.teacher import trained_teacher
from models.detectors.student_teacher.teachers import OURS
from models.engines.one_by_one import Network
from models.jobs.thresholds import alerting_of_normal
from operators.cells import picture_value
from operators.figures.bootstrap import DRAWS
from operators.motion import CELL
from operators.rarity import fit_rarity
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import TEST
from pipeline.manifests.manifest import Video, open_video
from pipeline.manifests.ped2 import ped2
from pipeline.windows import ClipSpec, ClipWindow, cut

SAMPLE = 10_000  #: descriptors that are fitted to: 50,000 take nearest neighbours five times as long
PICTURES = 400  #: from which they are drawn
VARIANCE = 0.95  #: that PCA keeps
CLUSTERS = 10  #: of k-means
LANDMARKS = 300  #: of Nyström's approximation of the kernel
OUTLIERS = 0.5  #: bound of the SVM on the share of outliers, ν: scikit-learn's default
SEED = 0
#: Least scale of the tail of values (:mod:`operators.rarity`), in spreads of the held-back values.
LEAST_SCALE = 0.01

Values = Callable[[Patches], npt.NDArray[np.floating[Any]]]  #: (n, C) → (n,), higher is stranger


class TeacherCells(nn.Module):
    """The teacher's descriptors of the patches around the centres of cells."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pictures: Tensor) -> tuple[Tensor]:
        """uint8 (N, H, W, 3) RGB → float32 (N, d, H / 8, W / 8)."""
        cells = slice(CELL // EVERY // 2, None, CELL // EVERY)
        (found,) = self.teacher(pictures)
        return (found[..., cells, cells],)


def teacher(footage: NormalFootage) -> tuple[ClipSpec, ProgramNetwork]:
    """Return the slim teacher that comes with mistwatch, for the clips of its students."""
    recipe = StudentTeacherRecipe()
    clip = recipe.clip(footage)
    of_pictures = trained_teacher(OURS, recipe.patches).of_pictures(clip)
    return clip, replace(of_pictures, network=TeacherCells(of_pictures.network).eval())


def backbone(footage: NormalFootage) -> tuple[ClipSpec, ProgramNetwork]:
    """Return the network of a memory bank, for its clips."""
    recipe = MemoryBankRecipe()
    clip = recipe.clip(footage)
    return clip, descriptor_network(recipe.layers, recipe.enlarge, clip)


DESCRIBERS = {"teacher": teacher, "efficientnet_lite0": backbone}
TITLES = {
    "teacher": "the slim teacher that comes with mistwatch, p = 33, d = 64",
    "efficientnet_lite0": "EfficientNet-Lite0's maps, as a memory bank has them",
}


def nearest_neighbour(sample: Patches) -> Values:
    """Return the distance from the nearest of all descriptors of the sample."""
    return Neighbours(sample).distances


def k_means(sample: Patches) -> Values:
    """Return the distance from the nearest centre."""
    model = KMeans(CLUSTERS, n_init=3, random_state=SEED).fit(sample)
    return lambda patches: model.transform(patches).min(axis=1)


def one_class_svm(sample: Patches) -> Values:
    """Return the distance from the border of a one-class SVM, its inside below 0.

    The kernel is a radial basis function as wide as scikit-learn's ``scale`` makes it. The exact problem grows with the
    square of the sample, so the kernel is approximated, and the linear problem solved by gradient descent.
    """
    width = 1 / (sample.shape[1] * float(sample.var()))
    kernel = Nystroem(gamma=width, n_components=LANDMARKS, random_state=SEED)
    model = make_pipeline(kernel, SGDOneClassSVM(nu=OUTLIERS, random_state=SEED)).fit(sample)
    return lambda patches: -model.decision_function(patches)


METHODS = {"1-nearest-neighbour": nearest_neighbour, "k-means": k_means, "one-class SVM": one_class_svm}


@dataclass(frozen=True)
class Baselines:
    """The fitted methods on one kind of descriptors.

    Attributes:
        milliseconds: processor time of each judged picture, by method; each includes the steps that they share.
    """

    network: Network
    reduced: PCA
    methods: dict[str, Values]
    milliseconds: dict[str, list[float]]

    def judge(self, picture: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.float32]]:
        """Return each method's values of the cells of a picture: uint8 (H, W, 3) → float32 (h, w)."""
        began = time.process_time()
        found = self.network.run(picture[None])[DESCRIPTORS][0]
        patches = self.reduced.transform(of_cells(found)).astype(np.float32)
        shared = time.process_time() - began
        maps = {}
        for name, values in self.methods.items():
            began = time.process_time()
            maps[name] = np.asarray(values(patches), np.float32).reshape(found.shape[1:])
            self.milliseconds[name].append(1000 * (shared + time.process_time() - began))
        return maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "one-class-baselines", help="folder of the run")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    try:
        videos = [video for video in ped2(options.data) if video.split == TEST]
        footage = read_footage("ped2", [options.data / "train"], hold_out=HOLD_OUT)
        weights.fetch_with_progress(NAME, print)
        with ProcessPoolExecutor(len(DESCRIBERS)) as pool:
            running = {name: pool.submit(measured, name, footage, videos, options.kept) for name in DESCRIBERS}
            found = {name: one.result() for name, one in running.items()}
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    results = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "sample": SAMPLE,
        "variance": VARIANCE,
        "clusters": CLUSTERS,
        "landmarks": LANDMARKS,
        "outliers": OUTLIERS,
        "videos": len(footage.films),
        "footage_seconds": round(footage.seconds, 1),
        "test_videos": len(videos),
        "descriptors": found,
    }
    record(options.results, "one_class_baselines", results, page(results))
    print(page(results), end="")


def measured(name: str, footage: NormalFootage, videos: list[Video], kept: Path) -> dict[str, Any]:
    """Return the figures of one kind of descriptors, those of an earlier run if ``kept`` has them.

    Raises:
        MistwatchError: films or weights cannot be read.
    """
    file = kept / f"{name}.json"
    if not file.exists():
        load = os.getloadavg()[0]
        found = measure(name, footage, videos)
        found["load_average"] = [round(load, 2), round(os.getloadavg()[0], 2)]
        kept.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
    return json.loads(file.read_text())


def measure(name: str, footage: NormalFootage, videos: list[Video]) -> dict[str, Any]:
    """Fit all methods to one kind of descriptors, and return their figures.

    Raises:
        MistwatchError: films or weights cannot be read.
    """
    clip, network = DESCRIBERS[name](footage)
    baselines = fitted(network.open(), footage, clip)
    scales = {}
    for method, (values, places) in held_back(baselines, footage, clip).items():
        of_pictures = picture_value(values)
        rarity = fit_rarity(of_pictures, least_scale=LEAST_SCALE * float(of_pictures.std()))
        runs = places.held_back_runs(rarity.scores(of_pictures))
        scales[method] = rarity, alerting_of_normal(runs, MemoryBankRecipe().kernel)[0]
    for times in baselines.milliseconds.values():
        times.clear()
    raw = [(video, *test_maps(baselines, video, clip)) for video in videos]
    found = {}
    for method, (rarity, alerting) in scales.items():
        scored = [
            Scored(
                video,
                frames,
                rarity.scores(picture_value(maps[method])),
                rarity.scores(maps[method]).astype(np.float32),
            )
            for video, frames, maps in raw
        ]
        found[method] = figures(scored, alerting.kernel, alerting.open_threshold, baselines.milliseconds[method])
    return {"values": int(baselines.reduced.n_features_in_), "kept": int(baselines.reduced.n_components_), "of": found}


def fitted(network: Network, footage: NormalFootage, clip: ClipSpec) -> Baselines:
    """Fit the methods to descriptors drawn from the footage that is learned from."""
    patches = Reservoir(SAMPLE, seed=SEED)
    for one in sparse_clips(footage, clip, round(PICTURES / (1 - HOLD_OUT))):
        if not one.held_back:
            patches.add(of_cells(network.run(one.window.pixels[-1:])[DESCRIPTORS][0]))
    reduced = PCA(VARIANCE, svd_solver="full").fit(patches.rows())
    sample = reduced.transform(patches.rows()).astype(np.float32)
    methods = {name: fit(sample) for name, fit in METHODS.items()}
    return Baselines(network, reduced, methods, {name: [] for name in methods})


def held_back(baselines: Baselines, footage: NormalFootage, clip: ClipSpec) -> dict[str, Any]:
    """Return each method's maps of the held-back clips, (n, h, w), with the places of the clips."""
    places, maps = PlaceList(), []
    for one in judged_clips(footage, clip):
        if one.held_back:
            places.add(one)
            maps.append(baselines.judge(one.window.pixels[-1]))
    return {name: (np.stack([of_clip[name] for of_clip in maps]), places.places()) for name in METHODS}


def test_maps(baselines: Baselines, video: Video, clip: ClipSpec) -> tuple[int, dict[str, npt.NDArray[np.float32]]]:
    """Return the number of a video's frames, and each method's maps of its clips, (n, h, w)."""
    source = open_video(video)
    with closing(source.frames([clip.frame_spec], threading.Event())) as frames:
        windows = (window for window in cut(frames, clip) if isinstance(window, ClipWindow))
        maps = [baselines.judge(window.pixels[-1]) for window in windows]
    return len(source.frame_times()), {name: np.stack([of_clip[name] for of_clip in maps]) for name in METHODS}


def of_cells(descriptors: npt.NDArray[np.float32]) -> Patches:
    """(C, h, w) → (h · w, C)."""
    return np.ascontiguousarray(descriptors.reshape(len(descriptors), -1).T)


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "# UCSD Ped2, one class: classical methods on descriptors",
        "",
        f"Fitted to the {results['videos']} normal videos ({results['footage_seconds']:.0f} s, a fifth of them held "
        f"back), judged on the {results['test_videos']} abnormal ones as the detectors of `mistwatch learn` are. "
        "Scores are causal and not normalised by test video, and nothing was fitted to the test videos. Intervals of "
        f"95 %: percentile bootstrap over videos, {DRAWS} draws. `bench/one_class_baselines.py` writes this page.",
    ]
    for name, one in results["descriptors"].items():
        kernel = next(iter(one["of"].values()))["kernel"]
        low, high = one["load_average"]
        lines += [
            "",
            f"Descriptors: {TITLES[name]}. The PCA leaves {one['kept']} of {one['values']} values. The load average "
            f"was {low:.0f} to {high:.0f}.",
            "",
            f"| method | frame AUC | averaged over {kernel} frames | pixel AUC | PRO up to 30 % false positives "
            "| normal frames at the threshold | abnormal ones | ms of one core a frame |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        lines += [row(method, found) for method, found in one["of"].items()]
    lines += [
        "",
        f"All are fitted to {results['sample']} descriptors, drawn at random, one for each cell of {CELL} pixels, "
        f"after a PCA that keeps {results['variance']:.0%} of the variance. 1-nearest-neighbour is exact, among all of "
        f"them. k-means has {results['clusters']} centres. The one-class SVM has a radial basis function of "
        f"scikit-learn's default width, approximated with {results['landmarks']} landmarks, and "
        f"ν = {results['outliers']:g}, its default. A picture's value is the mean of its 10 highest cells. Values "
        "become scores by their rarity in the held-back pictures, which also give the threshold, as for every learned "
        "detector. No setting was tuned. The paper's exact settings were not to hand, and it has no figures on Ped2. "
        "The slim teacher had seen these normal videos, held-back ones included.",
        "",
        f"The cost is processor time without decoding, on {results['cores']} cores that others used as well. It "
        "contains the network and the PCA, which the methods share.",
    ]
    return "\n".join(lines) + "\n"


def row(method: str, found: dict[str, Any]) -> str:
    """Return a method's row of the table."""
    aucs = found["frame_auc"].values()
    cells = [
        "**{:.3f}** ({:.3f} to {:.3f})".format(one["value"], *one["interval_95"])
        for one in (*aucs, found["pixel_auc"], found["pro"])
    ]
    at = found["at_open_threshold"]
    cells += [f"{at['normal']:.1%}", f"{at['abnormal']:.0%}", f"{found['milliseconds_a_frame']['median']:.0f}"]
    return f"| {method} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
