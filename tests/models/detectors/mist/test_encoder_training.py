"""Stage 2 on tiny maps and clips: it learns, goes on exactly where it was killed, and refuses what it cannot use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from models.backbones.base import MapBackbone, Maps
from models.backbones.i3d import FrozenBatchNorm
from models.detectors.mist.encoder_data import LabelledClips, LabelledMaps
from models.detectors.mist.encoder_module import rate_factor
from models.detectors.mist.encoder_recipe import EncoderRecipe
from models.detectors.mist.encoder_scoring import map_logits, score_maps
from models.detectors.mist.encoder_training import check_clips, train_encoder, train_full
from models.detectors.mist.sga import SelfGuidedAttention, SelfGuidedHeads
from models.jobs.checkpoints import CHECKPOINT_FILE, CURVES
from models.jobs.errors import TrainingError
from pipeline.windows import ClipSpec

EARLY, LATE = 6, 10  # channels
RECIPE = EncoderRecipe(
    epochs=4,
    batch=3,
    accumulation=2,
    hidden=8,
    detectors=2,
    dropout=0.3,
    warm_up_epochs=2,
    learning_rate=0.01,
    decay="cosine",
    flip=True,
)


def videos(seed: int, count: int = 12) -> list[LabelledMaps]:
    """Videos of 1 to 6 clips of noise; in the abnormal ones the first half leans one way, and is labelled so."""
    rng = np.random.default_rng(seed)
    bags = []
    for ordinal in range(count):
        label, n = ordinal % 2, int(rng.integers(1, 7))
        early = rng.random((n, EARLY, 4, 4, 4), dtype=np.float32).astype(np.float16)
        late = rng.random((n, LATE, 2, 2, 2), dtype=np.float32).astype(np.float16)
        soft = np.zeros(n, np.float32)
        if label:
            abnormal = slice(0, (n + 1) // 2)
            soft[abnormal] = 1
            early[abnormal, :2] += 1
            late[abnormal, :4] += 1
        bags.append(LabelledMaps(early, late, soft, label))
    return bags


def changed(**to) -> EncoderRecipe:
    return RECIPE.model_copy(update=to)


def weights(network: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


def train(folder: Path, recipe: EncoderRecipe = RECIPE, seed: int = 0, **more) -> dict[str, bytes]:
    return weights(train_encoder(videos(0), recipe, seed, folder, accelerator="cpu", **more))


class Killed(Exception):
    pass


def killed_after(epochs: int):
    def progress(done: int) -> None:
        if done == epochs:
            raise Killed

    return progress


def test_learns_the_pseudo_labels(tmp_path):
    heads = train_encoder(videos(0, 24), changed(epochs=12, accumulation=1), 0, tmp_path, accelerator="cpu")
    unseen = videos(1, 24)
    scores = np.concatenate([score_maps(heads, bag.early, bag.late) for bag in unseen])
    assert roc_auc_score(np.concatenate([bag.soft for bag in unseen]), scores) > 0.95


@pytest.mark.slow  # a training of one more input
def test_learns_from_both_maps_that_are_standardised(tmp_path):
    """What tells is one channel of the early map, a thousandth of the others: of no use as it is."""

    def faint(bags: list[LabelledMaps]) -> list[LabelledMaps]:
        for bag in bags:
            bag.early[:, 0] = 1e-3 * (1 + 3 * bag.soft[:, None, None, None] + bag.early[:, 0] / 10)
            bag.early[:, 1:] = np.random.default_rng(len(bag.soft)).random(bag.early[:, 1:].shape)
            bag.late[:] = np.random.default_rng(len(bag.soft)).random(bag.late.shape)
        return bags

    unseen = faint(videos(1, 24))
    soft = np.concatenate([bag.soft for bag in unseen])

    def auc(**to) -> float:
        recipe = changed(epochs=25, accumulation=1, dropout=0.0, reads=("early", "late"), **to)
        heads = train_encoder(faint(videos(0, 24)), recipe, 0, tmp_path / str(to), accelerator="cpu")
        return roc_auc_score(soft, np.concatenate([score_maps(heads, bag.early, bag.late) for bag in unseen]))

    assert auc(standardise=True) > 0.95
    assert auc() < 0.8


def test_standardisation_is_of_the_videos_that_train(tmp_path):
    bags = videos(0)
    heads = train_encoder(bags, changed(epochs=1, standardise=True), 0, tmp_path, accelerator="cpu")
    # Its attention was no more than a factor near 1 or 2 when the features were looked at.
    late = np.concatenate([bag.late for bag in bags]).mean((2, 3, 4), dtype=np.float32)
    ratio = heads.mean.numpy() / late.mean(0)
    assert (ratio > 1).all()
    assert (ratio < 2).all()
    assert np.ptp(ratio) < 0.1
    assert np.allclose(heads.scale.numpy() * late.std(0, ddof=1) * ratio.mean(), 1, rtol=0.1)


def test_a_backbone_that_learns_cannot_be_standardised():
    with pytest.raises(ValueError, match="standardise: expected size maps"):
        EncoderRecipe(epochs=1, size="full", standardise=True)


def test_the_same_seed_gives_the_same_bits(tmp_path):
    first = train(tmp_path / "a")
    torch.rand(3)  # whoever draws random numbers in between changes nothing
    assert train(tmp_path / "b") == first
    assert train(tmp_path / "c", seed=1) != first


def test_training_leaves_the_random_numbers_of_others_alone(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    train(tmp_path, changed(epochs=1))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(("epoch", "workers"), [(1, 0), (3, 0), (4, 0), (2, 1)])
def test_goes_on_exactly_after_the_last_whole_epoch(tmp_path, epoch, workers):
    recipe, more = changed(select="validation", workers=workers), {"validation": videos(5, 6)}
    whole = train(tmp_path / "whole", recipe, **more)
    with pytest.raises(Killed):
        train(tmp_path / "killed", recipe, progress=killed_after(epoch), **more)
    told = []
    assert train(tmp_path / "killed", recipe, progress=told.append, **more) == whole
    assert told == list(range(epoch + 1, 5))


@pytest.mark.slow  # the same as with SIGINT, in a process of its own
def test_sigkill_changes_nothing(tmp_path, root):
    """A real process, killed while it trains; the same command again gives what an undisturbed one does."""
    program = textwrap.dedent("""
        import sys
        import torch
        from pathlib import Path
        from test_encoder_training import RECIPE, videos
        from models.detectors.mist.encoder_training import train_encoder

        torch.set_num_threads(1)
        train_encoder(videos(0), RECIPE.model_copy(update={"epochs": 500, "name": "long"}), 0, Path(sys.argv[1]),
                      accelerator="cpu", progress=lambda done: print(done, flush=True))
    """)
    recipe = changed(epochs=500)
    folder = tmp_path / "killed"
    search = os.pathsep.join([str(root), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": search},
    )
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if int(line) == 7:
                process.send_signal(signal.SIGKILL)
                break
        last = max([7, *map(int, process.stdout)])  # what it had still said
    assert process.wait(60) == -signal.SIGKILL

    def stop(done: int) -> None:
        told.append(done)
        if done == last + 3:
            raise Killed

    threads, states = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    try:
        for which in (folder, tmp_path / "undisturbed"):
            told: list[int] = []
            with pytest.raises(Killed):
                train(which, recipe, progress=stop)
            states[which] = torch.load(which / CHECKPOINT_FILE, weights_only=True)
            # Said or not, an epoch whose checkpoint was written is not gone through again.
            assert told[0] in ((last + 1, last + 2) if which == folder else (1,))
    finally:
        torch.set_num_threads(threads)
    killed, undisturbed = states.values()
    for name, tensor in undisturbed["state_dict"].items():
        assert torch.equal(killed["state_dict"][name], tensor), name


def test_ctrl_c_stays_an_interrupt_and_the_next_one_too(tmp_path):
    def press(_done: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    whole = train(tmp_path / "whole")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "interrupted", progress=press)
    assert train(tmp_path / "interrupted") == whole


def test_a_finished_training_costs_nothing(tmp_path):
    first, told = train(tmp_path), []
    assert train(tmp_path, progress=told.append) == first
    assert told == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    train(tmp_path, changed(epochs=1))
    for recipe, seed in ((changed(epochs=2), 0), (changed(epochs=1), 1)):
        with pytest.raises(TrainingError, match=rf"{CHECKPOINT_FILE}: belongs to another training"):
            train(tmp_path, recipe, seed)
    other = [LabelledMaps(bag.early, bag.late, bag.soft / 2, bag.label) for bag in videos(0)]
    with pytest.raises(TrainingError, match="belongs to another training"):
        train_encoder(other, changed(epochs=1), 0, tmp_path, accelerator="cpu")


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no such thing"]
)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    train(tmp_path, changed(epochs=1))
    file = tmp_path / CHECKPOINT_FILE
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(TrainingError, match=rf"{CHECKPOINT_FILE}: not a checkpoint .* remove it"):
        train(tmp_path, changed(epochs=1))


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "entered"),))

    tmp_path.joinpath("out").mkdir()
    torch.save({"of": Evil()}, tmp_path / "out" / CHECKPOINT_FILE)
    with pytest.raises(TrainingError, match="not a checkpoint"):
        train(tmp_path / "out")
    assert not (tmp_path / "entered").exists()


def test_the_selected_epoch_is_the_one_that_was_best_on_the_validation(tmp_path):
    steady = {"decay": "none"}  # of the rate, which otherwise depends on the number of epochs
    recipe = changed(epochs=8, select="validation", **steady)
    chosen = train(tmp_path / "chosen", recipe, validation=videos(5, 8))
    best = torch.load(tmp_path / "chosen" / CHECKPOINT_FILE, weights_only=True)["best"]
    aucs = curve(tmp_path / "chosen", "validation/auc")
    assert len(aucs) == 8
    assert best["auc"] == pytest.approx(max(aucs))
    assert aucs[best["epoch"]] == pytest.approx(max(aucs))
    until = changed(epochs=best["epoch"] + 1, select="last", **steady)
    assert train(tmp_path / "until", until) == chosen


def curve(folder: Path, name: str) -> list[float]:
    events = EventAccumulator(str(folder / CURVES))
    events.Reload()
    return [point.value for point in events.Scalars(name)]


def test_tensorboard_shows_the_curves(tmp_path):
    train(tmp_path, changed(epochs=3, warm_up_epochs=2, decay="none"))
    assert curve(tmp_path, "training/learning_rate") == pytest.approx([0.005, 0.01, 0.01])
    loss, weighted, guided = (curve(tmp_path, f"training/{name}") for name in ("loss", "weighted", "guided"))
    assert loss == pytest.approx(np.add(weighted, guided).tolist())


def test_the_learning_rate_by_hand():
    recipe = changed(epochs=8, warm_up_epochs=4, decay="cosine")
    # a quarter more each epoch; then (1 + cos of 0, 45, 90, 135 degrees)/2
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    assert [rate_factor(recipe, epoch) for epoch in range(8)] == pytest.approx(expected)
    assert rate_factor(changed(epochs=8, warm_up_epochs=0, decay="none"), 0) == 1


def test_half_precision_comes_close(tmp_path):
    single = train_encoder(videos(0), changed(epochs=2), 0, tmp_path / "32", accelerator="cpu")
    half = train_encoder(videos(0), changed(epochs=2, precision="bf16-mixed"), 0, tmp_path / "16", accelerator="cpu")
    bag = videos(1)[1]
    scores = [score_maps(heads, bag.early, bag.late) for heads in (single, half)]
    assert not np.array_equal(*scores)
    np.testing.assert_allclose(*scores, atol=0.02)


@pytest.mark.slow  # two processes import torch and train
def test_two_processes_under_torchrun_are_one_training(tmp_path, root):
    """Without dropout, whose masks differ, and to the digits that sums in another order leave."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import os, sys
            from pathlib import Path
            import safetensors.torch
            from test_encoder_training import changed, videos
            from models.detectors.mist.encoder_training import train_encoder

            heads = train_encoder(videos(0), changed(dropout=0.0, batch=6), 0, Path(sys.argv[1]), accelerator="cpu",
                                  validation=videos(5, 5))
            safetensors.torch.save_file(heads.state_dict(), f"{sys.argv[1]}/{os.environ['RANK']}.safetensors")
        """)
    )
    from safetensors.torch import load_file

    search = os.pathsep.join([str(root), str(Path(__file__).parent)])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(
        [*command, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    alone = train_encoder(
        videos(0), changed(dropout=0.0, batch=6), 0, tmp_path / "alone", accelerator="cpu", validation=videos(5, 5)
    )
    for name, tensor in alone.state_dict().items():
        assert torch.equal(one[name], two[name]), name
        torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=1e-4)
    assert curve(tmp_path, "validation/auc") == pytest.approx(curve(tmp_path / "alone", "validation/auc"))
    assert curve(tmp_path, "validation/loss") == pytest.approx(curve(tmp_path / "alone", "validation/loss"), rel=1e-3)


def test_scores_are_the_weighted_heads_softmax():
    torch.manual_seed(0)
    heads = SelfGuidedHeads(SelfGuidedAttention(EARLY, 8, 2), LATE, dropout=0.8)
    rng = np.random.default_rng(0)
    early = rng.random((37, EARLY, 4, 4, 4), dtype=np.float32)  # more than one batch, and no whole number of them
    late = rng.random((37, LATE, 2, 2, 2), dtype=np.float32)
    with torch.no_grad():
        logits = heads.eval()(torch.from_numpy(early), torch.from_numpy(late)).weighted
    heads.train()
    expected = torch.softmax(logits, dim=1)[:, 1].numpy()
    np.testing.assert_allclose(score_maps(heads, early, late), expected, atol=1e-6)
    np.testing.assert_allclose(map_logits(heads, early, late), np.log(expected / (1 - expected)), atol=1e-4)
    assert score_maps(heads, early[:0], late[:0]).shape == (0,)


def replaced(bags, ordinal, **to):
    bag = bags[ordinal]
    fields = {name: getattr(bag, name) for name in ("early", "late", "soft", "label", "views")} | to
    return [*bags[:ordinal], LabelledMaps(**fields), *bags[ordinal + 1 :]]


@pytest.mark.parametrize(
    ("bags", "complaint"),
    [
        (videos(0)[::2], r"training needs normal and abnormal videos, got 6 normal \(label 0\) and 0 abnormal"),
        ([], "got 0 normal"),
        (replaced(videos(0), 2, early=np.zeros((3, EARLY, 4, 4, 6), np.float16)), "different shapes"),
        (replaced(videos(0), 2, soft=np.zeros(20, np.float32)), "as many maps or clips"),
        (replaced(videos(0), 1, views=((videos(0)[1].early, videos(1)[1].late[:, :, :1]),)), "as many maps or clips"),
        (replaced(videos(0), 2, soft=videos(0)[2].soft - 1), r"soft labels must lie in \[0, 1\]"),
        ([LabelledMaps(bag.early[:, :, :3], bag.late, bag.soft, bag.label) for bag in videos(0)], "at least 4 time"),
        (
            [LabelledMaps(bag.early * np.nan, bag.late, bag.soft, bag.label) for bag in videos(0)],
            "epoch 1: the loss is nan",
        ),
    ],
)
def test_what_cannot_be_trained_on(tmp_path, bags, complaint):
    with pytest.raises(TrainingError, match=complaint):
        train_encoder(bags, RECIPE, 0, tmp_path, accelerator="cpu")
    assert not (tmp_path / CHECKPOINT_FILE).exists()


@pytest.mark.parametrize(
    ("recipe", "validation", "complaint"),
    [
        (changed(select="validation"), [], "no videos are kept for validation"),
        (changed(select="validation"), videos(1)[::2], "validation needs normal and abnormal videos"),
        (changed(size="full"), [], "is of size full; expected size maps"),
    ],
)
def test_what_a_recipe_cannot_ask_for(tmp_path, recipe, validation, complaint):
    with pytest.raises(TrainingError, match=complaint):
        train(tmp_path, recipe, validation=validation)


#: One step an epoch, and it takes learning_rate · weight_decay of each weight from it: more than there are numbers for.
DIVERGES = changed(
    epochs=1, batch=6, accumulation=1, warm_up_epochs=0, decay="none", optimiser="adamw", learning_rate=3e37,
    weight_decay=100.0,
)  # fmt: skip


@pytest.mark.parametrize("validation", [[], videos(5, 6)])
def test_weights_that_are_no_numbers_after_the_last_step_are_no_result(tmp_path, validation):
    with pytest.raises(TrainingError, match=r"^epoch 1: the weights are not finite: .* rate 3e\+37 is too high$"):
        train(tmp_path, DIVERGES, validation=validation)
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_a_validation_whose_scores_are_no_numbers_chooses_nothing(tmp_path):
    bags = [LabelledMaps(bag.early * np.nan, bag.late, bag.soft, bag.label) for bag in videos(5, 6)]
    with pytest.raises(TrainingError, match=r"^epoch 1: scores of the validation are not finite: the maps hold"):
        train(tmp_path, validation=bags)
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_a_checkpoint_of_weights_that_are_no_numbers_is_no_result(tmp_path):
    """As an earlier version kept it."""
    train(tmp_path, changed(epochs=1))
    kept = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    kept["state_dict"]["network.weighted.weight"][0, 0] = torch.nan
    torch.save(kept, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(TrainingError, match=rf"{CHECKPOINT_FILE}: its weights are not finite; remove it"):
        train(tmp_path, changed(epochs=1))


def test_more_processes_than_videos_for_the_validation(tmp_path, monkeypatch):
    """As torchrun says it; no process is needed to see that one of them would have nothing to do."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(TrainingError, match=r"^4 processes share 2 validation videos; each needs at least one: start"):
        train(tmp_path, changed(batch=6), validation=videos(5, 2))
    assert not list(tmp_path.iterdir())


