"""What a training starts from: a network whose classes, size and family are those that are asked for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eomt_ros.engine.errors import CheckpointError, listed
from eomt_ros.engine.model.checkpoint import Checkpoint, find_checkpoint, load_checkpoint, read_config
from eomt_ros.engine.model.convert import CHANNELS_PER_HEAD
from eomt_ros.engine.model.families import FAMILIES
from eomt_ros.engine.model.labels import LARGEST_TABLE
from eomt_ros.engine.model.processor import IMAGENET_MEAN, IMAGENET_STD
from eomt_ros.engine.networks import Dinov2Settings, Dinov3Settings, Eomt, QueryVit, Videomt
from eomt_ros.engine.networks.dinov2 import resample_positions
from eomt_ros.training.backbone import PLAIN_BACKBONES, backbone_settings, backbone_weights
from eomt_ros.training.dataset import DatasetClass
from eomt_ros.training.settings import TrainingSettings

FROM_NOTHING = "nothing"
KINDS: Mapping[str, type[QueryVit]] = {"videomt": Videomt, "eomt": Eomt}
"""By family in `TrainingSettings`."""
STARTS = tuple(name for name in FAMILIES if name.startswith(tuple(KINDS)))
"""What a start can be, by `model_type`, beside plain backbones."""
POSITIONS = "embeddings.position_embeddings.weight"

MOST_NAMED = 20
"""Classes that a note lists."""


@dataclass(frozen=True)
class Start:
    """A network to train, and what it is made of."""

    network: QueryVit
    """float32, on the CPU, in training mode, with gradients."""
    new: frozenset[str]
    """The parameters that are new, in whole or in part."""
    notes: list[str]
    """What was kept, changed and made new, a line each."""
    added: frozenset[int] = frozenset()
    """The classes that it lacked while it knew others."""

    @property
    def begins_with_streams(self) -> bool:
        """True if it was trained to carry its queries, and knows all classes: new ones are learnt on single images, in
        each of which it is decided anew which query shows what.
        """
        return isinstance(self.network, Videomt) and not {"query_updater.weight", "class_predictor.weight"} & self.new


def start_network(start: str, settings: TrainingSettings, classes: Sequence[DatasetClass]) -> Start:
    """Makes the network that a training starts with; what is new in it is drawn by `settings.seed`.

    start: "nothing", or what `load_checkpoint` takes: a VidEoMT or an EoMT, either of which the other starts from, or a
    plain backbone as transformers saves it (`dinov2_with_registers`, `dinov3_vit`). classes: in the order of their ids;
    a class that the start has by the same name keeps its row of the class head.

    Raises `CheckpointError` for a start that is missing, broken, of another kind, or does not fit the settings,
    `LabelsError` for its label table.
    """
    names = [each.name for each in classes]
    length = sum(len(name.encode()) for name in names)
    if length > LARGEST_TABLE // 2:
        raise CheckpointError(
            f"the names of the classes have {length} bytes in all, expected at most {LARGEST_TABLE // 2}; shorten them"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if start == FROM_NOTHING:
            made = _from_nothing(settings, names)
        else:
            folder, _ = find_checkpoint(start)
            try:
                config = read_config(folder, (*STARTS, *PLAIN_BACKBONES))
                if config["model_type"] in PLAIN_BACKBONES:
                    made = _from_backbone(config, folder, settings, names)
                else:
                    made = _from_checkpoint(load_checkpoint(start), settings, names)
            except OSError as error:
                raise CheckpointError(f"the start in {folder} cannot be read: {error}") from error
    made.network.train().requires_grad_(True)
    return made


def _from_checkpoint(checkpoint: Checkpoint, settings: TrainingSettings, names: Sequence[str]) -> Start:
    """A network that has what fits of another one's weights."""
    assert isinstance(checkpoint.network, QueryVit)  # no other is among STARTS
    before = checkpoint.network.settings
    changes: dict[str, Any] = {"num_labels": len(names)}
    if settings.size:
        changes["image_size"] = settings.size
    if settings.queries:
        changes["num_queries"] = settings.queries
    if settings.joint_blocks:
        changes["num_blocks"] = settings.joint_blocks
    if settings.family != "videomt" and isinstance(before, Dinov3Settings):
        changes["norm_queries"] = False
    wanted = _checked(dataclasses.replace(before, **changes), checkpoint.name)
    weights = checkpoint.network.state_dict()
    notes = [f"started from {checkpoint.name} ({checkpoint.family.name})"]
    lacked = _class_head(weights, checkpoint.labels.class_names, names, notes)
    new = {"class_predictor.weight", "class_predictor.bias"} if lacked else set()
    if wanted.num_queries != before.num_queries:
        weights["query.weight"] = _queries(weights["query.weight"], wanted.num_queries)
        notes.append(f"queries: {wanted.num_queries} of {before.num_queries}")
        if wanted.num_queries > before.num_queries:
            new.add("query.weight")
    if POSITIONS in weights and wanted.grid != before.grid:
        weights[POSITIONS] = resample_positions(weights[POSITIONS], before.grid, wanted.grid)
        sizes = [f"{down}x{across}" for down, across in (before.grid, wanted.grid)]
        notes.append(f"position embeddings resampled from {sizes[0]} to {sizes[1]} patches")
    if bool((weights.pop("attn_mask_probs", torch.zeros(1)) > 0).any()):
        notes.append("the start masks the attention of its queries, which a network that is trained here does not")
    if wanted.num_blocks != before.num_blocks:
        notes.append(f"joint blocks: {wanted.num_blocks} instead of {before.num_blocks}")
    processor = checkpoint.processor
    if (processor.image_mean, processor.image_std) != (IMAGENET_MEAN, IMAGENET_STD):
        notes.append("the start normalises pixels by another mean and deviation than ImageNet's, which it is now given")
    made = _built(settings, wanted, weights, new, notes)
    return dataclasses.replace(made, added=lacked if len(lacked) < len(names) else frozenset())


