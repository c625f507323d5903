"""The settings of a training: one YAML file, which is written beside the result so that a run can be repeated.

Sources: EoMT is Kerssies et al., CVPR 2025, with the configurations of tue-mps/eomt; VidEoMT is tue-mps/videomt;
Mask2Former is Cheng et al., CVPR 2022.
"""

from __future__ import annotations

import dataclasses
import reprlib
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eomt_ros.engine.model.taxonomy import near
from eomt_ros.errors import UserError
from eomt_ros.model_options import TASKS, Options, option, rules_of
from eomt_ros.plain_yaml import load_plain_yaml

SETTINGS_FILE = "settings.yaml"
MADE_WITH = "made_with"
"""The entry of a settings file that says what a run was made with: nothing is read from it."""
LENGTHS = ("steps", "epochs", "minutes")
MOST = 1e12
"""The largest number where a setting has no other bound."""


class SettingsError(UserError):
    """A setting that is not one; the message names the file and the entry."""


@dataclass(frozen=True)
class TrainingSettings(Options):
    """How a network is trained. Raises `ValueError` for what is no setting."""

    task: str = option("panoptic", "What the checkpoint is made for.", choices=TASKS)
    family: str = option(
        "videomt",
        "The kind of network: videomt carries its queries from frame to frame, eomt does not and sees images only.",
        choices=("videomt", "eomt"),
    )
    size: int = option(
        0,
        "Pixels of a side of the network's square input. 0: that of the start; of a plain backbone 640 (EoMT), from"
        " nothing 256.",
        minimum=0,
        maximum=8192,
    )
    queries: int = option(
        0,
        "Queries of the network. 0: those of the start; of a plain backbone 200 (EoMT, VidEoMT), from nothing 24.",
        minimum=0,
        maximum=10_000,
    )
    joint_blocks: int = option(
        0,
        "Last blocks, which see image and queries together. 0: those of the start; of a plain backbone 3 of 12, 4 of 24"
        " (EoMT), from nothing 3.",
        minimum=0,
        maximum=100,
    )
    hidden_size: int = option(
        192, "From nothing: channels of a token, 64 for each head of the attention.", minimum=64, maximum=8192
    )
    layers: int = option(6, "From nothing: blocks in all.", minimum=1, maximum=100)
    seed: int = option(0, "The seed of all that is random.", minimum=0, maximum=2**31 - 1)

    steps: int = option(0, "Length of the run in steps of the optimizer. 0: see epochs.", minimum=0, maximum=10**9)
    epochs: float = option(
        0.0, "Length of the run in passes over the frames of the training data. 0: see minutes.", minimum=0, maximum=1e6
    )
    minutes: float = option(60.0, "Length of the run in minutes, validation left out.", minimum=0, maximum=1e6)
    image_share: float = option(
        -1.0,
        "Share of the run that trains on single images, before streams. -1: 0.4, and 0 from a start that carries"
        " queries already and has all classes (VidEoMT is trained from an EoMT).",
        minimum=-1,
        maximum=1,
    )
    batch: int = option(8, "Images of a step, over all processes (EoMT: 16).", minimum=1, maximum=65536)
    streams: int = option(
        6, "Streams that are played side by side, over all processes (VidEoMT: 8).", minimum=1, maximum=65536
    )
    chunk: int = option(
        2,
        "Frames of a stream in a step, through which gradients go; queries are carried on from chunk to chunk, detached"
        " (VidEoMT: clips of 5).",
        minimum=1,
        maximum=1000,
    )
    accumulate: int = option(
        1,
        "Parts that a step's batch is computed in, one after another: more of them take less memory.",
        minimum=1,
        maximum=65536,
    )
    paste: float = option(
        0.6,
        "Share of images and streams over which things of another one are laid, of the classes that the start lacks"
        " while it knows others (Ghiasi et al., CVPR 2021).",
        minimum=0,
        maximum=1,
    )
    replay: float = option(
        0.25, "Share of the samples that come from the data of --replay, where it is given.", minimum=0, maximum=1
    )

    optimizer: str = option(
        "adamw",
        "adamw, as published, or muon (Jordan et al., 2024; torch 2.9 or newer) for the matrices of the transformer's"
        " blocks, which is faster from nothing on small networks.",
        choices=("adamw", "muon"),
    )
    learning_rate: float = option(1e-4, "The highest learning rate (EoMT, VidEoMT).", minimum=0, maximum=10)
    layer_decay: float = option(
        0.8,
        "Factor of the learning rate from a block of the backbone to the one before it; the joint blocks have the full"
        " rate (EoMT: 0.8, VidEoMT-S: 0.6).",
        minimum=0,
        maximum=1,
    )
    weight_decay: float = option(0.05, "AdamW's, of matrices only (EoMT, VidEoMT).", minimum=0, maximum=10)
    warmup_new: int = option(
        500,
        "Steps in which the learning rate of all but the backbone rises, and the backbone's is 0 (EoMT); at most a"
        " twentieth of a stage.",
        minimum=0,
        maximum=10**9,
    )
    warmup_backbone: int = option(
        1000,
        "Steps after those in which the backbone's rises (EoMT); at most a tenth of a stage.",
        minimum=0,
        maximum=10**9,
    )
    power: float = option(
        0.9, "The learning rate falls as (1 - share of the run) to this power (EoMT).", minimum=0, maximum=10
    )
    clip_norm: float = option(
        0.01, "Largest norm of all gradients together (EoMT, VidEoMT). 0: any.", minimum=0, maximum=MOST
    )
    average_decay: float = option(
        0.998,
        "Decay per step of the moving average of the weights, which is what is validated and kept. 0: no average.",
        minimum=0,
        maximum=1,
    )
    freeze_encoder: bool = option(
        False, "Whether the blocks that see the image alone stay as they are: queries, joint blocks and heads train."
    )

    class_weight: float = option(2.0, "Weight of the loss of classes (Mask2Former).", minimum=0, maximum=MOST)
    mask_weight: float = option(5.0, "Weight of the cross-entropy of masks (Mask2Former).", minimum=0, maximum=MOST)
    dice_weight: float = option(5.0, "Weight of the dice loss of masks (Mask2Former).", minimum=0, maximum=MOST)
    no_object_weight: float = option(
        0.1, "Weight of queries without a segment in the loss of classes (Mask2Former).", minimum=0, maximum=MOST
    )
    points: int = option(
        12544, "Points of a mask at which it is compared (Mask2Former: 112 * 112).", minimum=1, maximum=10**7
    )
    oversample: float = option(
        3.0,
        "Points that are drawn for each one, to choose the uncertain ones of (Mask2Former).",
        minimum=1,
        maximum=100,
    )
    importance: float = option(
        0.75,
        "Share of the points that are the uncertain ones; the rest is anywhere (Mask2Former).",
        minimum=0,
        maximum=1,
    )
    auxiliary: str = option(
        "own",
        "Answers that train beside the last one: those before each joint block. own: with the image's features at that"
        " depth (EoMT); shared: with the last features, so that a step of a small network takes half the time; none.",
        choices=("own", "shared", "none"),
    )
    forget_after: int = option(
        100, "Frames out of view after which a thing's query is free for another.", minimum=0, maximum=10**9
    )
    masking: bool = option(
        True,
        "Whether a query that is new first attends within its mask only, which ends block by block over the run (EoMT);"
        " starts that come with queries are past it.",
    )

    jitter: tuple[float, ...] = option(
        (0.1, 2.0),
        "Smallest and largest scale of an image before a square of the network's size is cut out (EoMT: 0.1 to 2).",
    )
    whole: float = option(
        0.25,
        "Share of images and streams that are shown whole instead, with the place and size that they have in use (EoMT:"
        " 0).",
        minimum=0,
        maximum=1,
    )
    flip: float = option(0.5, "Probability that an image or a stream is mirrored.", minimum=0, maximum=1)
    colour: float = option(
        1.0,
        "Strength of changes of brightness, contrast, saturation, hue and white balance. 1: as Mask2Former, 0: none.",
        minimum=0,
        maximum=2,
    )
    noise: float = option(
        4.0, "Largest deviation of camera noise that is added, in grey levels of 255. 0: none.", minimum=0, maximum=255
    )

    precision: str = option(
        "auto",
        "Arithmetic of the network. auto: bfloat16 where the device computes in it, else float32.",
        choices=("auto", "float32", "bfloat16"),
    )
    loaders: int = option(2, "Threads of a process that load and augment images.", minimum=0, maximum=1024)
    validate_every: float = option(
        0.1,
        "Share of the run after which it is validated, again and again; the best is kept.",
        minimum=0.001,
        maximum=1,
    )
    validation_frames: int = option(
        100,
        "Frames of each video that a validation plays, from the video's begin: what bounds its time. 0: all.",
        minimum=0,
        maximum=10**9,
    )
    save_every: float = option(
        180.0, "Seconds after which the state of the run is saved, for --resume.", minimum=0, maximum=1e9
    )

    def __post_init__(self) -> None:
        """Raises `ValueError` that names the setting."""
        super().__post_init__()
        smallest, largest = self.jitter if len(self.jitter) == 2 else (0.0, 0.0)
        if not 0 < smallest <= largest <= 100:
            raise ValueError(f"jitter: got {list(self.jitter)}, expected the smallest and the largest scale, 0 to 100")
        given = [name for name in LENGTHS if getattr(self, name)]
        if len(given) != 1:
            got = ", ".join(f"{name} {getattr(self, name):g}" for name in LENGTHS)
            raise ValueError(f"the length of the run: got {got}, expected one of the three above 0")