def test_half_precision_where_a_gpu_trains_the_backbone():
    recipe = EncoderRecipe(epochs=1, size="full")
    assert (recipe.precision_on(gpu=True), recipe.precision_on(gpu=False)) == ("16-mixed", "32")
    assert EncoderRecipe(epochs=1).precision_on(gpu=True) == "32"  # attention and heads alone are soon done
    for told in ("32", "bf16-mixed", "16-mixed"):
        assert {changed(precision=told, size=size).precision_on(gpu=True) for size in ("maps", "full")} == {told}
        assert changed(precision=told).precision_on(gpu=False) == told


def test_precision_by_itself_is_single_on_a_cpu(tmp_path):
    assert RECIPE.precision == "auto"
    assert train(tmp_path / "auto") == train(tmp_path / "32", changed(precision="32"))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """The file system says no, as it does to a file larger than the process may write."""
    import resource

    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "full", progress=killed_after(2))
    before = (tmp_path / "full" / CHECKPOINT_FILE).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            train(tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in (tmp_path / "full").iterdir() if file.is_file()] == [CHECKPOINT_FILE]
    assert (tmp_path / "full" / CHECKPOINT_FILE).read_bytes() == before
    assert train(tmp_path / "full") == whole


class TinyBackbone(MapBackbone):
    """A backbone of two convolutions, with the BatchNorm of the real one."""

    early_channels, late_channels = 4, 5

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 4, 3, stride=(4, 2, 2), padding=1)
        self.bn = FrozenBatchNorm(4)
        self.second = nn.Conv3d(4, 5, 3, stride=2, padding=1)

    def maps(self, clips):
        early = torch.relu(self.bn(self.first(clips.permute(0, 4, 1, 2, 3).float() / 255)))
        return Maps(early, torch.relu(self.second(early)))


