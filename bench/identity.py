"""What tells things of one class apart: `python -m bench.identity RECORDING... --plot docs/identity.png`.

The recordings have ground truth. A visit is the time for which a true thing is found without being lost for 2 s. Pairs
of visits of one class, the later one beginning 2 to 60 s after the end of the earlier, are of one thing or of two; what
is compared is the first frame of the later one, and what is remembered of the earlier: the mean of its frames, or the
last. "In view" is the first frame of a visit of 1 to 30 s beside its last, or beside the last of another thing.

Prints a Markdown table, of each description the probability that a pair of one thing is more alike than one of two, and
the share of pairs of one thing that are more alike than all but 5 % of those of two; and draws how alike the pairs are.

`python -m bench identity` measures the cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from bench.pictures import picture
from bench.timing import Row, repeat
from eomt_ros.engine import FrameResult, Segment, Segmenter
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.engine.networks import QueryVit
from eomt_ros.engine.postprocess.label_map import LabelMap, Region
from eomt_ros.engine.tracking.embedding import embeddings_of
from eomt_ros.evaluation.frame import Prediction
from eomt_ros.evaluation.metrics.overlap import Key, overlap_of
from eomt_ros.evaluation.sources.opening import open_sequences
from eomt_ros.evaluation.sources.sequence import FrameSequence
from eomt_ros.evaluation.sources.truth import TruthSource
from eomt_ros.stamps import SECOND

LOST, FORGOTTEN = 2 * SECOND, 60 * SECOND
SHORT, LONG = SECOND, 30 * SECOND
SMALLEST = 0.001
"""Share of the image that a thing has at least, as for the figures of objects."""
WRONG = 0.05
"""Share of pairs of two things that pass."""
THINGS, COLUMNS = 30, 6
"""In the frame whose cost is measured."""
SHOWN = ("query", "patches, last layer", "colours")
"""Descriptions that are drawn."""


def rows() -> Iterator[Row]:
    """The embeddings of a frame that things fill."""
    for name, (height, width) in {"640x480": (480, 640), "1920x1080": (1080, 1920)}.items():
        winner, regions = np.zeros((height, width), np.uint8), []
        down, across = height // ceil(THINGS / COLUMNS), width // COLUMNS
        for number in range(THINGS):
            y, x = number // COLUMNS * down, number % COLUMNS * across
            ellipse = (x + across / 2, y + down / 2), (across, down), 0.0
            cv2.ellipse(winner, ellipse, 1 + number, cv2.FILLED)
            area = int(np.count_nonzero(winner == 1 + number))
            regions.append(Region(number, 0, True, 1.0, area, (x, y, across, down), (number,)))
        found = LabelMap(winner, None, tuple(regions), 1)
        yield repeat(
            f"embeddings, {name}", partial(embeddings_of, picture(height, width), found), note=f"{THINGS} things"
        )


@dataclass(eq=False)
class Visit:
    """A true thing from when it is found to when it is lost."""

    recording: str
    thing: Key
    begin: int
    end: int = 0
    """Nanoseconds."""
    first: dict[str, np.ndarray] = field(default_factory=dict)
    last: dict[str, np.ndarray] = field(default_factory=dict)
    total: dict[str, np.ndarray] = field(default_factory=dict)
    """What each description says of it, of unit length: in the first and in the last frame, and the sum over all."""
    frames: int = 0

    def see(self, described: dict[str, np.ndarray], stamp: int) -> None:
        """Takes in a frame."""
        self.end, self.last, self.frames = stamp, described, self.frames + 1
        self.first = self.first or described
        self.total = {name: self.total.get(name, 0.0) + each for name, each in described.items()}


class Insight:
    """What a network with queries knows of each segment in the last frame, by the outputs of its layers."""

    def __init__(self, network: QueryVit) -> None:
        self._network = network
        self._kept: dict[str, Tensor] = {}
        backbone = network.layers[-network.settings.num_blocks - 1]
        layers = {"backbone": backbone, "last": network.layers[-1], "normed": network.layernorm}
        for name, layer in {**layers, "mask": network.mask_head}.items():
            layer.register_forward_hook(partial(self._keep, name))

    def _keep(self, name: str, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self._kept[name] = output[0]

    @torch.inference_mode()
    def describe(self, segment: Segment, result: FrameResult, lab: np.ndarray) -> dict[str, np.ndarray]:
        """Everything that is compared, by its name in the table. lab: the image in CIELAB."""
        assert result.logits is not None
        classes = torch.from_numpy(result.logits.classes)
        query = int((classes.softmax(1)[:, segment.class_id] - segment.score).abs().argmin())
        queries = self._network.settings.num_queries
        carried = self._network.next_queries(self._kept["last"][None, :queries])[0]
        mask = torch.from_numpy(result.logits.masks[query]).sigmoid().numpy()
        side = self._network.settings.grid
        weights = torch.from_numpy(cv2.resize(mask, side[::-1], interpolation=cv2.INTER_AREA)).flatten()
        patches = {name: part[-len(weights) :] for name, part in self._kept.items() if name != "mask"}
        mean = {name: weights @ part / weights.sum() for name, part in patches.items()}
        pixels = lab[result.panoptic == segment.id].astype(np.float64)
        assert segment.embedding is not None
        found = {
            "query": self._kept["last"][query],
            "query, after the layer norm": self._kept["normed"][query],
            "query, as the next frame gets it": carried[query],
            "mask embedding": self._kept["mask"][query],
            "class logits": classes[query],
            "patches, backbone": mean["backbone"],
            "patches, last layer": mean["last"],
            "patches, after the layer norm": mean["normed"],
            "mean and spread of the colour": np.concatenate([pixels.mean(0), pixels.std(0)]) - 128,
            "colours": segment.embedding,
        }
        vectors = {name: unit(np.asarray(each, np.float64)) for name, each in found.items()}
        for other in ("query", "patches, backbone"):
            vectors[f"colours and {other}"] = unit(np.concatenate([vectors["colours"], 0.5 * vectors[other]]))
        return vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    """Of length 1 along the last axis; 0 stays 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def visits(sequence: FrameSequence, segmenter: Segmenter, insight: Insight) -> list[Visit]:
    """The visits of a recording."""
    found: list[Visit] = []
    current: dict[Key, Visit] = {}
    stream = segmenter.open_stream()
    is_thing = np.array(segmenter.labels.is_thing, bool)
    for frame in sequence.frames(segmenter.labels.class_names):
        result = stream.segment(frame.image, stamp=Fraction(frame.stamp, SECOND), with_logits=True)
        if frame.truth is None:
            continue
        overlap = overlap_of(frame.truth, Prediction(result.semantic, result.panoptic, result.epoch), is_thing)
        areas = dict(zip(overlap.truth.keys, overlap.counts.sum(1).tolist(), strict=True))
        lab = cv2.cvtColor(frame.image, cv2.COLOR_RGB2LAB)
        segments = {segment.id: segment for segment in result.segments if segment.embedding is not None}
        for thing, match in overlap.matches.items():
            if match.id not in segments or not thing.id or areas[thing] < SMALLEST * result.semantic.size:
                continue
            visit = current.get(thing)
            if visit is None or frame.stamp - visit.end >= LOST:
                visit = current[thing] = Visit(sequence.name, thing, frame.stamp)
                found.append(visit)
            visit.see(insight.describe(segments[match.id], result, lab), frame.stamp)
    return found


