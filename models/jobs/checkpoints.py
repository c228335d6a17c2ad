"""Checkpoints of trainings, and the random numbers of one. Needs no Lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch

from models.jobs.errors import TrainingError

CHECKPOINT_FILE = "last.ckpt"  #: after the last whole epoch; a training in the same folder goes on from it
CURVES = "curves"  #: folder that TensorBoard shows


def resumable(file: Path, identity: str) -> bool:
    """Return whether a checkpoint of this training exists.

    Raises:
        TrainingError: it cannot be read, or belongs to another training.
    """
    try:
        found = torch.load(file, map_location="cpu", weights_only=True).get("of")
    except FileNotFoundError:
        return False
    except (OSError, RuntimeError, UnpicklingError, EOFError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(f"{file}: not a checkpoint of a training ({reason}); remove it to start afresh") from None
    if found != identity:
        raise TrainingError(
            f"{file}: belongs to another training (recipe, seed, videos or labels differ); remove it, or train in "
            "another folder"
        )
    return True


def derived_seed(*numbers: int) -> int:
    """Return a seed of 63 bits that differs where one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def own_random_numbers(seed: int, *, devices: Sequence[int] | None = None) -> Iterator[None]:
    """Draw from torch's random numbers of this seed, and leave the caller's as they were.

    Args:
        devices: GPUs whose numbers are kept as well; all when None.
    """
    with torch.random.fork_rng(devices):
        torch.manual_seed(derived_seed(seed))
        yield