def backbone() -> TinyBackbone:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return TinyBackbone()


def films(seed: int = 0) -> list[LabelledClips]:
    rng = np.random.default_rng(seed)
    return [
        LabelledClips(rng.integers(0, 256, (2, 16, 12, 16, 3), np.uint8), np.full(2, label, np.float32), label)
        for label in (0, 1, 0, 1)
    ]


FULL = changed(size="full", crop=8, frozen_epochs=2, batch=2, accumulation=1)


def test_the_backbone_learns_after_its_frozen_epochs_but_never_its_batch_norm(tmp_path):
    before = weights(backbone())
    for epochs, learned in ((2, set()), (3, {"first.weight", "first.bias", "second.weight", "second.bias"})):
        recipe = FULL.model_copy(update={"epochs": epochs})
        encoder = train_full(films(), recipe, 0, tmp_path / str(epochs), backbone=backbone(), accelerator="cpu")
        after = weights(encoder.backbone)
        assert {name for name in before if after[name] != before[name]} == learned


def test_full_training_goes_on_exactly_too(tmp_path):
    def run(folder, **more):
        return weights(train_full(films(), FULL, 0, folder, backbone=backbone(), accelerator="cpu", **more))

    whole = run(tmp_path / "whole")
    for epoch in (1, 3):
        with pytest.raises(Killed):
            run(tmp_path / str(epoch), progress=killed_after(epoch))
        assert run(tmp_path / str(epoch)) == whole