@dataclass(frozen=True, eq=False)
class Pairs:
    """How similar the pairs of visits are."""

    of_one: np.ndarray
    """Of one thing."""
    of_two: np.ndarray
    """Of two things of its class."""

    def __str__(self) -> str:
        return f"{self.order():.2f}, {self.found():.0%}" if len(self.of_one) and len(self.of_two) else "-"

    def order(self) -> float:
        """The probability that a pair of one thing is more similar than one of two: the area under the ROC."""
        below = np.searchsorted(np.sort(self.of_two), self.of_one, "left")
        return float(below.mean() / len(self.of_two))

    def found(self, wrong: float = WRONG) -> float:
        """The share of pairs of one thing above what a share `wrong` of those of two passes."""
        return float((self.of_one > np.quantile(self.of_two, 1 - wrong)).mean())


def pairs(all_visits: Sequence[Visit], name: str, *, last: bool = False, centred: bool = False) -> Pairs:
    """Compares the visits by one description.

    last: with the last frame that is remembered, else with their mean. centred: without what all visits of the class
    that began before, and this one, have in common.
    """
    similarities: dict[bool, list[float]] = {True: [], False: []}
    for later in all_visits:
        alike = [each for each in all_visits if _key(each) == _key(later) and each.begin < later.begin]
        means = [each.total[name] / each.frames for each in alike]
        common = np.mean([*means, later.first[name]], 0) if centred else 0.0
        new = unit(later.first[name] - common)
        for earlier, mean in zip(alike, means, strict=True):
            if LOST <= later.begin - earlier.end <= FORGOTTEN:
                known = unit((earlier.last[name] if last else mean) - common)
                similarities[earlier.thing == later.thing].append(float(known @ new))
    return Pairs(np.array(similarities[True]), np.array(similarities[False]))


