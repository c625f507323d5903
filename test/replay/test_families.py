"""A model of each family through the real node, on the beginning of the demo bag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo import CLASS_NAMES
from eomt_ros.evaluation.bag import Bag
from test.engine.checkpoints import WRITERS
from test.replay.both_ways import EVERY_FRAME, evaluate_through_node, running_node
from test.replay.test_evaluate_bag import FRAMES, INSTANCES, PROCESSED, played

__all__ = ["played"]  # a fixture


IDENTITY = {"videomt": "query", "eomt": "overlap", "eomt_dinov3": "overlap", "mask2former": "overlap"}
CLASSES = dict(enumerate(CLASS_NAMES))


def write(family: str, folder: Path) -> Path:
    """A small random model that knows the demo's classes, and so has its label table."""
    return WRITERS[family](folder, seed=3, id2label=CLASSES)


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        ("videomt", {"fit": "keep_aspect", "score_memory": 0.5}),
        ("eomt", {}),
        ("eomt_dinov3", {"task": "semantic"}),
        ("mask2former", {"task": "instance"}),
    ],
)
def test_the_node_runs_every_family_on_the_demo_bag(
    family: str, parameters: dict[str, Any], played: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    model = write(family, tmp_path / family)
    out = tmp_path / "out"
    with running_node(variables, model=model, score_threshold=0.2, **EVERY_FRAME, **parameters):
        done = evaluate_through_node(played, out, variables)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads((out / "metrics.json").read_text())
    counts = [found["replay"][name] for name in ("published", "processed", "dropped")]
    assert counts == [FRAMES, PROCESSED, FRAMES - PROCESSED]
    assert [problem for problem in found["problems"] if "came late and were dropped" not in problem] == []
    with Bag(out / "bag") as bag:
        arrays = [message.content for message in bag.messages(INSTANCES)]
    assert len(arrays) == PROCESSED
    task = parameters.get("task", "panoptic")
    identity = "none" if task == "semantic" else IDENTITY[family]
    assert {(array.model, array.task, array.identity) for array in arrays} == {(family, task, identity)}
    assert sum(len(array.instances) for array in arrays) >= PROCESSED
    if task != "semantic":
        oldest = max(instance.age for array in arrays for instance in array.instances)
        assert oldest >= 5, "no id lasts"
