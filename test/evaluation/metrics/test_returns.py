"""Returns of things with their old ids, others' and new ones: on cases counted by hand, and beside a slow search."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.ids import ReturnNumbers, ThingReturn
from eomt_ros.evaluation.json_file import from_json, plain
from eomt_ros.evaluation.metrics import ObjectLimits, Scores
from eomt_ros.evaluation.metrics.scores import ScoreCounts
from eomt_ros.evaluation.results import Figures
from test.evaluation.metrics.scenes import BALL, BOX, CLASS_NAMES, FLOOR, IS_THING

SIDE = 10
SMALL = 3
"""Pixels of the side of a thing that is too small to be in view."""
CLASSES = {1: BOX, 2: BOX, 3: BALL}


@dataclass(frozen=True)
class Sight:
    """A thing in one frame."""

    by: int | None = None
    """The id that matches it; None where none does."""
    small: bool = False


Frame = dict[int, Sight]
"""By the number of the thing; those that are not there are out of view."""
Schedule = list[tuple[Frame, int]]
"""Frames with their epochs."""


def images(frame: Frame, epoch: int) -> tuple[Truth, Prediction]:
    shape = SIDE, SIDE * len(CLASSES)
    classes, found = np.full(shape, FLOOR, np.uint8), np.full(shape, FLOOR, np.uint8)
    ids, found_ids = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    for thing, sight in frame.items():
        side = SMALL if sight.small else SIDE
        place = np.s_[:side, (thing - 1) * SIDE : (thing - 1) * SIDE + side]
        classes[place], ids[place] = CLASSES[thing], thing
        if sight.by is not None:
            found[place], found_ids[place] = CLASSES[thing], sight.by
    return Truth(classes, ids), Prediction(found, found_ids, epoch)


def play(scores: Scores, schedule: Schedule, step: float) -> Scores:
    scores.start_sequence(f"sequence at {step}")
    for number, (frame, epoch) in enumerate(schedule):
        scores.update(*images(frame, epoch), begin=number * step, seconds=step)
    return scores


def scored(schedule: Schedule, *, step: float = 1.0, min_frames: int = 1) -> Scores:
    return play(Scores(CLASS_NAMES, IS_THING, limits=ObjectLimits(0.1, min_frames)), schedule, step)


def numbers(figures: Figures) -> tuple[int, int, int, int]:
    assert figures.returns is not None
    found = figures.returns
    return found.returned, found.right, found.wrong, found.new


def seen(*ids: int | None) -> list[Frame]:
    """Frames of thing 1 alone with these ids, 0 for out of view."""
    return [{} if by == 0 else {1: Sight(by)} for by in ids]


def of(*frames: Frame, epoch: int = 0) -> Schedule:
    return [(frame, epoch) for frame in frames]


def test_a_thing_that_comes_back_with_its_old_id_is_right() -> None:
    figures = scored(of(*seen(5, 0, 0, 0, 5))).figures()
    assert numbers(figures) == (1, 1, 0, 0)
    assert (figures.returns_right, figures.returns_wrong) == (1.0, 0.0)


def test_a_thing_that_comes_back_with_an_id_that_nobody_had_is_new() -> None:
    figures = scored(of(*seen(5, 0, 0, 0, 6))).figures()
    assert numbers(figures) == (1, 0, 0, 1)
    assert (figures.returns_right, figures.returns_wrong) == (0.0, 0.0)


def test_two_things_that_come_back_with_each_others_ids_are_wrong() -> None:
    both = {1: Sight(5), 2: Sight(6)}
    figures = scored(of(both, {}, {}, {1: Sight(6), 2: Sight(5)})).figures()
    assert numbers(figures) == (2, 0, 2, 0)
    assert (figures.returns_right, figures.returns_wrong) == (0.0, 1.0)


def test_an_id_of_a_thing_of_another_class_is_wrong_too() -> None:
    assert numbers(scored(of({1: Sight(5), 3: Sight(6)}, {}, {}, {1: Sight(6)})).figures()) == (1, 0, 1, 0)


def test_an_id_that_another_thing_has_for_the_first_time_is_new() -> None:
    assert numbers(scored(of(*seen(5, 0, 0), {1: Sight(6), 3: Sight(6)})).figures()) == (1, 0, 0, 1)


def test_its_old_id_is_wrong_if_another_thing_had_it_meanwhile() -> None:
    assert numbers(scored(of(*seen(5), {2: Sight(5)}, {}, *seen(5))).figures()) == (1, 0, 1, 0)


def test_its_old_id_is_right_if_another_thing_had_it_earlier() -> None:
    assert numbers(scored(of({2: Sight(5)}, *seen(5, 0, 0, 5))).figures()) == (1, 1, 0, 0)


def test_the_old_id_is_the_last_one() -> None:
    assert numbers(scored(of(*seen(5, 6, 0, 0, 5))).figures()) == (1, 0, 0, 1)


def test_after_a_restart_the_same_number_is_another_id() -> None:
    before, after = of({1: Sight(5), 2: Sight(6)}, {}), of({}, {1: Sight(5)}, epoch=1)
    assert numbers(scored(before + after).figures()) == (1, 0, 0, 1)
    taken = of({2: Sight(5)}, {1: Sight(5)}, epoch=1)
    assert numbers(scored(before + after[:1] + taken).figures()) == (2, 0, 1, 1)


def test_a_thing_in_view_that_is_not_found_is_away_too() -> None:
    assert numbers(scored(of(*seen(5, None, None, 5))).figures()) == (1, 1, 0, 0)


@pytest.mark.parametrize(("frames", "returned"), [(19, 0), (20, 1)])
def test_less_than_two_seconds_are_no_absence(frames: int, returned: int) -> None:
    assert numbers(scored(of(*seen(5, *[0] * frames, 5)), step=0.1).figures()) == (returned, returned, 0, 0)


def test_a_thing_that_was_never_found_before_does_not_return() -> None:
    assert numbers(scored(of(*seen(None, 0, 0, 0, 5))).figures()) == (0, 0, 0, 0)
    assert scored(of(*seen(None, 0, 0, 0, 5))).figures().returns_right is None


def test_a_gap_between_frames_in_both_of_which_it_is_found_is_no_absence() -> None:
    assert numbers(scored(of(*seen(5, 6)), step=30.0).figures()) == (0, 0, 0, 0)


def test_a_thing_that_is_found_while_it_is_small_is_not_away() -> None:
    small = {1: Sight(5, small=True)}
    assert numbers(scored(of(*seen(5), small, small, small, *seen(5))).figures()) == (0, 0, 0, 0)


def test_a_thing_that_comes_back_small_is_judged_once_it_is_in_view() -> None:
    frames = [*seen(5, 0, 0, 0), {1: Sight(7, small=True)}, *seen(0, 5)]
    scores = scored(of(*frames))
    assert numbers(scores.figures()) == (1, 1, 0, 0)
    (timeline,) = scores.timelines()
    assert [span.returned for span in timeline.spans] == [None, ThingReturn("right", 3.0)]


def test_a_thing_too_short_in_view_to_count_does_not_return() -> None:
    frames = of(*seen(5, 0, 0, 5))
    assert [numbers(scored(frames, min_frames=least).figures())[0] for least in (2, 3)] == [1, 0]


@pytest.mark.parametrize(
    ("away", "name"),
    [(2, "2_to_5"), (5, "2_to_5"), (6, "5_to_10"), (11, "10_to_30"), (60, "30_to_60"), (61, "over_60")],
)
def test_returns_are_told_apart_by_the_time_away(away: int, name: str) -> None:
    figures = scored(of(*seen(5, *[0] * away, 5))).figures()
    assert figures.returns is not None
    assert {key: each.right for key, each in figures.returns.by_time_away.items() if each.returned} == {name: 1}
    assert figures.returns_right == (None if name == "over_60" else 1.0)


def test_rows_and_timelines_say_which_things_returned() -> None:
    frames = of({1: Sight(5), 2: Sight(6)}, *[{}] * 3, {1: Sight(5), 2: Sight(7)}, *[{}] * 4, {1: Sight(7)})
    scores = scored(frames)
    rows = [(row.object_id, row.returns, row.returns_right, row.returns_wrong) for row in scores.object_rows()]
    assert rows == [(1, 2, 1, 1), (2, 1, 0, 0)]
    first, second = ([span.returned for span in timeline.spans] for timeline in scores.timelines())
    assert first == [None, ThingReturn("right", 3.0), ThingReturn("wrong", 4.0)]
    assert second == [None, ThingReturn("new", 3.0)]


def test_classes_alone_have_no_returns() -> None:
    classes = np.full((4, 4), BOX, np.uint8)
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("a")
    scores.update(Truth(classes), Prediction(classes), begin=0.0, seconds=1.0)
    figures = scores.figures()
    assert (figures.returns, figures.returns_right, figures.returns_wrong) == (None, None, None)


sights = st.one_of(
    st.none(), st.builds(Sight, st.one_of(st.none(), st.integers(1, 3)), st.sampled_from([False, False, False, True]))
)
frames = (
    st.fixed_dictionaries(dict.fromkeys(CLASSES, sights))
    .map(lambda found: {thing: sight for thing, sight in found.items() if sight is not None})
    .filter(lambda frame: frame.get(1, Sight()).by is None or frame[1].by != frame.get(2, Sight()).by)  # one segment
)
schedules = st.lists(st.tuples(frames, st.integers(1, 5), st.sampled_from([0, 0, 0, 0, 1])), max_size=12).map(
    lambda parts: list(
        itertools.chain.from_iterable(
            itertools.repeat((frame, epoch), times)
            for (frame, times, _), epoch in zip(parts, itertools.accumulate(part[2] for part in parts), strict=True)
        )
    )
)


def reference(schedule: Schedule, step: float, min_frames: int) -> list[tuple[int, str, float]]:
    """Each return with the thing and its time away, found by looking back from every frame."""
    courses = {
        thing: [None if frame.get(thing, Sight()).by is None else (epoch, frame[thing].by) for frame, epoch in schedule]
        for thing in CLASSES
    }
    found = []
    for thing, course in courses.items():
        in_view = [thing in frame and not frame[thing].small for frame, _ in schedule]
        if sum(in_view) < min_frames:
            continue
        for now in range(len(schedule)):
            if course[now] is None or not in_view[now]:
                continue
            back = now
            while back > 0:
                end = back
                while back > 0 and course[back - 1] is None:
                    back -= 1
                if back == 0:
                    break
                away = (end - back) * step
                if away >= 2:
                    earlier, since = (
                        {by for other in CLASSES if other != thing for by in courses[other][begin:now]}
                        for begin in (0, back)
                    )
                    if course[now] == course[back - 1] and course[now] not in since:
                        outcome = "right"
                    else:
                        outcome = "wrong" if course[now] in earlier else "new"
                    found.append((thing, outcome, away))
                    break
                back -= 1
                if in_view[back]:
                    break
    return found


@settings(deadline=None, max_examples=100)
@given(schedule=schedules, step=st.sampled_from([0.25, 0.5, 1.0, 4.0]), min_frames=st.integers(1, 3))
def test_returns_are_those_of_a_slow_search(schedule: Schedule, step: float, min_frames: int) -> None:
    scores = scored(schedule, step=step, min_frames=min_frames)
    expected = reference(schedule, step, min_frames)
    spans = [(timeline.object_id, span.returned) for timeline in scores.timelines() for span in timeline.spans]
    assert sorted((thing, each.outcome, each.away) for thing, each in spans if each is not None) == sorted(expected)
    figures = scores.figures()
    outcomes = [outcome for _, outcome, _ in expected]
    if schedule:
        assert numbers(figures) == (len(outcomes), *(outcomes.count(each) for each in ("right", "wrong", "new")))
    remembered = [outcome for _, outcome, away in expected if away <= 60]
    for share, outcome in ((figures.returns_right, "right"), (figures.returns_wrong, "wrong")):
        assert share == (remembered.count(outcome) / len(remembered) if remembered else None)


@settings(deadline=None, max_examples=20)
@given(several=st.lists(schedules.filter(bool), min_size=3, max_size=3), order=st.permutations(range(3)))
def test_shards_in_any_order_add_up_to_one_run_over_all(several: list[Schedule], order: list[int]) -> None:
    together = Scores(CLASS_NAMES, IS_THING, limits=ObjectLimits(0.1, 1))
    for schedule in several:
        play(together, schedule, 1.0)
    total = ScoreCounts.empty(len(CLASS_NAMES))
    for number in order:
        counts = scored(several[number]).counts()
        total.add(from_json(ScoreCounts, json.loads(json.dumps(plain(counts)))))
    assert total.figures(CLASS_NAMES, np.array(IS_THING), Convention.STANDARD) == together.figures()
    alone = [numbers(figures) for figures in together.figures_by_sequence()]
    assert numbers(together.figures()) == tuple(map(sum, zip(*alone, strict=True)))


def test_numbers_by_time_add_up_to_all_of_them() -> None:
    figures = scored(of(*seen(5, *[0] * 3, 5, *[0] * 20, 6, *[0] * 70, 6))).figures()
    assert figures.returns is not None
    assert figures.returns.by_time_away["10_to_30"] == ReturnNumbers(1, 0, 0, 1)
    totals = [sum(getattr(each, name) for each in figures.returns.by_time_away.values()) for name in ("right", "new")]
    assert totals == [figures.returns.right, figures.returns.new] == [2, 1]
