"""Loads safetensors files into a network: every weight is there, has its shape and is finite, or nothing is loaded.

Hugging Face makes up weights that are missing, with a warning; a robot would then follow noise. Pickled weights are not
read, because unpickling can run any code.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from eomt_ros.engine.errors import CheckpointError, first_line, listed
from eomt_ros.regular_file import open_regular, read_bytes

WEIGHTS = "model.safetensors"
SHARD_INDEX = "model.safetensors.index.json"
PICKLED = (".bin", ".pth", ".pt", ".ckpt", ".pkl")

LARGEST_JSON = 4 << 20
"""Bytes of a JSON file, and of the JSON that a safetensors file begins with: ten times what the largest ViT has."""
LONGEST_FILE_NAME = 255
FLOATS = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64")
"""Safetensors' names of the types that a network can be given."""


class Stored(NamedTuple):
    """A weight in a file."""

    file: Path
    shape: tuple[int, ...]
    type: str
    """Name of the type in safetensors."""


def load_weights(network: nn.Module, folder: Path, ignored: frozenset[str] = frozenset()) -> None:
    """Gives a network the weights of `model.safetensors`, or of the shards that its index names, as float32 on the CPU.

    network: may be on the meta device, since its parameters are replaced.
    ignored: weights that the files may have beside the network's.

    Raises `CheckpointError` that names the file and the weights at fault, `OSError` where a file cannot be read.
    """
    stored = stored_weights(weight_files(folder), ignored)
    _check_fit({name: tuple(weight.shape) for name, weight in network.state_dict().items()}, stored, folder)
    weights = read_weights(stored, folder)
    # numpy is nine times as fast at it as torch.
    broken = [name for name, weight in weights.items() if not np.isfinite(weight.numpy()).all()]
    if broken:
        raise CheckpointError(
            f"NaN or infinite numbers in {_counted(broken, 'weights')} of {folder}; get or train the checkpoint again"
        )
    network.load_state_dict(weights, assign=True)


def read_json(path: Path) -> Mapping[str, Any]:
    """Reads a JSON object; raises `CheckpointError` for any other content, `OSError` where the file cannot be read."""
    try:
        content = json.loads(read_bytes(path, LARGEST_JSON).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); get it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def weight_files(folder: Path, architecture: str = "VideomtForUniversalSegmentation") -> list[Path]:
    """The files that hold a checkpoint's weights; raises `CheckpointError` where there are none.

    architecture: Hugging Face's class, to tell the user how pickled weights are converted.
    """
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    index = folder / SHARD_INDEX
    if not index.exists():
        raise CheckpointError(_no_weights(folder, architecture))
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{index}: weight_map is malformed, expected the file of each weight")
    files = sorted(set(shards.values()))
    for file in files:
        shown = repr(listed([file]))
        if Path(file).name != file or not file.endswith(".safetensors") or len(os.fsencode(file)) > LONGEST_FILE_NAME:
            raise CheckpointError(f"{index} names the shard {shown}, expected a .safetensors file in the same folder")
        if not (folder / file).exists():
            raise CheckpointError(f"{index} names the shard {shown}, which is not there; get the checkpoint again")
    return [folder / file for file in files]


def _no_weights(folder: Path, architecture: str) -> str:
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if not pickled:
        return f"{folder} has no {WEIGHTS} (nor {SHARD_INDEX}); get the checkpoint again"
    return (
        f"{folder} has no {WEIGHTS}, only pickled weights ({listed(pickled)}), and unpickling can run any code. "
        'Where you trust them, convert: python3 -c "from transformers import '
        f"{architecture} as V; V.from_pretrained('{folder}').save_pretrained('{folder}-safetensors')\""
    )


def stored_weights(files: Sequence[Path], ignored: frozenset[str] = frozenset()) -> dict[str, Stored]:
    """The weights that safetensors files list, by name, without reading them.

    Raises `CheckpointError` for a file that is not safetensors, or has a weight that another has; `OSError`.
    """
    stored: dict[str, Stored] = {}
    for path in files:
        with open_regular(path) as file:
            header = int.from_bytes(file.read(8), "little")
        if header > LARGEST_JSON:
            raise CheckpointError(_unreadable(path, f"its header has {header} bytes, expected at most {LARGEST_JSON}"))
        try:
            with safe_open(path, framework="pt") as opened:
                for name in sorted(set(opened.keys()) - ignored):
                    if name in stored:
                        raise CheckpointError(f"{path} and another shard both have {_counted([name], 'weights')}")
                    part = opened.get_slice(name)
                    stored[name] = Stored(path, tuple(part.get_shape()), part.get_dtype())
        except SafetensorError as error:
            raise CheckpointError(_unreadable(path, first_line(error))) from error
    return stored


def read_weights(stored: Mapping[str, Stored], folder: Path) -> dict[str, Tensor]:
    """The weights as float32; raises `CheckpointError` where the machine has no memory for them."""
    needed, memory = sum(4 * math.prod(each.shape) for each in stored.values()), _memory()
    if needed > memory:
        raise CheckpointError(
            f"the weights in {folder} take {needed / 1e9:.1f} GB as float32, and this machine has {memory / 1e9:.1f} GB"
        )
    weights = {}
    for path in {each.file for each in stored.values()}:
        with safe_open(path, framework="pt") as opened:
            for name in (name for name, each in stored.items() if each.file == path):
                # A copy: safetensors gives views of the file, and a file that changes later must not change a robot.
                weights[name] = opened.get_tensor(name).to(torch.float32, copy=True)
    return weights


def _memory() -> float:
    """Bytes of the machine's memory; infinity where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return math.inf


def _unreadable(path: Path, why: str) -> str:
    return (
        f"{path} ({path.stat().st_size} bytes) is truncated or no safetensors file ({why}); "
        "compare its size with the original's and get it again"
    )


def _check_fit(expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, Stored], folder: Path) -> None:
    missing = [f"{name} {shape}" for name, shape in expected.items() if name not in stored]
    unknown = [f"{name} {stored[name].shape}" for name in sorted(stored) if name not in expected]
    misshaped = [
        f"{name} is {stored[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    no_floats = [f"{name} is {each.type}" for name, each in stored.items() if each.type not in FLOATS]
    faults = {
        "missing": missing,
        "unknown to the network": unknown,
        "of another shape": misshaped,
        "not floating point": no_floats,
    }
    found = [_counted(names, fault) for fault, names in faults.items() if names]
    if found:
        raise CheckpointError(
            f"the weights in {folder} do not fit its config.json: {'; '.join(found)}. "
            "Get the checkpoint again, or the config.json that it was trained with"
        )


def _counted(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what} ({listed(names)})"
