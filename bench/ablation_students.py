"""Student–teacher detectors without some of their parts, on UCSD Ped2, one class.

    python bench/ablation_students.py [--data ../shared/data/ped2]

writes bench/results/ablation_students.json and .md: receptive fields and maps of the students, and losses of the
teacher (P. Bergmann et al., Uninformed Students, CVPR 2020). Networks have a sixteenth of the paper's channels, and are
trained for few steps, so that all of it takes about ten minutes of one core. The figures compare the parts; longer
training would give others. Footage, test videos and figures are those of one_class_ped2.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from one_class_ped2 import HOLD_OUT, RESULTS, ROOT, Scored, counted, of_frames
from recorded import record
from rich.console import Console

from models.data.camera_clips import sparse_clips
from models.data.normal_footage import NormalFootage, read_footage
from models.data.npy_rows import NpyFile
from models.detectors.student_teacher.losses import Compactness
from models.detectors.student_teacher.program import DESCRIPTORS, STUDENTS, TEACHER, ClipMaps
from models.detectors.student_teacher.recipe import StudentTeacherRecipe
from models.detectors.student_teacher.strangeness import RawMaps, fit_normal
from models.detectors.student_teacher.students_training import train_students
from models.detectors.student_teacher.teacher import Teacher, backbone_teacher, blank_teacher, trained_teacher
from models.detectors.student_teacher.teacher_job import CROPS_FILE, VECTORS_FILE, train_teacher
from models.detectors.student_teacher.teacher_recipe import LossWeights, TeacherRecipe
from models.detectors.student_teacher.teacher_training import train_teachers
from models.detectors.student_teacher.weights import blank_ensemble, program_networks
from models.jobs.recipes import read_recipe
from operators.cells import picture_value
from operators.figures.bootstrap import DRAWS, estimate_pixels
from operators.rarity import fit_rarity
from pipeline.errors import MistwatchError
from pipeline.manifests.folds import TEST
from pipeline.manifests.manifest import Video, open_video
from pipeline.manifests.ped2 import ped2
from pipeline.windows import ClipSpec, ClipWindow, cut

PATCHES = (17, 33, 65)
#: Sizes and lengths, for the time that it all takes. None was tuned.
SHRINK, VALUES, TEACHER_STEPS, STUDENT_STEPS, PICTURES, HELD_BACK = 16, 64, 300, 150, 150, 80
EVERY = 8  #: every so many frames of a test video are scored; their scores hold for those that follow
RECIPE = StudentTeacherRecipe(students=3, steps=STUDENT_STEPS)
#: λk, λm and λc by the losses that they weigh, for teachers of p = 33.
LOSSES = {
    "distillation": LossWeights(compactness=0),
    "distillation, compactness (mean)": LossWeights(compactness_form=Compactness.MEAN),
    "distillation, compactness (sum), the paper's choice": LossWeights(compactness_form=Compactness.SUM),
    "distillation, triplets": LossWeights(triplets=1, compactness=0),
    "distillation, triplets, compactness (mean)": LossWeights(triplets=1, compactness_form=Compactness.MEAN),
    "triplets, compactness (mean)": LossWeights(distillation=0, triplets=1, compactness_form=Compactness.MEAN),
}
MAPS = {"error": (True, False), "variance": (False, True), "both": (True, True)}
ITSELF = "EfficientNet-Lite0 itself is the teacher"


@dataclass(frozen=True)
class Footage:
    """The pictures and videos that all detectors learn from and are judged on.

    Attributes:
        learned, held_back: pictures, uint8 (n, H, W, 3) RGB.
        clip: of one picture.
    """

    learned: npt.NDArray[np.uint8]
    held_back: npt.NDArray[np.uint8]
    clip: ClipSpec
    videos: list[Video]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "ped2")
    parser.add_argument("--kept", type=Path, default=ROOT / "runs" / "ablation-students", help="folder of the teachers")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    report = Console(stderr=True).print
    try:
        results = measure(options.data, options.kept, report)
    except MistwatchError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    record(options.results, "ablation_students", results, page(results))
    print(page(results), end="")


def measure(data: Path, kept: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Train and judge all of them.

    Raises:
        MistwatchError: the videos or the weights of EfficientNet-Lite0 are missing.
    """
    began = time.process_time()
    footage = read(data)
    recipe = read_recipe(
        TeacherRecipe,
        ROOT / "configs" / "train" / "teacher-slim.yaml",
        [
            f"crops.films=[{data / 'train'}]",
            "crops.fps=1",
            f"patches={list(PATCHES)}",
            f"shrink={SHRINK}",
            f"values={VALUES}",
            f"steps={TEACHER_STEPS}",
        ],
    )
    report("teachers of all receptive fields")
    product, card = train_teacher(recipe, kept, report=report)
    crops = NpyFile(kept / "crops" / CROPS_FILE)
    vectors = NpyFile(kept / "vectors" / VECTORS_FILE)
    report("students of all receptive fields")
    fields = fields_and_maps(trained_teacher(product, PATCHES), footage)
    losses = {}
    for name, weights in LOSSES.items():
        report(f"losses: {name}")
        changed = recipe.model_copy(update={"patches": (33,), "losses": weights})
        with tempfile.TemporaryDirectory() as scratch:
            networks, _ = train_teachers(crops, vectors, changed, 0, Path(scratch) / "last.pt")
        teacher = blank_teacher((33,), shrink=SHRINK, values=VALUES, about={})
        teacher.network.load_state_dict({f"networks.{key}": value for key, value in networks.state_dict().items()})
        losses[name] = of_teacher(teacher, footage)
    report(ITSELF)
    losses[ITSELF] = of_teacher(dataclasses.replace(backbone_teacher(), shrink=SHRINK), footage)
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": {
            "shrink": SHRINK,
            "values": VALUES,
            "teacher_steps": TEACHER_STEPS,
            "student_steps": STUDENT_STEPS,
            "students": RECIPE.students,
            "crops": card.training["crops"],
            "pictures": len(footage.learned),
            "held_back": len(footage.held_back),
            "every": EVERY,
        },
        "test_videos": len(footage.videos),
        "fields": fields,
        "losses": losses,
        "processor_minutes": round((time.process_time() - began) / 60, 1),
    }


