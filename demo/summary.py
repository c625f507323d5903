"""The numbers of one run of the demo: frames, latencies, ids, and how they compare with the bag's ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from demo import CLASS_NAMES, IS_THING
from demo.recorder import INSTANCES, LABELS, Observations, Thing
from eomt_ros.evaluation.bag import Bag, in_step
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.metrics import Figures, Scores

TRUTH = ("/ground_truth/semantic", "/ground_truth/panoptic")
STAGES = ("waiting", "decode", "preprocess", "network", "postprocess", "identity", "publish", "total")
PERCENTILES = (50, 95, 99)


def score(played: Path, recorded: Path, class_names: Mapping[int, str]) -> Figures | None:
    """Compares the recorded outputs with the ground truth of the bag that was played; None where that is impossible.

    class_names: by id, those that the node used. They must be the world's, or there is nothing to compare.
    """
    if any(CLASS_NAMES[number : number + 1] != (name,) for number, name in class_names.items()):
        return None
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("demo")
    with Bag(played) as truth, Bag(recorded) as outputs:
        count = outputs.count(INSTANCES)
        if count == 0 or not all(truth.count(topic) for topic in TRUTH):
            return None
        # Each result stands for an equal share of the time, those of dropped frames included.
        stamps = [message.stamp for message in truth.messages(TRUTH[0])]
        seconds = (stamps[-1] - stamps[0]) * 1e-9 / max(len(stamps) - 1, 1) * len(stamps) / count
        streams = [*map(truth.labels, TRUTH), *map(outputs.labels, LABELS), outputs.messages(INSTANCES)]
        for stamp, (true_classes, true_objects, classes, ids, instances) in tqdm(
            in_step(*streams), "comparing with the ground truth", count, leave=False, unit="frame"
        ):
            scores.update(
                Truth(true_classes, true_objects),
                Prediction(classes, ids, instances.epoch),
                begin=(stamp - stamps[0]) * 1e-9,
                seconds=seconds,
            )
    figures = scores.figures()
    return None if figures.objects is None else figures


def summary(published: Mapping[int, int], seen: Observations, scores: Figures | None) -> str:
    """The table that the demo ends with.

    published: stamp of a frame -> when it was published, in nanoseconds of the clock of `seen.arrivals`.
    """
    return "\n".join([*_frames(published, seen), *_latencies(published, seen), *_things(seen), *_truth(scores)])


def _frames(published: Mapping[int, int], seen: Observations) -> Iterator[str]:
    counts = {key: int(value) for key, value in seen.diagnostics.items() if value.isdigit()}
    reasons = [
        f"{count} {key.partition(': ')[2]}" for key, count in counts.items() if key.startswith("dropped: ") and count
    ]
    yield f"frames in         {len(published):8d}"
    yield f"  processed       {counts['processed']:8d}"
    yield f"  dropped         {counts['dropped']:8d}   {', '.join(reasons)}"
    if counts["received"] != len(published):
        yield f"  lost on the way {len(published) - counts['received']:8d}"


def _latencies(published: Mapping[int, int], seen: Observations) -> Iterator[str]:
    milliseconds = [(seen.arrivals[stamp] - published[stamp]) * 1e-6 for stamp in published if stamp in seen.arrivals]
    yield f"{'latency (ms)':<24}" + "".join(f"{f'p{percent}':>9}" for percent in PERCENTILES)
    yield _row("image sent to result", list(np.percentile(milliseconds, PERCENTILES)))
    for stage in STAGES:
        yield _row(f"  node: {stage}", [float(seen.diagnostics[f"{stage} p{percent} (ms)"]) for percent in PERCENTILES])


def _row(name: str, values: Sequence[float]) -> str:
    return f"{name:<24}" + "".join(f"{value:9.1f}" for value in values)


def _things(seen: Observations) -> Iterator[str]:
    by_class: dict[str, list[Thing]] = defaultdict(list)
    for thing in seen.things.values():
        by_class[thing.class_name].append(thing)
    yield f"{'things':<24}{'ids':>9}{'longest followed (s)':>24}"
    for name, things in sorted(by_class.items()):
        longest = max((thing.last - thing.first) * 1e-9 for thing in things)
        yield f"  {name:<22}{len(things):9d}{longest:24.1f}"
    yield f"  {'all':<22}{len(seen.things):9d}"


def _truth(scores: Figures | None) -> Iterator[str]:
    if scores is None:
        yield "no comparison: the bag has no ground truth for the model's classes"
        return
    yield "beside the ground truth"
    yield f"  mIoU            {_figure(scores.miou, '.3f')}   mean over the classes"
    yield f"  VPQ             {_figure(scores.vpq, '.3f')}   of segments, in windows of 1 to 8 frames"
    found = f"of {scores.objects} objects; on average in {_figure(scores.frames_found, '.0%', 0)} of the frames in view"
    yield f"  objects found   {_figure(scores.objects_found, '.0%')}   {found}"
    yield f"  id switches     {_figure(scores.id_switches, 'd')}   in {scores.object_seconds:.0f} s of objects in view"


def _figure(value: float | None, form: str, width: int = 8) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"
