"""The job that learns a fused detector: its members' own jobs, and the stages that make one detector of them.

    members/FAMILY/… ─► maps ─► product

A member's job is a run of its own, in a folder of this one. Each stage (:mod:`models.jobs.stages`) is a folder of the
run, made again when something that it depends on has changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

from models.card import CardError, read_card
from models.code import code_digest
from models.data.cell_values import read_cell_values
from models.data.normal_footage import NormalFootage
from models.detectors.base import FAMILIES, find_family
from models.detectors.fused.card import FusedCard
from models.detectors.fused.program import Members
from models.detectors.fused.recipe import FusedRecipe
from models.detectors.fused.stages import maps, product
from models.detectors.fused.weights import load_member, member_of
from models.jobs.learning import PRODUCT, LearningJob, Outcome, Progress, Report
from pipeline import files


def learn_fused(
    footage: NormalFootage,
    out: Path,
    *,
    recipe: FusedRecipe | None = None,
    report: Report = lambda _line: None,
    progress: Progress = lambda *_: None,
    keep: bool = False,
) -> Outcome:
    """Run the job, as far as it is not up to date.

    Args:
        out: the run's folder; made when missing.
        recipe: the default one when None.
        keep: whether clips of the footage are kept for an update.

    Raises:
        FootageError: the footage cannot be learned from.
        SourceError: a film cannot be read.
        StageError: another job is running in ``out``, or its product would be lost.
        OSError: ``out`` cannot be written.
        pipeline.errors.MistwatchError: a member's job fails; see there.
    """
    settings = recipe or FusedRecipe()
    job = LearningJob(
        FusedCard, footage, settings, str(maps.__package__), out, report=report, progress=progress, keep=keep
    )
    with job.alone():
        learned = [
            _learn(name, _of_member(name, footage, out), out, settings, report, progress) for name in settings.members
        ]
        cards = {one.product: one.card for one in learned}
        clips = [card.clip.spec for card in cards.values()]
        clip = dataclasses.replace(clips[0], frames=max(one.frames for one in clips))
        assert all(dataclasses.replace(one, frames=clip.frames) == clip for one in clips), "settings are shared"
        members = Members(
            [load_member(folder, report, expected=member_of(card)).open() for folder, card in cards.items()],
            [one.frames for one in clips],
        )
        about = [member_of(card).model_dump() for card in cards.values()]
        found = job.run(
            "maps",
            {
                "footage": footage.identity,
                "members": about,
                "code of members": code_digest([FAMILIES[name] for name in settings.members]),
            },
            lambda draft, done: maps.compute(draft, footage, clip, members, done),
            settings=(),
        )
        return job.finish(
            clip,
            {"members": about, "maps": found.digest},
            lambda draft: product.compute(
                draft, footage, settings, clip, cards, members.rarities, read_cell_values(found.folder)
            ),
        )


def _of_member(name: str, footage: NormalFootage, out: Path) -> NormalFootage:
    """Return the footage for a member: where some is added, the earlier clips have the member's frames."""
    if footage.earlier is None:
        return footage
    (frames,) = (
        member.frames for member in read_card(out / PRODUCT, FusedCard).architecture.members if member.family == name
    )
    clip = dataclasses.replace(footage.earlier.clip, frames=frames)
    return dataclasses.replace(footage, earlier=dataclasses.replace(footage.earlier, clip=clip))


def _learn(
    name: str, footage: NormalFootage, out: Path, recipe: FusedRecipe, report: Report, progress: Progress
) -> Outcome:
    """Run a member's own job, in its folder of the run."""
    folder = out / "members" / name
    _remove_other(folder / PRODUCT, footage)
    outcome: Outcome = find_family(name).trainer()(
        footage,
        folder,
        recipe=recipe.recipe_of(name),
        report=lambda line: report(f"{name}: {line}"),
        progress=lambda stage, done, total: progress(f"{name}, {stage}", done, total),
    )
    return outcome


def _remove_other(product: Path, footage: NormalFootage) -> None:
    """Remove a member's product of other footage, such as of an update that was given up.

    The member's job would refuse to replace it. The detector, which may be replaced, has a copy of its own members.
    """
    with contextlib.suppress(CardError):  # missing or damaged, so the stage is run again
        if read_card(product).training.get("footage") != footage.identity:
            files.remove(product)