def read(data: Path) -> Footage:
    """Read the pictures of the normal videos, evenly over them."""
    footage = read_footage("ped2", [data / "train"], hold_out=HOLD_OUT)
    clip = RECIPE.clip(footage)
    shown = {held: pictures(footage, clip, held, most) for held, most in ((False, PICTURES), (True, HELD_BACK))}
    return Footage(shown[False], shown[True], clip, [video for video in ped2(data) if video.split == TEST])


def pictures(footage: NormalFootage, clip: ClipSpec, held_back: bool, most: int) -> npt.NDArray[np.uint8]:
    share = HOLD_OUT if held_back else 1 - HOLD_OUT
    clips = sparse_clips(footage, clip, round(most / share))
    return np.stack([one.window.pixels[-1] for one in clips if one.held_back == held_back])


def fields_and_maps(teacher: Teacher, footage: Footage) -> dict[str, Any]:
    """Return the figures of each receptive field and of all, with each choice of maps."""
    held_back, of_videos = maps_of(teacher, PATCHES, footage)
    chosen = {f"p = {patch}": [at] for at, patch in enumerate(PATCHES)} | {"all three": list(range(len(PATCHES)))}
    return {
        field: {
            name: judged(
                _of(held_back, ordinals),
                [(video, frames, _of(maps, ordinals)) for video, frames, maps in of_videos],
                uses,
            )
            for name, uses in MAPS.items()
        }
        for field, ordinals in chosen.items()
    }


def of_teacher(teacher: Teacher, footage: Footage) -> dict[str, Any]:
    """Return the figures with students of p = 33 of a teacher, and the effective rank of its descriptors."""
    held_back, of_videos = maps_of(teacher, (33,), footage)
    network = teacher.of_pictures(footage.clip).open()
    described = network.run(footage.held_back[:32])[DESCRIPTORS]
    return {**judged(held_back, of_videos, MAPS["both"]), "effective_rank": round(effective_rank(described), 1)}


def effective_rank(descriptors: npt.NDArray[np.float32]) -> float:
    """Return (Σ l)² / Σ l² for the eigenvalues l of the correlations between values: d where all vary independently.

    Args:
        descriptors: (N, d, h, w).
    """
    rows = descriptors.transpose(0, 2, 3, 1).reshape(-1, descriptors.shape[1]).astype(np.float64)
    spread = rows.std(axis=0)
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows[:, spread > 1e-9].T))
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def maps_of(
    teacher: Teacher, patches: tuple[int, ...], footage: Footage
) -> tuple[RawMaps, list[tuple[Video, int, RawMaps]]]:
    """Train students; return the maps of the held-back pictures, and of each test video with its number of frames."""
    ensemble = blank_ensemble(teacher, patches, students=RECIPE.students, speed=False)
    network = teacher.of_pictures(footage.clip).open()
    with tempfile.TemporaryDirectory() as scratch:
        train_students(
            ensemble,
            lambda shown: network.run(shown)[DESCRIPTORS],
            footage.learned,
            None,
            RECIPE,
            0,
            Path(scratch) / "last.pt",
        )
    networks = program_networks(teacher, ensemble, footage.clip)
    maps = ClipMaps(networks[TEACHER].open(), networks[STUDENTS].open())
    held_back, _ = maps.of(footage.held_back[:, None])
    return held_back, [(video, *of_video(maps, footage.clip, video)) for video in footage.videos]


