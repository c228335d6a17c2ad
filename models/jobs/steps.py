"""A training of a number of steps that resumes after a kill, to the same bytes at the same number of threads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from models.jobs.errors import TrainingError
from pipeline import files

#: Steps between two checkpoints: for whole pictures, about half a minute of one core.
KEPT_EVERY = 50


def run_steps(
    network: nn.Module,
    loss_at: Callable[[int], Tensor],
    file: Path,
    *,
    steps: int,
    learning_rate: float,
    weight_decay: float,
    falls: bool = True,
    kept_every: int = KEPT_EVERY,
    progress: Callable[[int], None] = lambda _: None,
) -> float:
    """Train ``network`` with Adam.

    Args:
        loss_at: returns the loss of a step by its number. It draws at random from that number alone, so that a resumed
            training draws the same.
        file: the checkpoint. One that is there belongs to this very training: stages see to that.
        learning_rate: at the first step.
        falls: whether it falls to 0 evenly.
        kept_every: steps between two checkpoints.
        progress: called with the number of steps that are done.

    Returns:
        mean loss of the last tenth of the steps.

    Raises:
        TrainingError: the loss is not finite, or the checkpoint is damaged.
        OSError: the checkpoint cannot be written.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate, weight_decay=weight_decay)
    first, late = _restored(file, network, optimiser)
    network.train()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / steps if falls else 1)
        loss = loss_at(step)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss of step {step} is not finite; lower learning_rate (got {learning_rate:g})")
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step >= steps - max(1, steps // 10):
            late.append(loss.item())
        if (step + 1) % kept_every == 0:
            _keep(file, network, optimiser, step + 1, late)
        progress(step + 1)
    if not all(bool(values.isfinite().all()) for values in network.state_dict().values()):
        raise TrainingError(f"the weights of the last step are not finite; lower learning_rate (got {learning_rate:g})")
    network.eval()
    return sum(late) / len(late)


def _keep(file: Path, network: nn.Module, optimiser: torch.optim.Adam, done: int, late: list[float]) -> None:
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "done": done, "late": late}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    files.write_bytes(file, buffer.getvalue())


def _restored(file: Path, network: nn.Module, optimiser: torch.optim.Adam) -> tuple[int, list[float]]:
    """Return the number of steps that are done, and the losses of the last ones."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        return int(state["done"]), list(state["late"])
    except FileNotFoundError:
        return 0, []
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(
            f"{file}: not a checkpoint of this training ({reason}); remove it to start afresh"
        ) from None
