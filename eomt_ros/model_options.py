"""The options of a model, declared once, for `Segmenter.load`, the node's parameters and the command line."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

TASKS = ("semantic", "instance", "panoptic")
GONE = {"compile": "frames run as CUDA graphs without it; leave it out"}
"""Options of former versions, and what to do instead."""

_RULE = "rule"
_KINDS = {
    bool: "boolean",
    int: "whole number",
    float: "number",
    str: "string (quote it)",
    tuple: "list",
}
_ITEMS = {str: "strings", float: "numbers", int: "whole numbers"}


@dataclass(frozen=True)
class Rule:
    """The meaning of an option, the values that it takes, and whether it may change while the model is in use."""

    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    """In these, N stands for a whole number."""
    live: bool = False

    @property
    def text(self) -> str:
        """The description, with the choices where there are any."""
        return f"{self.description} One of: {quoted(self.choices)}." if self.choices else self.description

    def fault(self, value: Any) -> str | None:
        """The sentence that refuses a value of the right type; None where it is acceptable."""
        if self.choices and not any(re.fullmatch(each.replace("N", r"\d+"), value, re.ASCII) for each in self.choices):
            return f"got {value!r}, expected one of {quoted(self.choices)}"
        # Written so that NaN is refused too.
        if self.minimum is not None and self.maximum is not None and not self.minimum <= value <= self.maximum:
            return f"got {value}, expected {self.minimum} to {self.maximum}"
        return None


def option(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A field of a class of options."""
    rule = Rule(description, minimum, maximum, choices, live)
    return dataclasses.field(default=default, metadata={_RULE: rule})


def rules_of(options: type[Options]) -> dict[str, Rule]:
    """The rule of each option of a class, by name."""
    return {field.name: field.metadata[_RULE] for field in dataclasses.fields(options)}


@dataclass(frozen=True)
class Options:
    """Checks the values of a subclass's options; None stands for a default. Raises `ValueError`."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            value = (
                field.default if value is None else accepted(field.name, value, field.default, field.metadata[_RULE])
            )
            object.__setattr__(self, field.name, value)


def accepted(name: str, value: Any, default: Any, rule: Rule) -> Any:
    """The value of an option, as the type of its default. Raises `ValueError` that says what is expected."""
    kind = type(default)
    if kind in (int, float) and not isinstance(value, bool) and isinstance(value, Integral if kind is int else Real):
        value = kind(value)
    if kind is str and isinstance(value, Path):
        value = str(value.expanduser().absolute())
    if kind is tuple and isinstance(value, (list, tuple)):
        item = type(default[0])
        numbers = item is float and all(isinstance(each, Real) and not isinstance(each, bool) for each in value)
        if numbers or all(type(each) is item for each in value):
            return tuple(map(item, value))
        raise ValueError(f"{name}: got {value!r}, expected a {_KINDS[kind]} of {_ITEMS[item]}")
    if type(value) is not kind:
        items = f" of {_ITEMS[type(default[0])]}" if kind is tuple else ""
        raise ValueError(f"{name}: got {value!r} ({type(value).__name__}), expected a {_KINDS[kind]}{items}")
    if fault := rule.fault(value):
        raise ValueError(f"{name}: {fault}")
    return value


def quoted(choices: tuple[str, ...]) -> str:
    """Choices as a user writes them."""
    return ", ".join(map(repr, choices))


@dataclass(frozen=True)
class ModelOptions(Options):
    """A model, and how it segments. None stands for the default, in each; raises `ValueError` for what is no option.

    `live` ones may change while the model is in use. Sources: `post_processing` and `MAX_NUM` in VidEoMT's videomt.py,
    `eval_top_k_instances` of EoMT, and the processors of transformers.
    """

    model: str = option(
        "demo",
        "A folder with config.json and model.safetensors, a Hugging Face hub id, or 'demo' (comes with the package).",
    )
    task: str = option(
        "", "Segmentation task. Empty: the one that the checkpoint was trained for.", choices=("", *TASKS)
    )
    device: str = option(
        "auto",
        "Device; N is the number of a GPU. 'auto': the GPU if there is one, else the CPU.",
        choices=("auto", "cpu", "cuda", "cuda:N"),
    )
    precision: str = option(
        "auto",
        "Arithmetic of the network; float32 is the reference. 'auto': float16 on a GPU, and another as soon as that"
        " overflows; on a CPU bfloat16 where it computes in it, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    backend: str = option(
        "auto",
        "Runtime of the network. 'auto': torch on a GPU, and with precision 'float32'; else, on a CPU, OpenVINO where"
        " it is installed and has an export of the model, as it has of 'demo', else torch.",
        choices=("auto", "torch", "openvino", "onnxruntime"),
    )
    fit: str = option(
        "stretch",
        "How an image is brought to VidEoMT's size: 'stretch' as in Hugging Face, 'keep_aspect' as published (shorter"
        " side 448 of YouTube-VIS, 544 of OVIS, 720 of VIPSeg and VSPW). The other families have one way each.",
        choices=("stretch", "keep_aspect"),
    )
    size: int = option(
        0,
        "Shorter side of the network's input (pixels): smaller is faster and sees less. 0: the checkpoint's. With fit"
        " 'stretch' a square of this side, a multiple of the patch (16 in published models).",
        minimum=0,
        maximum=2048,
    )
    labels: str = option(
        "",
        "A YAML file of class names and thing/stuff kinds. Empty: the one that lies with the model or is in the"
        " package, else the model's names.",
    )
    score_threshold: float = option(
        -1.0,
        "Minimum score of a segment; the semantic task uses none. Negative: the family's default for the task (VidEoMT:"
        " panoptic 0.8, instance 0.5).",
        minimum=-1.0,
        maximum=1.0,
        live=True,
    )
    mask_threshold: float = option(0.5, "Minimum mask probability of a pixel.", minimum=0.0, maximum=1.0, live=True)
    overlap_threshold: float = option(
        0.8,
        "Panoptic: minimum share of a segment's mask that other segments leave visible; a segment with less is"
        " dropped.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    fuse_stuff: bool = option(True, "Panoptic: all regions of a stuff class are one segment.", live=True)
    score_memory: float = option(
        0.0,
        "VidEoMT: how much of a query's class scores is remembered from frame to frame. 0: nothing, as Hugging Face. 1:"
        " the mean of all frames, as published. Between: an exponential mean.",
        minimum=0.0,
        maximum=1.0,
    )
    top_k: int = option(
        0,
        "VidEoMT and EoMT, instance task: number of likeliest pairs of query and class that can be instances, as"
        " published. 0: each query with its likeliest class, as Hugging Face.",
        minimum=0,
        maximum=10000,
    )
    remember: float = option(
        60.0,
        "How long a thing that is out of sight keeps its id for when it comes back (s), by what it looks like and,"
        " where that is known, where it was. 0: for 2 s, where it was in the image.",
        minimum=0.0,
        maximum=86400.0,
        live=True,
    )
    remember_similarity: float = option(
        0.4,
        "How like a remembered thing one must look to get its id. Higher: fewer wrong ids and more new ones.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    taxonomy: str = option(
        "",
        "What the robot calls things: a YAML file, or the name of one of config/taxonomies. Empty: the model's own"
        " classes.",
    )
    classes: tuple[str, ...] = option(
        ("",),
        "Names of the classes to keep, those of the taxonomy where there is one; the others are unlabelled. ['']: all.",
    )
    ignore_mask: str = option(
        "",
        "A PNG of the images' size, black where the robot sees itself: there nothing is labelled. '{camera}' in it"
        " stands for each camera's name.",
    )
