"""Parts of trainings with Lightning: its checkpoints, its messages, and Ctrl-C."""

from __future__ import annotations

import io
import logging
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from pipeline import files


class CheckpointFile(TorchCheckpointIO):
    """Writes a checkpoint in full or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with files.replacing(Path(path)) as draft:
            draft.write_bytes(buffer.getbuffer())


class KeepEveryEpoch(pl.Callback):
    """Keeps a checkpoint of the last epoch, and reports the progress.

    Args:
        training: identity of the training, kept in the checkpoint under ``of``.
        every: epochs from checkpoint to checkpoint; the last epoch has one, too.
    """

    def __init__(self, file: Path, training: str, progress: Callable[[int], None], every: int = 1) -> None:
        self._file, self._training, self._progress, self._every = file, training, progress, every

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["of"] = self._training

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.current_epoch + 1
        if trainer.should_stop or done == trainer.max_epochs or done % self._every == 0:
            trainer.save_checkpoint(self._file)  # every process takes part; one writes
        if trainer.is_global_zero:
            self._progress(done)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice on loaders and its list of accelerators; its errors are exceptions."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt; Lightning turns it into an exit and ignores the next one."""
    mine = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if mine else None
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if mine and handler is not None:
            signal.signal(signal.SIGINT, handler)