def pairs_in_view(all_visits: Sequence[Visit], name: str) -> Pairs:
    """Compares the first frame of visits with their last, and with the last of other things."""
    similarities: dict[bool, list[float]] = {True: [], False: []}
    for visit in all_visits:
        if SHORT <= visit.end - visit.begin <= LONG:
            beside = [each for each in all_visits if _key(each) == _key(visit) and each.thing != visit.thing]
            near = [each for each in beside if SHORT <= abs(each.end - visit.begin) <= LONG]
            for each in (visit, *near):
                similarities[each is visit].append(float(visit.first[name] @ each.last[name]))
    return Pairs(np.array(similarities[True]), np.array(similarities[False]))


def _key(visit: Visit) -> tuple[str, int]:
    return visit.recording, visit.thing.class_id


def table(all_visits: Sequence[Visit], class_names: Sequence[str]) -> Iterator[str]:
    """The lines of the table."""
    numbers = sorted({visit.thing.class_id for visit in all_visits})
    kinds: dict[str, dict[str, Any]] = {
        "last frame": {"last": True},
        "mean": {},
        "mean, centred": {"centred": True},
    }
    columns = [*kinds, *(class_names[number] for number in numbers), "in view"]
    yield f"| description | {' | '.join(columns)} |"
    yield f"| --- |{' --- |' * len(columns)}"
    for name in all_visits[0].total:
        cells = [pairs(all_visits, name, **how) for how in kinds.values()]
        for number in numbers:
            of_class = [visit for visit in all_visits if visit.thing.class_id == number]
            cells.append(pairs(of_class, name, centred=True))
        cells.append(pairs_in_view(all_visits, name))
        shown = map(str, cells)
        yield f"| {name} | {' | '.join(shown)} |"


def draw(all_visits: Sequence[Visit], path: Path) -> None:
    """Draws how similar the pairs are, by some descriptions, and the ROC of all."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(SHOWN) + 1, figsize=(4 * (len(SHOWN) + 1), 3.4), layout="constrained")
    for axis, name in zip(axes, SHOWN, strict=False):
        found = pairs(all_visits, name, centred=True)
        bins = np.linspace(-1, 1, 41)
        for values, label in ((found.of_two, "two things of one class"), (found.of_one, "the same thing")):
            axis.hist(values, bins, density=True, alpha=0.6, label=label)
        axis.set(title=name, xlabel="similarity, centred", yticks=[])
    axes[0].legend(loc="upper left", fontsize="small")
    for name in all_visits[0].total:
        found = pairs(all_visits, name, centred=True)
        wrong = np.linspace(0, 1, 201)
        axes[-1].plot(wrong, [found.found(each) for each in wrong], label=name, lw=2.5 if name in SHOWN else 1)
    axes[-1].set(title="ROC", xlabel="pairs of two things that pass", ylabel="pairs of one thing that pass")
    axes[-1].legend(fontsize="x-small", loc="lower right")
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.identity", description=__doc__)
    parser.add_argument("recordings", nargs="+", type=Path, metavar="RECORDING", help="with ground truth")
    parser.add_argument("--model", default="demo", help="a VidEoMT or EoMT (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="the PNG to write")
    asked = parser.parse_args()
    checkpoint = load_checkpoint(asked.model, None)
    if not isinstance(checkpoint.network, QueryVit):
        parser.error(
            f"--model is {asked.model}, expected a VidEoMT or EoMT: a {checkpoint.family.name} is not looked into"
        )
    insight = Insight(checkpoint.network)
    all_visits: list[Visit] = []
    with Segmenter.of(checkpoint, task="panoptic", device="cpu", precision="float32", backend="torch") as segmenter:
        for sequence in open_sequences(asked.recordings, truth=TruthSource()):
            all_visits += visits(sequence, segmenter, insight)
        found = pairs(all_visits, SHOWN[0])
        print(f"{len(all_visits)} visits, {len(found.of_one)} pairs of one thing, {len(found.of_two)} of two\n")
        print("\n".join(table(all_visits, segmenter.labels.class_names)))
    if asked.plot is not None:
        draw(all_visits, asked.plot)


if __name__ == "__main__":
    main()
