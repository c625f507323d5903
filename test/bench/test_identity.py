"""The comparison of visits: which are compared, and what their figures mean, on visits that are told."""

from __future__ import annotations

import numpy as np
import pytest

from bench.identity import Pairs, Visit, draw, pairs, pairs_in_view, table, unit
from eomt_ros.evaluation.metrics.overlap import Key
from eomt_ros.stamps import SECOND

RED, ORANGE, BLUE = (1.0, 0.0, 0.2), (0.9, 0.3, 0.2), (0.0, 1.0, 0.2)
BALL, BOX = 3, 4


def visit(
    number: int, look: tuple[float, ...], begin: int, end: int, *, class_id: int = BALL, recording: str = "one"
) -> Visit:
    """A thing that looks the same from second `begin` to second `end`."""
    made = Visit(recording, Key(class_id, 0, number), begin * SECOND)
    for second in range(begin, end + 1):
        made.see({name: unit(np.array(look)) for name in ("query", "patches, last layer", "colours")}, second * SECOND)
    return made


def test_a_visit_is_compared_with_those_of_its_class_that_ended_2_to_60_seconds_before():
    all_visits = [
        visit(1, RED, 0, 5),
        visit(2, BLUE, 0, 9),
        visit(1, RED, 10, 12),
        visit(3, RED, 11, 12, class_id=BOX),
        visit(4, RED, 11, 12, recording="other"),
        visit(2, BLUE, 80, 81),
    ]
    found = pairs(all_visits, "colours")
    # The third with the first; the second ended a second before it, and of what came before the last, all is forgotten.
    assert found.of_one.tolist() == pytest.approx([1])
    assert found.of_two.tolist() == []


def test_what_all_of_a_class_have_in_common_is_left_out_where_that_is_asked_for():
    all_visits = [visit(1, RED, 0, 5), visit(2, ORANGE, 0, 5), visit(3, BLUE, 0, 5), visit(1, RED, 10, 12)]
    plain, centred = (pairs(all_visits, "colours", centred=centred) for centred in (False, True))
    assert max(plain.of_two) > 0.9
    assert max(centred.of_two) < 0.9
    assert centred.of_one.tolist() == pytest.approx([1])


def test_the_last_frame_or_the_mean_of_a_visit_is_remembered():
    first = visit(1, RED, 0, 5)
    first.see({"colours": unit(np.array(BLUE))}, 6 * SECOND)
    all_visits = [first, visit(1, RED, 10, 12)]
    (with_last,) = pairs(all_visits, "colours", last=True).of_one
    (with_mean,) = pairs(all_visits, "colours").of_one
    assert with_last == pytest.approx(float(unit(np.array(RED)) @ unit(np.array(BLUE))))
    assert with_mean > 0.9


def test_in_view_the_first_frame_of_a_visit_is_compared_with_its_last_and_with_that_of_others():
    found = pairs_in_view([visit(1, RED, 0, 5), visit(2, BLUE, 0, 5), visit(3, RED, 0, 50)], "colours")
    assert len(found.of_one) == 2
    assert len(found.of_two) == 2


def test_figures_are_those_of_every_pair_of_pairs():
    rng = np.random.default_rng(0)
    found = Pairs(rng.normal(1, 1, 60), rng.normal(0, 1, 80))
    assert found.order() == pytest.approx(np.mean([one > two for one in found.of_one for two in found.of_two]))
    assert found.found(0.25) == pytest.approx(np.mean([np.mean(found.of_two < one) >= 0.75 for one in found.of_one]))


def test_the_table_and_the_plot_have_every_description(tmp_path):
    pytest.importorskip("matplotlib")
    all_visits = [visit(1, RED, 0, 5), visit(2, BLUE, 0, 5), visit(1, RED, 10, 12)]
    head, _, *lines = table(all_visits, ["floor", "wall", "shelf", "ball"])
    assert head.split(" | ")[-2:] == ["ball", "in view |"]
    assert [line.split(" | ")[0] for line in lines] == ["| query", "| patches, last layer", "| colours"]
    assert "1.00, 100%" in lines[-1]
    draw(all_visits, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
