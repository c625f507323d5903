"""Loads a checkpoint, from a folder or the hub, with its settings and labels.

Only JSON and safetensors are read, and only known architectures are built: nothing that comes with a checkpoint is
executed, neither pickled weights nor code of its own (`auto_map`).
"""

from __future__ import annotations

import logging
import os
import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eomt_ros.engine.errors import CheckpointError, LabelsError, first_line, listed
from eomt_ros.engine.model.families import FAMILIES, Family, NetworkSettings
from eomt_ros.engine.model.labels import OWN_TABLE, Labels, is_name, labels_for
from eomt_ros.engine.model.processor import FILES as PROCESSOR_FILES
from eomt_ros.engine.model.processor import PROCESSORS, Processor, read_processor
from eomt_ros.engine.model.weights import SHARD_INDEX, WEIGHTS, read_json
from eomt_ros.engine.networks import Network, VitSettings
from eomt_ros.package_data import shipped

log = logging.getLogger(__name__)

CONFIG = "config.json"
HUB_ID = re.compile(r"(?P<repository>[a-zA-Z0-9][\w.-]*/[a-zA-Z0-9][\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """A network with its preprocessing and its labels."""

    name: str
    """The hub id, or the folder's own name."""
    folder: Path
    """The folder of its files."""
    family: Family
    network: Network
    """float32, on the CPU, in evaluation mode, without gradients."""
    settings: NetworkSettings
    labels: Labels
    processor: Processor

    @property
    def task(self) -> str:
        """The task that the checkpoint is made for: "semantic", "instance" or "panoptic"."""
        return self.labels.task


def load_checkpoint(model: str | Path, labels: str | Path | None = None) -> Checkpoint:
    """Loads a checkpoint in Hugging Face's format.

    model: "demo" (the one that ships with the package), a folder with `config.json` and `model.safetensors` (or shards
    and their index), or a hub id `owner/name`, with `@revision` where one is wanted.
    labels: a label table to use instead of the one that lies in the checkpoint's folder, or fits it.

    Raises `CheckpointError` where the checkpoint is missing, broken or unsupported, `LabelsError` for its label table.
    """
    folder, name = find_checkpoint(model)
    try:
        config = read_config(folder)
        family = FAMILIES[config["model_type"]]
        settings = _settings(family, config, folder)
        processor = read_processor(folder, family.processor, family.fixed)
        if isinstance(settings, VitSettings) and processor.lengths - {settings.image_size}:
            log.warning(
                "the processor of %s asks for sizes of %s, but the network takes %d only, as its %s says: that is used",
                *(folder, sorted(processor.lengths), settings.image_size, CONFIG),
            )
        return Checkpoint(
            name=name,
            folder=folder,
            family=family,
            network=family.load(settings, folder),
            settings=settings,
            labels=_labels(name, folder, config, settings, labels),
            processor=processor,
        )
    except OSError as error:
        raise CheckpointError(f"the checkpoint in {folder} cannot be read: {error}") from error


def load_model_labels(model: str | Path, labels: str | Path | None = None) -> Labels:
    """The labels that `load_checkpoint` gives a checkpoint, without its network; arguments and errors as there."""
    folder, name = find_checkpoint(model)
    config = read_config(folder)
    return _labels(name, folder, config, _settings(FAMILIES[config["model_type"]], config, folder), labels)


def _labels(
    name: str, folder: Path, config: Mapping[str, Any], settings: NetworkSettings, table: str | Path | None
) -> Labels:
    own = None if table is not None else _own_table(folder, name)
    return labels_for(name, _class_names(config, settings, folder, told=table is None and own is None), table, own)


def _own_table(folder: Path, name: str) -> Path | None:
    """The label table that lies in a checkpoint's folder; None where there is none.

    Raises `LabelsError` for a link out of the folder: a checkpoint of someone else's must not have other files read.
    """
    path = folder / OWN_TABLE
    if not os.path.lexists(path):
        return None
    inside = folder.parent.parent if _is_snapshot(folder) else folder  # whose files are links into the folder `blobs`
    ours = name == "demo"  # an installation may consist of links
    if not ours and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(inside)):
        raise LabelsError(f"labels: {path} is a link out of its folder, expected the table itself; copy it there")
    return path


def find_checkpoint(model: str | Path) -> tuple[Path, str]:
    """The folder of a checkpoint, which is downloaded where it is a hub id, and the model's name.

    model: as in `load_checkpoint`. Raises `CheckpointError`.
    """
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
    if _is_snapshot(folder):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return folder.name


def _is_snapshot(folder: Path) -> bool:
    """True for a folder in the hub client's cache."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def _download(repository: str, revision: str | None, folder: Path) -> Path:
    """Gets a checkpoint from the hub, or from the hub client's cache where the hub cannot be reached."""
    looked_for = f"model {repository!r}: there is no folder {folder}, and the Hugging Face hub gave no such model"
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise CheckpointError(f"{looked_for}, because its client is missing: pip install huggingface_hub") from error
    log.info("looking up %s on the Hugging Face hub", repository)
    wanted = [CONFIG, OWN_TABLE, "*.safetensors", SHARD_INDEX, PROCESSORS, *PROCESSOR_FILES["video_processor"]]
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


def read_config(folder: Path, supported: Collection[str] = FAMILIES) -> Mapping[str, Any]:
    """The content of a checkpoint's `config.json`, whose `model_type` is a supported one.

    Raises `CheckpointError`, `OSError` where the file cannot be read.
    """
    path = folder / CONFIG
    if not path.exists():
        raise CheckpointError(
            f"{folder} has no {CONFIG}, expected a checkpoint in Hugging Face's format: {CONFIG} and {WEIGHTS}"
        )
    config = read_json(path)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in supported:
        raise CheckpointError(f"{path}: model_type is {reprlib.repr(model_type)}, supported: {', '.join(supported)}")
    if "auto_map" in config:
        log.warning("%s asks for code of its own (auto_map): it is not run, the network is eomt_ros's own", path)
    return config


def _settings(family: Family, config: Mapping[str, Any], folder: Path) -> NetworkSettings:
    try:
        settings = family.settings(config)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CONFIG} describes no network that can be built: {error}") from error
    if settings.num_channels != 3:
        shown = reprlib.repr(settings.num_channels)
        raise CheckpointError(f"{folder / CONFIG}: num_channels is {shown}, expected 3 (RGB images)")
    return settings


def _class_names(config: Mapping[str, Any], settings: NetworkSettings, folder: Path, *, told: bool) -> tuple[str, ...]:
    """The checkpoint's own class names in the order of its class logits, with Hugging Face's placeholders for others.

    told: True to warn of placeholders.
    """
    given = {int(key): name for key, name in (config.get("id2label") or {}).items()}
    indices = range(settings.num_labels)
    if len(given) != len(indices):  # names of another training, which Hugging Face drops, too
        names: dict[int, str] = {}
    else:
        names = {index: given[index] for index in indices if is_name(given.get(index))}
    if told and given and len(names) < len(indices):
        without = [str(index) for index in indices if index not in names]
        log.warning(
            "%s: id2label has %d names, from class %d to %d, and for %d of the network's classes 0 to %d none that can "
            "be used: they are called LABEL_ and their number (%s); give a table by the parameter 'labels'",
            *(folder / CONFIG, len(given), min(given), max(given), len(without), indices[-1], listed(without)),
        )
    return tuple(names.get(index, f"LABEL_{index}") for index in indices)