def test_clips_that_are_too_short_are_told_before_the_first_step(tmp_path):
    short = [LabelledClips(bag.clips[:, :8], bag.soft, bag.label) for bag in films()]
    with pytest.raises(TrainingError, match="at least 4 time steps"):
        train_full(short, FULL, 0, tmp_path, backbone=backbone(), accelerator="cpu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("clip", "recipe", "complaint"),
    [
        (ClipSpec(frames=8, stride=8, height=240, width=320), FULL, "clips of 8 frames of 240×320: .*at least 4 t"),
        (
            ClipSpec(frames=8, stride=8, height=240, width=320),
            RECIPE,
            "clips of 8 frames of 240×320: .*at least 4 t",
        ),
        (ClipSpec(frames=16, stride=16, height=240, width=320), FULL, None),
        (ClipSpec(frames=16, stride=16, height=240, width=360), RECIPE, None),
        (ClipSpec(frames=13, stride=13, height=32, width=32), FULL, None),
    ],
)
def test_clips_are_checked_without_any(clip, recipe, complaint):
    if complaint is None:
        check_clips(clip, recipe)
    else:
        with pytest.raises(TrainingError, match=complaint):
            check_clips(clip, recipe)


class NoRoom(TinyBackbone):
    """On a GPU that is too small; before, nothing is asked of the GPU."""

    def maps(self, clips):
        if clips.is_meta:
            return super().maps(clips)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def test_a_gpu_that_is_too_small_is_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"^no memory left on the GPU for a step of 4 videos: .*\.batch") as it:
        train_full(films(), FULL, 0, tmp_path, backbone=NoRoom(), accelerator="cpu")
    assert "\n" not in str(it.value)
