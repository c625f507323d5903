"""The label table of the demo classes and the world agree."""

from pathlib import Path

from demo import CLASS_NAMES, FIRST_THING
from eomt_ros.engine.model.labels import load_labels

TABLE = Path(__file__).parents[2] / "config" / "labels" / "demo.yaml"


def test_the_table_has_the_worlds_classes_in_the_order_of_their_ids() -> None:
    labels = load_labels(TABLE)
    assert labels.class_names == CLASS_NAMES
    assert labels.is_thing == tuple(class_id >= FIRST_THING for class_id in range(len(CLASS_NAMES)))


def test_the_colors_are_easy_to_tell_apart() -> None:
    colors = load_labels(TABLE).colors
    for index, color in enumerate(colors):
        for other in colors[:index]:
            assert sum(abs(a - b) for a, b in zip(color, other, strict=True)) > 25