def of_video(maps: ClipMaps, clip: ClipSpec, video: Video) -> tuple[int, RawMaps]:
    source = open_video(video)
    with closing(source.frames([clip.frame_spec], threading.Event())) as frames:
        windows = cut(frames, dataclasses.replace(clip, stride=EVERY))
        shown = [maps.of(one.pixels[None])[0] for one in windows if isinstance(one, ClipWindow)]
    errors, variances = (np.concatenate([getattr(one, name) for one in shown]) for name in ("errors", "variances"))
    return len(source.frame_times()), RawMaps(errors, variances)


def judged(
    held_back: RawMaps, of_videos: list[tuple[Video, int, RawMaps]], uses: tuple[bool, bool]
) -> dict[str, dict[str, Any]]:
    """Return frame AUC, pixel AUC and PRO, normalised over the picture as in the paper."""
    normal = fit_normal(held_back, error=uses[0], variance=uses[1])
    rarity = fit_rarity(picture_value(normal.strangeness(held_back)), least_scale=0.1)

    found = []
    for video, frames, maps in of_videos:
        cells = normal.strangeness(maps)
        scores, heat = rarity.scores(picture_value(cells)), rarity.scores(cells).astype(np.float32)
        found.append(Scored(video, frames, scores, heat, EVERY))
    pixels = estimate_pixels([(one.name, one) for one in counted(found)], draws=DRAWS)
    return {"frame_auc": of_frames(found, 1, "frame_auc"), **{name: one.summary() for name, one in pixels.items()}}


def _of(maps: RawMaps, ordinals: list[int]) -> RawMaps:
    """Return the maps of some receptive fields."""
    return RawMaps(maps.errors[:, ordinals], maps.variances[:, ordinals])


def page(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    made = results["settings"]
    lines = [
        "# Student–teacher: what its parts are worth",
        "",
        f"UCSD Ped2, one class, {results['test_videos']} abnormal videos, 95 % intervals over them. Trained networks "
        f"have 1/{made['shrink']} of the paper's channels and d = {made['values']}. EfficientNet-Lite0 is whole, and "
        "its students have as many values. Teachers train for "
        f"{made['teacher_steps']} steps on {made['crops']} crops of the normal videos, {made['students']} students for "
        f"{made['student_steps']} steps on {made['pictures']} of their pictures. Maps are normalised over the picture "
        f"by {made['held_back']} held-back ones, as in the paper. Every {made['every']}th frame is scored, without a "
        "moving average. The figures compare the parts, and nothing was chosen by them. The seed is 0 throughout: "
        "differences within the intervals mean little. The run took "
        f"{results['processor_minutes']:g} minutes of a core, without the stages that an earlier one had kept. "
        "`bench/ablation_students.py` writes this page.",
        "",
        "## Receptive fields and maps",
        "",
        "Losses of the teachers: distillation, compactness (mean).",
        "",
        "| students | maps | frame AUC | pixel AUC | PRO |",
        "|---|---|--:|--:|--:|",
        *(
            f"| {field} | {name} | {' | '.join(_figures(found))} |"
            for field, by_maps in results["fields"].items()
            for name, found in by_maps.items()
        ),
        "",
        "## Losses of the teacher",
        "",
        "p = 33, both maps. The weight λ of each loss that is named is 1. The effective rank is the number of "
        "independent values that would vary as the descriptors of normal pictures do. These teachers are trained "
        "alone, and those of the first table together with the other receptive fields. So the same losses have other "
        "figures there.",
        "",
        "| losses | effective rank | frame AUC | pixel AUC | PRO |",
        "|---|--:|--:|--:|--:|",
        *(
            f"| {name} | {found['effective_rank']:.1f} | {' | '.join(_figures(found))} |"
            for name, found in results["losses"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _figures(found: dict[str, Any]) -> list[str]:
    return [_with_interval(found[name]) for name in ("frame_auc", "pixel_auc", "pro")]


def _with_interval(found: dict[str, Any]) -> str:
    low, high = found["interval_95"]
    return f"{found['value']:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
