"""A folder or a hub id to a network that is ready to run, with its settings and labels.

Only JSON and safetensors are read, and only architectures of our own are built: nothing that comes with a checkpoint is
ever executed, so neither pickled weights nor a hub's own code (`auto_map`) has a way in.
"""

from __future__ import annotations

import logging
import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eomt_ros.engine.errors import CheckpointError, first_line
from eomt_ros.engine.families import FAMILIES, Family, Network, Settings
from eomt_ros.engine.labels import Labels, labels_for
from eomt_ros.engine.shipped import shipped
from eomt_ros.engine.weights import SHARD_INDEX, WEIGHTS, read_json

log = logging.getLogger(__name__)

CONFIG = "config.json"
PREPROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

FIXED_PREPROCESSING = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "resample": 2}
"""What the preprocessor always does (2: bilinear); a network that wants anything else would see the wrong numbers."""

HUB_ID = re.compile(r"(?P<repository>[a-zA-Z0-9][\w.-]*/[a-zA-Z0-9][\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """A network with everything that is needed to feed it and to name what it finds."""

    name: str
    """The hub id, or the folder's own name."""
    folder: Path
    """Where its files are."""
    family: Family
    network: Network
    """float32, on the CPU, in evaluation mode, without gradients."""
    settings: Settings
    labels: Labels
    image_mean: tuple[float, ...]
    """Per RGB channel, of pixels scaled to 0..1."""
    image_std: tuple[float, ...]

    @property
    def task(self) -> str:
        """What the checkpoint is made for: "semantic", "instance" or "panoptic"."""
        return self.labels.task


def load(model: str | Path, labels: str | Path | None = None) -> Checkpoint:
    """Loads a checkpoint in Hugging Face's format.

    model: "demo" (the one that ships with the package), a folder with `config.json` and `model.safetensors` (or shards
    and their index), or a hub id `owner/name`, with `@revision` where one is wanted.
    labels: a label table to use instead of the one that fits the checkpoint.

    Raises `CheckpointError` where the checkpoint is missing, broken or unsupported, `LabelsError` for its label table.
    """
    folder, name = _locate(model)
    try:
        config = _read_config(folder)
        preprocessing = _preprocessing(folder)
        family = FAMILIES[config["model_type"]]
        settings = _settings(family, config, preprocessing, folder)
        mean, std = _normalisation(preprocessing, folder)
        return Checkpoint(
            name=name,
            folder=folder,
            family=family,
            network=family.load(settings, folder),
            settings=settings,
            labels=labels_for(name, _class_names(config, settings, folder), labels),
            image_mean=mean,
            image_std=std,
        )
    except OSError as error:
        raise CheckpointError(f"the checkpoint in {folder} cannot be read: {error}") from error


def _locate(model: str | Path) -> tuple[Path, str]:
    """The folder that holds the checkpoint, and the model's name."""
    if model == "demo":
        try:
            return shipped("checkpoint", "demo/checkpoint"), "demo"
        except FileNotFoundError as error:
            raise CheckpointError(f"model 'demo': {error}") from error
    model = str(model)
    folder = Path(os.path.abspath(os.path.expanduser(model)))
    if model and os.path.isdir(folder):
        return folder, _name_of(folder)
    if model and os.path.exists(folder):
        raise CheckpointError(f"model {model!r} is a file; give the folder that holds {CONFIG} and {WEIGHTS}")
    hub_id = HUB_ID.fullmatch(model)
    if hub_id is None:
        raise CheckpointError(
            f"model {model!r}: there is no folder {folder}, and it is not a hub id; give 'demo', a folder with "
            f"{CONFIG} and {WEIGHTS}, or a hub id such as tue-mps/videomt-dinov2-small-ytvis2019"
        )
    return _download(hub_id["repository"], hub_id["revision"], folder), model


def _name_of(folder: Path) -> str:
    """A folder's own name; for a snapshot in the hub client's cache, whose folder is named by a hash, the hub id."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return folder.name


def _download(repository: str, revision: str | None, folder: Path) -> Path:
    """Gets a checkpoint from the hub, or from the hub client's cache where the hub cannot be reached."""
    looked_for = f"model {repository!r}: there is no folder {folder}, and the Hugging Face hub gave no such model"
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise CheckpointError(f"{looked_for}, for want of its client: pip install huggingface_hub") from error
    log.info("looking up %s on the Hugging Face hub", repository)
    wanted = [CONFIG, "*.safetensors", SHARD_INDEX, *PREPROCESSORS]
    try:
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:  # whatever the client's HTTP library raises comes through, and that library changes
        if isinstance(error, errors.GatedRepoError):
            remedy = "accept its terms on the hub's page and log in with `hf auth login`"
        elif isinstance(error, errors.RepositoryNotFoundError):
            remedy = "check the spelling; for a private model log in with `hf auth login`"
        elif isinstance(error, errors.RevisionNotFoundError):
            remedy = f"it has no revision {revision!r}: give a branch, a tag or a commit that it has"
        else:
            remedy = (
                f"check the network, or get it on another machine with `hf download {repository} --local-dir FOLDER` "
                "and give that folder"
            )
        raise CheckpointError(f"{looked_for}; {remedy} ({first_line(error)})") from error


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no {CONFIG}, expected a checkpoint in Hugging Face's format: {CONFIG} and {WEIGHTS}"
        )
    config = read_json(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise CheckpointError(f"{path}: model_type is {reprlib.repr(model_type)}, supported: {', '.join(FAMILIES)}")
    if "auto_map" in config:
        log.warning("%s asks for code of its own (auto_map): it is not run, the network is eomt_ros's own", path)
    return config


def _settings(family: Family, config: Mapping[str, Any], preprocessing: Mapping[str, Any], folder: Path) -> Settings:
    sizes = {name: preprocessing[name] for name in ("size", "size_divisor") if name in preprocessing}
    try:
        settings = family.settings({**config, **sizes})
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} describes no network that can be built: {error}") from error
    if settings.num_channels != 3:
        raise CheckpointError(f"{folder / CONFIG}: num_channels is {settings.num_channels}, expected 3 (RGB images)")
    return settings


