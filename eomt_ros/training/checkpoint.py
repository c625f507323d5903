"""Trained networks as checkpoints, which the engine, the node and Hugging Face load."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from eomt_ros.engine.errors import CheckpointError, first_line, listed
from eomt_ros.engine.model.checkpoint import CONFIG
from eomt_ros.engine.model.labels import OWN_TABLE, is_name
from eomt_ros.engine.model.processor import FILES, PROCESSORS
from eomt_ros.engine.model.saving import write_files
from eomt_ros.engine.model.weights import WEIGHTS
from eomt_ros.engine.networks import Dinov3Settings, QueryVit, Videomt
from eomt_ros.training.dataset import DatasetClass, labels_of

NO_OBJECT_WEIGHT = 0.1
"""In Hugging Face's configs, of which its networks make a tensor that is saved with them."""
CHECKPOINT_PARTS = {
    CONFIG,
    WEIGHTS,
    OWN_TABLE,
    PROCESSORS,
    "exported",
    *(name for names in FILES.values() for name in names),
}
"""What the folder of a checkpoint may have: its files, and what `eomt-ros export` puts beside them."""


def save_checkpoint(
    network: QueryVit,
    folder: Path,
    classes: Sequence[DatasetClass],
    task: str,
    *,
    name: str | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes a network as Hugging Face's classes write theirs, with a label table, and replaces what is there.

    The folder is written to one side and renamed when it is whole, so that no file in it is ever half written. If the
    process is ended between the two renames, the folder is missing; the next call, or `restore_checkpoint`, puts the
    one before back.

    folder: new, or one of an earlier checkpoint. task: what the network is trained for. name: of the label table, the
    folder's if not given. dtype: float16 or float32; float16 if not given, unless a weight is too large for it.
    Raises `CheckpointError` where the folder has other files, cannot be written, or weights are not finite.
    """
    folder = Path(os.path.realpath(folder))
    try:
        others = (
            sorted(path.name for path in folder.iterdir() if path.name not in CHECKPOINT_PARTS)
            if folder.exists()
            else []
        )
    except OSError as error:
        raise CheckpointError(f"the checkpoint {folder} cannot be written: {error.strerror}") from error
    if others:
        raise CheckpointError(
            f"{folder} has files that are not a checkpoint's ({listed(others)}), and would be replaced as a whole; "
            "give another folder for the checkpoint, or move them"
        )
    weights = _weights(network, dtype)
    labels = labels_of(name or (folder.name if is_name(folder.name) else "own classes"), classes, task)
    saved_as = weights["query.weight"].dtype
    config = {**config_of(network), "dtype": str(saved_as).removeprefix("torch.")}
    try:
        with _replaced(folder) as side:
            write_files(side, config, weights, labels)
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
        raise CheckpointError(f"the checkpoint {folder} cannot be written: {reason}") from error


def restore_checkpoint(folder: Path) -> None:
    """Puts back the checkpoint that a process which was ended had just moved away; does nothing where there is none."""
    folder = Path(os.path.realpath(folder))
    before = _beside(folder, "before")
    if before.exists() and not folder.exists():
        before.rename(folder)


def config_of(network: QueryVit) -> dict[str, Any]:
    """The content of Hugging Face's `config.json`, but for architecture and class names."""
    settings = network.settings
    entries = asdict(settings)
    model_type = "videomt" if isinstance(network, Videomt) else "eomt"
    if isinstance(settings, Dinov3Settings):
        entries["rope_parameters"] = {"rope_type": "default", "rope_theta": entries.pop("rope_theta")}
        model_type += "_dinov3"
    if model_type != "videomt_dinov3":
        entries.pop("norm_queries", None)
    return {"model_type": model_type, **entries}


def _weights(network: QueryVit, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """The weights on the CPU, with the tensors that Hugging Face's classes have for training, and would miss."""
    settings = network.settings
    weights = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    weights["criterion.empty_weight"] = torch.tensor([1.0] * settings.num_labels + [NO_OBJECT_WEIGHT])
    if isinstance(network, Videomt):
        weights["attn_mask_probs"] = torch.ones(settings.num_blocks)
        weights["embeddings.mask_token"] = torch.zeros(1, 1, settings.hidden_size)
    broken = [name for name, value in weights.items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"no checkpoint is written: {len(broken)} weights have NaN or infinite numbers ({listed(broken)}); the "
            "training failed"
        )
    if dtype is None:
        highest = max((float(value.abs().max()) for value in weights.values() if value.numel()), default=0.0)
        dtype = torch.float16 if highest <= torch.finfo(torch.float16).max else torch.float32
    return {name: value.to(dtype, copy=True).contiguous() for name, value in weights.items()}


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Gives an empty folder that takes the place of `folder` after the block; an error leaves that as it is."""
    restore_checkpoint(folder)
    side, before = _beside(folder, "unfinished"), _beside(folder, "before")
    for left in (side, before):
        shutil.rmtree(left, ignore_errors=True)
    side.mkdir(parents=True)
    try:
        yield side
        for path in (*side.iterdir(), side):
            _flush(path)
        if folder.exists():
            folder.rename(before)
        side.rename(folder)
    finally:
        restore_checkpoint(folder)
        for left in (side, before):
            shutil.rmtree(left, ignore_errors=True)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


def _flush(path: Path) -> None:
    """Has a file or a folder written to the disk, so that a loss of power after the rename leaves no empty files."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
