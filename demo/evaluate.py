"""Scores a checkpoint on worlds that it was not trained on: `python -m demo.evaluate --model demo --worlds 20`.

The worlds are those of `demo.EVALUATION_SEEDS`, always the same, recorded as the demo bag is: what is scored has gone
through JPEG. Recording needs MuJoCo; with `--bags` the recordings are kept and used again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from demo import CLASS_NAMES, EVALUATION_SEEDS, IS_THING
from eomt_ros.engine import CheckpointError, LabelsError, Segmenter
from eomt_ros.evaluation import metrics
from eomt_ros.evaluation.bag import Bag, in_step
from eomt_ros.evaluation.frame import Prediction, Truth

RATE = 10.0
TOPICS = ("/camera/image/compressed", "/ground_truth/semantic", "/ground_truth/panoptic")


@dataclass(frozen=True)
class Figures:
    """What one world gave, or all of them together."""

    name: str
    scores: metrics.Figures
    frames_per_second: float
    """Of the engine alone: pixels in, result out."""

    def row(self) -> str:
        """A line of the table."""
        scores = self.scores
        classes = "".join(_cell(iou, 8, ".2f") for iou in scores.class_iou.values())
        return (
            f"{self.name:>5}{_cell(scores.miou, 7, '.3f')}{classes}{_cell(scores.vpq, 7, '.3f')}"
            f"{_cell(scores.stq, 7, '.3f')}{_cell(scores.objects, 9, 'd')}{_cell(scores.objects_found, 7, '.2f')}"
            f"{_cell(scores.frames_found, 10, '.2f')}{_cell(scores.id_switches, 9, 'd')}"
            f"{_cell(scores.switches_per_30_seconds, 9, '.2f')}{_cell(scores.fragmentations, 6, 'd')}"
            f"{self.frames_per_second:8.1f}"
        )


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


HEAD = (
    f"{'world':>5}{'mIoU':>7}{''.join(f'{name:>8}' for name in CLASS_NAMES)}{'VPQ':>7}{'STQ':>7}"
    f"{'objects':>9}{'found':>7}{'followed':>10}{'switches':>9}{'per 30 s':>9}{'frag.':>6}{'fps':>8}"
)
LEGEND = (
    "found: share of objects matched (IoU > 0.5, right class) at least once; followed: share of their frames in view\n"
    "in which they were; switches: changes of id, also per 30 s of an object in view; frag.: found again after a gap;\n"
    "fps: of the engine alone. Objects: in view for 5 frames or more."
)


class Score:
    """Worlds, scored together."""

    def __init__(self) -> None:
        self._scores = metrics.Scores(CLASS_NAMES, IS_THING)
        self._frames = 0
        self._seconds = 0.0

    def start_world(self, name: str) -> None:
        """What follows is another world."""
        self._scores.start_sequence(name)

    def add(self, truth: Truth, prediction: Prediction, *, begin: float, seconds: float) -> None:
        """Counts a frame, `begin` seconds from the start of the world, which took the engine `seconds`."""
        self._scores.update(truth, prediction, begin=begin, seconds=1 / RATE)
        self._frames += 1
        self._seconds += seconds

    def figures(self, name: str) -> Figures:
        """The figures of everything so far."""
        speed = self._frames / self._seconds if self._seconds else float("nan")
        return Figures(name, self._scores.figures(), speed)


def play(bag: Bag, segmenter: Segmenter, scores: Iterable[Score]) -> Iterator[None]:
    """Segments a world's frames as one stream and counts them in every score; yields after every frame."""
    stream = segmenter.open_stream()
    first: int | None = None
    image_topic, semantic_topic, panoptic_topic = TOPICS
    frames = in_step(bag.images(image_topic), bag.labels(semantic_topic), bag.labels(panoptic_topic))
    for stamp, (image, classes, instances) in frames:
        first = stamp if first is None else first
        start = time.perf_counter()
        result = segmenter.segment(image, stream, stamp=stamp * 1e-9)
        seconds = time.perf_counter() - start
        truth, prediction = Truth(classes, instances), Prediction(result.semantic, result.panoptic, result.epoch)
        for score in scores:
            score.add(truth, prediction, begin=(stamp - first) * 1e-9, seconds=seconds)
        yield


def record(path: Path, seed: int, seconds: float) -> None:
    """Records the world of `seed`, unless a bag of that name is there."""
    if path.exists():
        return
    from demo.record import write_bag  # MuJoCo: not needed where the bags are kept
    from demo.world import World

    with World(seed, fine=True) as world:
        frames = tqdm(
            world.frames(seconds, RATE), f"recording world {seed}", round(seconds * RATE), leave=False, unit="frame"
        )
        # Under another name until it is whole, because a recording that was broken off must not be scored.
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
            write_bag(Path(unfinished) / "bag", frames, world.camera_matrix)
            (Path(unfinished) / "bag").rename(path)


def evaluate(segmenter: Segmenter, worlds: int, seconds: float, bags: Path) -> tuple[list[Figures], Figures]:
    """Scores the first `worlds` worlds and prints a row for each; returns their figures, and those of all together."""
    total = Score()
    rows = []
    print(HEAD)
    for seed in EVALUATION_SEEDS[:worlds]:
        path = bags / f"{seed}_{seconds:g}s"
        record(path, seed, seconds)
        score = Score()
        for each in (score, total):
            each.start_world(str(seed))
        with Bag(path) as bag:
            frames = play(bag, segmenter, (score, total))
            for _ in tqdm(frames, f"world {seed}", bag.count(TOPICS[0]), leave=False, unit="frame"):
                pass
        rows.append(score.figures(str(seed)))
        print(rows[-1].row(), flush=True)
    everything = total.figures("all")
    print(everything.row())
    return rows, everything


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.evaluate", description="Score a checkpoint on worlds it was not trained on."
    )
    parser.add_argument("--model", default="demo", help="folder, hub id or demo (default: %(default)s)")
    parser.add_argument(
        "--worlds",
        type=int,
        default=len(EVALUATION_SEEDS),
        choices=range(1, len(EVALUATION_SEEDS) + 1),
        metavar="N",
        help=f"how many, 1 to {len(EVALUATION_SEEDS)} (default: all)",
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each world (default: %(default)g)")
    parser.add_argument(
        "--score-threshold", type=float, help="leave out segments that score lower (default: the task's own)"
    )
    parser.add_argument(
        "--bags", type=Path, help="keep the recorded worlds in this folder, and use those that are there"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= 600:
        parser.error(f"--seconds is {arguments.seconds:g}, expected 1 to 600")
    try:
        segmenter = Segmenter.load(
            arguments.model, precision="float32", task="panoptic", score_threshold=arguments.score_threshold
        )
    except (CheckpointError, LabelsError, ValueError) as error:
        print(f"demo.evaluate: {error}", file=sys.stderr)
        return 1
    if segmenter.labels.class_names != CLASS_NAMES:
        print(
            f"demo.evaluate: {arguments.model} finds {', '.join(segmenter.labels.class_names)}, "
            f"expected the world's classes: {', '.join(CLASS_NAMES)}",
            file=sys.stderr,
        )
        return 1
    folder: AbstractContextManager[str | Path] = (
        nullcontext(arguments.bags) if arguments.bags else tempfile.TemporaryDirectory(prefix="eomt_ros_worlds_")
    )
    with folder as bags:
        rows, total = evaluate(segmenter, arguments.worlds, arguments.seconds, Path(bags))
    print(LEGEND)
    if arguments.json:
        report = {"worlds": [asdict(row) for row in rows], "all": asdict(total)}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