def _class_names(config: Mapping[str, Any], settings: Settings, folder: Path) -> tuple[str, ...]:
    """The checkpoint's own class names in the order of its class logits, Hugging Face's placeholders without any."""
    indices = [str(index) for index in range(settings.num_labels)]
    names = config.get("id2label", {index: f"LABEL_{index}" for index in indices})
    if not isinstance(names, dict) or not all(isinstance(names.get(index), str) for index in indices):
        raise CheckpointError(f"{folder / CONFIG}: id2label is malformed, expected names for '0' to '{indices[-1]}'")
    return tuple(names[index] for index in indices)


def _preprocessing(folder: Path) -> Mapping[str, Any]:
    """What the checkpoint's processor is told to do; nothing where it has no file of that."""
    path = _preprocessor(folder)
    if path is None:
        return {}
    preprocessing = read_json(path)
    for name, expected in FIXED_PREPROCESSING.items():
        value = preprocessing.get(name, expected)
        if value != expected and not (isinstance(value, float) and math.isclose(value, expected, rel_tol=1e-6)):
            raise CheckpointError(f"{path}: {name} is {reprlib.repr(value)}, supported: {expected!r}")
    return preprocessing


def _preprocessor(folder: Path) -> Path | None:
    return next((folder / name for name in PREPROCESSORS if (folder / name).exists()), None)


def _normalisation(preprocessing: Mapping[str, Any], folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel: the checkpoint's own, else ImageNet's, as DINOv2 was trained with."""
    path = _preprocessor(folder)
    mean = _per_channel(preprocessing.get("image_mean", IMAGENET_MEAN), f"{path}: image_mean")
    std = _per_channel(preprocessing.get("image_std", IMAGENET_STD), f"{path}: image_std")
    if min(std) <= 0:
        raise CheckpointError(f"{path}: image_std is {std}, expected numbers above 0")
    return mean, std


def _per_channel(values: Any, where: str) -> tuple[float, ...]:
    numbers = values if isinstance(values, (list, tuple)) else ()
    if len(numbers) != 3 or not all(type(number) in (int, float) and abs(number) <= 1000 for number in numbers):
        raise CheckpointError(f"{where} is {reprlib.repr(values)}, expected three numbers for pixels from 0 to 1")
    return tuple(float(number) for number in numbers)
