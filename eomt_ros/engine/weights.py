"""Safetensors files into a network: every weight is there, has its shape and is finite, or nothing is loaded.

Hugging Face invents a weight that is missing and goes on with a warning; a robot would then follow noise. Pickled
weights are not read at all, because unpickling can run any code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eomt_ros.engine.errors import CheckpointError

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pkl")

LFS_POINTER = b"version https://git-lfs"
"""What a clone made without Git LFS has in place of a large file."""

LARGEST_JSON = 16 << 20
"""Bytes: far above the index of the largest sharded checkpoint."""


def load_weights(network: nn.Module, folder: Path, ignored: frozenset[str] = frozenset()) -> None:
    """Gives a network the weights of `model.safetensors`, or of the shards that its index names, as float32 on the CPU.

    network: may be on the meta device, for its parameters are replaced.
    ignored: weights that the files may have and the network has not.

    Raises `CheckpointError` that names the file and the weights at fault, `OSError` where a file cannot be read.
    """
    weights = _read_weights(_weight_files(folder), ignored)
    _check_fit({name: tuple(weight.shape) for name, weight in network.state_dict().items()}, weights, folder)
    # A copy: safetensors gives views of the file, and a file that changes later must not reach into a running robot.
    weights = {name: weight.to(torch.float32, copy=True) for name, weight in weights.items()}
    broken = [name for name, weight in weights.items() if not bool(weight.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"NaN or infinite numbers in {_listed(broken, 'weights')} of {folder}; get or train the checkpoint again"
        )
    network.load_state_dict(weights, assign=True)


def read_json(path: Path) -> Mapping[str, Any]:
    """Reads a JSON object; raises `CheckpointError` for any other content, `OSError` where the file cannot be read."""
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise CheckpointError(f"{path} has {size} bytes, expected at most {LARGEST_JSON}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); get it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    index = folder / SHARD_INDEX
    if not index.exists():
        raise CheckpointError(_no_weights(folder))
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{index}: weight_map is malformed, expected the file of each weight")
    files = sorted(set(shards.values()))
    for file in files:
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise CheckpointError(f"{index} names the shard {file!r}, expected a .safetensors file in the same folder")
        if not (folder / file).exists():
            raise CheckpointError(f"{index} names the shard {file!r}, which is not there; get the checkpoint again")
    return [folder / file for file in files]


def _no_weights(folder: Path) -> str:
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if not pickled:
        return f"{folder} has no {WEIGHTS} (nor {SHARD_INDEX}); get the checkpoint again"
    return (
        f"{folder} has no {WEIGHTS}, only pickled weights ({', '.join(pickled)}), and unpickling can run any code. "
        'Where you trust them, convert: python3 -c "from transformers import VideomtForUniversalSegmentation as V; '
        f"V.from_pretrained('{folder}').save_pretrained('{folder}-safetensors')\""
    )


def _read_weights(files: Sequence[Path], ignored: frozenset[str]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            with safe_open(path, framework="pt") as file:
                found = {name: file.get_tensor(name) for name in set(file.keys()) - ignored}
        except SafetensorError as error:
            raise CheckpointError(_unreadable(path, error)) from error
        twice = sorted(found.keys() & weights.keys())
        if twice:
            raise CheckpointError(f"{path} and another shard both have {_listed(twice, 'weights')}")
        weights.update(found)
    return weights


def _unreadable(path: Path, error: SafetensorError) -> str:
    with path.open("rb") as file:
        if file.read(len(LFS_POINTER)) == LFS_POINTER:
            return f"{path} is a Git LFS pointer, not the weights; run `git lfs pull` in that folder"
    return (
        f"{path} ({path.stat().st_size} bytes) is truncated or no safetensors file ({error}); "
        "compare its size with the original's and get it again"
    )


def _check_fit(expected: Mapping[str, tuple[int, ...]], weights: Mapping[str, Tensor], folder: Path) -> None:
    missing = [f"{name} {shape}" for name, shape in expected.items() if name not in weights]
    unknown = [f"{name} {tuple(weights[name].shape)}" for name in sorted(weights) if name not in expected]
    misshaped = [
        f"{name} is {tuple(weights[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    no_floats = [f"{name} is {weight.dtype}" for name, weight in weights.items() if not weight.is_floating_point()]
    faults = {
        "missing": missing,
        "unknown to the network": unknown,
        "of another shape": misshaped,
        "not floating point": no_floats,
    }
    listed = [_listed(names, fault) for fault, names in faults.items() if names]
    if listed:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {'; '.join(listed)}. "
            "Get the checkpoint again, or the config.json that it was trained with"
        )


def _listed(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {what} ({shown})"
