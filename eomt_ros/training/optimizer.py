"""The optimizer and its learning rates, as EoMT and VidEoMT are trained: AdamW, layer-wise decay, a warm-up in two
stages, polynomial decay (reference: `configure_optimizers` in tue-mps/eomt and tue-mps/videomt).

One thing differs: weights of norms, biases and embeddings do not decay, which there they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from eomt_ros.engine.networks import QueryVit
from eomt_ros.training.errors import TrainingError
from eomt_ros.training.settings import TrainingSettings

LONGEST_WARMUPS = (0.05, 0.1)
"""Shares of a stage that the warm-ups of what is new and of the backbone take at most, however few its steps are."""
_BLOCK = re.compile(r"layers\.(\d+)\.")
_EMBEDDED = ("embeddings.", "query.")


@dataclass(frozen=True)
class Group:
    """Parameters with the same learning rate and decay."""

    names: tuple[str, ...]
    scale: float
    """Of the learning rate."""
    is_new: bool
    """Whether it warms up first, or is of a trained backbone and waits."""
    weight_decay: float
    by_muon: bool


def freeze(network: QueryVit, settings: TrainingSettings) -> None:
    """Lets all parameters learn, without those of the blocks that see the image alone where the settings say so."""
    network.requires_grad_(True)
    if settings.freeze_encoder:
        network.embeddings.requires_grad_(False)
        network.layers[: -network.settings.num_blocks].requires_grad_(False)


def groups_of(network: QueryVit, settings: TrainingSettings, new: frozenset[str]) -> list[Group]:
    """The parameters that learn, in groups; new: names of those that come from no training."""
    found: dict[tuple[float, bool, float, bool], list[str]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        in_backbone = name.startswith(("embeddings.", "layers.", "layernorm.")) and name not in new
        decays = parameter.ndim > 1 and not name.startswith(_EMBEDDED)
        by_muon = settings.optimizer == "muon" and parameter.ndim == 2 and name.startswith(("layers.", "mask_head."))
        scale = _layer_scale(name, network, settings.layer_decay) if in_backbone else 1.0
        key = (scale, not in_backbone, settings.weight_decay if decays else 0.0, by_muon)
        found.setdefault(key, []).append(name)
    return [Group(tuple(names), *key) for key, names in found.items()]


def _layer_scale(name: str, network: QueryVit, decay: float) -> float:
    blocks, joint = network.settings.num_hidden_layers, network.settings.num_blocks
    if name.startswith("layernorm."):
        return 1.0
    block = _BLOCK.match(name)
    index = int(block[1]) if block else 0  # what comes before the blocks has the rate of the first one
    return 1.0 if index >= blocks - joint else float(decay ** (blocks - 1 - index))


def learning_rate(settings: TrainingSettings, is_new: bool, step: int, share: float) -> float:
    """The learning rate of a group before its scale.

    step: that of the stage, from 0. share: of the stage that is over, 0 to 1, by which the rate decays and the warm-ups
    end, for runs whose steps nobody knows beforehand.
    """
    first, second = LONGEST_WARMUPS
    warm_new = _warmth(step, settings.warmup_new, share, first)
    if is_new:
        warmth = warm_new
    elif warm_new < 1:
        warmth = 0.0
    else:
        # From where the first warm-up ended, which a stage's share may have cut short.
        begun = min(settings.warmup_new, step)
        warmth = _warmth(step - begun, settings.warmup_backbone, max(0.0, share - first), second)
    return settings.learning_rate * warmth * (1 - share) ** settings.power


def _warmth(step: int, steps: int, share: float, longest: float) -> float:
    return min(1.0, max(step / steps if steps else 1.0, share / longest))


class Optimizers:
    """AdamW for all parameters that learn, and Muon for the blocks' matrices where the settings say so."""

    def __init__(self, network: QueryVit, settings: TrainingSettings, new: frozenset[str]) -> None:
        self._settings = settings
        parameters = dict(network.named_parameters())
        groups = groups_of(network, settings, new)
        if not groups:
            raise TrainingError("no parameter of the network learns: freeze_encoder leaves nothing")
        self._optimizers: list[torch.optim.Optimizer] = []
        if plain := [_options(group, parameters) for group in groups if not group.by_muon]:
            self._optimizers.append(torch.optim.AdamW(plain, lr=0.0))
        if matrices := [_options(group, parameters) for group in groups if group.by_muon]:
            self._optimizers.append(_muon(matrices))

    def step(self, step: int, share: float, factor: float) -> float:
        """One step at the rates of `learning_rate` times `factor`; the rate of what is new."""
        for group in self._groups():
            rate = factor * learning_rate(self._settings, group["is_new"], step, share)
            group["lr"] = rate * group["scale"]
        for optimizer in self._optimizers:
            optimizer.step()
        return factor * learning_rate(self._settings, True, step, share)

    def state(self) -> list[dict[str, Any]]:
        """Plain values and tensors, for `restore`."""
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Goes on from `state`."""
        for optimizer, each in zip(self._optimizers, state, strict=True):
            optimizer.load_state_dict(each)

    def _groups(self) -> Iterator[dict[str, Any]]:
        for optimizer in self._optimizers:
            yield from optimizer.param_groups


def _options(group: Group, parameters: dict[str, nn.Parameter]) -> dict[str, Any]:
    return {
        "params": [parameters[name] for name in group.names],
        "weight_decay": group.weight_decay,
        "scale": group.scale,
        "is_new": group.is_new,
    }


def _muon(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if not hasattr(torch.optim, "Muon"):
        raise TrainingError(f"optimizer muon needs torch 2.9 or newer, this is {torch.__version__}: use adamw")
    # Rates as AdamW's (Liu et al., 2025), so that one schedule serves both.
    muon: torch.optim.Optimizer = torch.optim.Muon(groups, lr=0.0, adjust_lr_fn="match_rms_adamw")
    return muon