def _from_backbone(config: Mapping[str, Any], folder: Path, settings: TrainingSettings, names: Sequence[str]) -> Start:
    """A network whose queries and heads are new, of the sizes with which EoMT is published."""
    layers = config.get("num_hidden_layers")
    layers = layers if type(layers) is int else Dinov2Settings.num_hidden_layers
    wanted = backbone_settings(
        config,
        folder,
        num_labels=len(names),
        image_size=settings.size or Dinov2Settings.image_size,
        num_queries=settings.queries or Dinov2Settings.num_queries,
        num_blocks=settings.joint_blocks or max(1, min(layers // 12 + 2, layers - 1)),
        num_upscale_blocks=Dinov2Settings.num_upscale_blocks,
    )
    weights, resampled = backbone_weights(config["model_type"], folder, wanted)
    notes = [f"started from the backbone {folder.name} ({config['model_type']}): queries and heads are new", *resampled]
    return _built(settings, wanted, weights, set(), notes)


def _from_nothing(settings: TrainingSettings, names: Sequence[str]) -> Start:
    """A network with random weights, on a DINOv2."""
    if settings.hidden_size % CHANNELS_PER_HEAD:
        raise CheckpointError(
            f"hidden_size is {settings.hidden_size}, expected a multiple of {CHANNELS_PER_HEAD}, the channels of a head"
        )
    shape = Dinov2Settings(
        num_labels=len(names),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.hidden_size // CHANNELS_PER_HEAD,
        image_size=settings.size or 256,
        num_blocks=settings.joint_blocks or min(3, settings.layers),
        num_queries=settings.queries or 24,
    )
    network = KINDS[settings.family](_checked(shape, FROM_NOTHING))
    _initialise(network)
    size = f"{shape.num_hidden_layers} layers of {shape.hidden_size}, {shape.num_queries} queries"
    return Start(network, frozenset(dict(network.named_parameters())), [f"started from nothing: {size}"])


def _checked(settings: Dinov2Settings | Dinov3Settings, start: str) -> Dinov2Settings | Dinov3Settings:
    try:
        settings.check()
    except ValueError as error:
        raise CheckpointError(f"the start {start} does not fit the settings of the training: {error}") from error
    return settings


def _built(
    settings: TrainingSettings,
    wanted: Dinov2Settings | Dinov3Settings,
    weights: Mapping[str, Tensor],
    changed: set[str],
    notes: list[str],
) -> Start:
    """The network with the weights that it has a place for; the others begin as torch draws them, as in EoMT.

    A query updater that is new begins at 0: every frame then has the first queries, as in an EoMT.
    """
    network = KINDS[settings.family](wanted)
    own = network.state_dict()
    network.load_state_dict({**own, **{name: weights[name] for name in own if name in weights}})
    new = {name for name, _ in network.named_parameters() if name not in weights}
    if isinstance(network, Videomt) and "query_updater.weight" in new:
        nn.init.zeros_(network.query_updater.weight)
        nn.init.zeros_(network.query_updater.bias)
        notes.append("the query updater is new, and carries nothing yet from frame to frame")
    if not isinstance(network, Videomt) and "query_updater.weight" in weights:
        notes.append("the query updater is left out: an EoMT sees each image by itself")
    return Start(network, frozenset(new | changed), notes)


def _class_head(
    weights: dict[str, Tensor], before: Sequence[str], names: Sequence[str], notes: list[str]
) -> frozenset[int]:
    """Gives the weights a class head for other classes; the rows of it that are new."""
    rows = {name.strip(): row for row, name in enumerate(before)}
    kept = [name for name in names if name.strip() in rows]
    lacked = frozenset(row for row, name in enumerate(names) if name.strip() not in rows)
    gone = sorted(set(rows) - {name.strip() for name in names})
    old = [weights[f"class_predictor.{part}"] for part in ("weight", "bias")]
    head = nn.Linear(old[0].shape[1], len(names) + 1)
    with torch.no_grad():
        for fresh, former in zip((head.weight, head.bias), old, strict=True):
            for row, name in enumerate(names):
                if name.strip() in rows:
                    fresh[row] = former[rows[name.strip()]]
            fresh[-1] = former[-1]  # no object
    weights["class_predictor.weight"], weights["class_predictor.bias"] = head.weight.detach(), head.bias.detach()
    new = [names[row] for row in sorted(lacked)]
    for what, which in (("kept", kept), ("new", new), ("left out", gone)):
        if which:
            notes.append(f"classes {what}: {listed(which, MOST_NAMED)}")
    return lacked


def _queries(queries: Tensor, count: int) -> Tensor:
    """The first queries; where more are wanted, others that are drawn like them, channel by channel."""
    more = max(count - len(queries), 0)
    mean, std = queries.mean(0), queries.std(0, correction=0)
    return torch.cat((queries[:count], mean + std * torch.randn(more, queries.shape[1])))


def _initialise(network: QueryVit) -> None:
    """Weights to start from: small, residual branches smaller with depth, queries that carry nothing yet."""
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2 or any(part in name for part in ("conv1", "conv2", "patch_embeddings")):
            continue  # torch's own start suits convolutions
        scale = 0.02
        if name.endswith(("out_proj.weight", "fc2.weight")) and name.startswith("layers."):
            scale /= math.sqrt(2 * network.settings.num_hidden_layers)
        if name == "query.weight":
            scale = 0.3
        nn.init.trunc_normal_(parameter, std=scale, a=-2 * scale, b=2 * scale)
    if isinstance(network, Videomt):
        nn.init.zeros_(network.query_updater.weight)
        nn.init.zeros_(network.query_updater.bias)