def read_settings(path: Path) -> TrainingSettings:
    """Reads a settings file; what it does not name has its default.

    Raises `SettingsError` that names the file and the entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return with_entries(TrainingSettings(), text, f"settings {path}")


def read_made_with(path: Path) -> Mapping[str, Any]:
    """What the run of a settings file, which `read_settings` takes, was made with; empty where it does not say."""
    content = load_plain_yaml(path.read_text(encoding="utf-8")) or {}
    made = content.get(MADE_WITH)
    return made if isinstance(made, Mapping) else {}


def with_entries(settings: TrainingSettings, text: str, where: str) -> TrainingSettings:
    """The settings with other values: the entries of a YAML text. One length of the run replaces another.

    where: what the text is, for errors. Raises `SettingsError`.
    """
    try:
        content = load_plain_yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    content = {} if content is None else content
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where} holds {reprlib.repr(content)}, expected names with values")
    values = {name: _number(value) for name, value in content.items() if name != MADE_WITH}
    rules = rules_of(TrainingSettings)
    for name in values:
        if name not in rules:
            raise SettingsError(f"{where} has {name!r}, which is no setting{near(str(name), tuple(rules))}")
    if any(name in values for name in LENGTHS):
        values = {**dict.fromkeys(LENGTHS, 0), **values}
    try:
        return dataclasses.replace(settings, **values)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def settings_text(settings: TrainingSettings, made_with: Mapping[str, Any]) -> str:
    """A settings file with the meaning of every entry, and what the run is made with: plain values by name."""
    lines = ["# Settings of a training: eomt-ros train DATA --settings THIS_FILE repeats it.", ""]
    for name, rule in rules_of(TrainingSettings).items():
        value = getattr(settings, name)
        lines += textwrap.wrap(rule.text, 100, initial_indent="# ", subsequent_indent="# ")
        lines += [_entry(name, list(value) if isinstance(value, tuple) else value), ""]
    return (
        "\n".join(lines)
        + "\n# What the run was made with; nothing is read from here.\n"
        + _entry(MADE_WITH, dict(made_with))
        + "\n"
    )


def _entry(name: str, value: Any) -> str:
    return yaml.safe_dump({name: value}, default_flow_style=False, sort_keys=False, width=110).rstrip("\n")


def _number(value: Any) -> Any:
    """Numbers such as 1e-4 are texts to YAML, which wants 1.0e-4."""
    if isinstance(value, list):
        return [_number(each) for each in value]
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
