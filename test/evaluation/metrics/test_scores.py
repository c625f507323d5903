"""All metrics together: what must hold for any sequence, and that a run of any length costs no more memory."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eomt_ros.evaluation.convention import Convention
from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.ids import IdSpan, ObjectTimeline
from eomt_ros.evaluation.metrics import PartialScores, Scores
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    CLASS_NAMES,
    FLOOR,
    IS_THING,
    SECONDS,
    UNLABELLED,
    Pair,
    flat,
    pair,
    play,
    random_sequence,
    rows,
    score,
)

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=20, deadline=None)


def numbers(scores: Scores) -> dict[str, float | None]:
    return flat(scores.figures())


@few
@given(several=st.lists(seeds, min_size=2, max_size=3), convention=st.sampled_from(Convention))
def test_each_of_several_sequences_has_the_figures_that_it_has_alone(
    several: list[int], convention: Convention
) -> None:
    sequences = [random_sequence(seed, 18) for seed in several]
    together = score(*sequences, convention=convention)
    alone = [score(frames, convention=convention).figures() for frames in sequences]
    assert together.figures_by_sequence() == alone
    counts = ("objects", "object_seconds", "id_switches", "fragmentations", "wrong_ids_after_reentry", "shared_ids")
    for name in counts:
        total = sum(getattr(figures, name) or 0 for figures in alone)
        assert (getattr(together.figures(), name) or 0) == pytest.approx(total), name


@few
@given(seed=seeds, convention=st.sampled_from(Convention))
def test_perfect_prediction_gives_one(seed: int, convention: Convention) -> None:
    frames = []
    for truth, _ in random_sequence(seed, 18):
        assert truth.instances is not None
        # A thing without an id, as random sequences have them, is nothing that could be predicted.
        thing = np.isin(truth.classes, [BOX, BALL]) & (truth.instances == 0)
        classes = np.where(thing, UNLABELLED, truth.classes).astype(np.uint8)
        frames.append((Truth(classes, truth.instances), Prediction(classes, truth.instances)))
    figures = score(frames, convention=convention).figures()
    for name in ("miou", "vpq", "vpq_stuff", "sq", "mvc8", "mvc16"):
        assert getattr(figures, name) == pytest.approx(1.0), name
    # There may be no thing, or none but the first.
    for name in ("vpq_things", "stq", "aq", "objects_found", "frames_found"):
        assert getattr(figures, name) in (None, pytest.approx(1.0)), name
    assert list(figures.vpq_by_window.values()) == pytest.approx([1.0] * 5)
    assert (figures.id_switches, figures.fragmentations, figures.wrong_ids_after_reentry) == (0, 0, 0)
    assert figures.seconds_to_first_detection in (None, 0.0)


@few
@given(seed=seeds, other=seeds)
def test_renaming_the_predicted_ids_changes_nothing(seed: int, other: int) -> None:
    names = np.zeros(2**16, np.uint16)
    names[1:] = np.random.default_rng(other).permutation(2**16 - 1) + 1
    frames = random_sequence(seed)
    renamed = [
        (truth, Prediction(guess.classes, None if guess.segments is None else names[guess.segments], guess.epoch + 7))
        for truth, guess in frames
    ]
    assert numbers(score(renamed)) == pytest.approx(numbers(score(frames)))


@few
@given(seed=seeds, convention=st.sampled_from(Convention))
def test_mirroring_the_frames_changes_nothing(seed: int, convention: Convention) -> None:
    frames = random_sequence(seed)
    mirrored = [
        (
            Truth(np.ascontiguousarray(truth.classes[:, ::-1]), truth.instances[:, ::-1]),  # type: ignore[index]
            Prediction(guess.classes[:, ::-1], guess.segments[:, ::-1], guess.epoch),  # type: ignore[index]
        )
        for truth, guess in frames
    ]
    both = [numbers(score(each, convention=convention)) for each in (frames, mirrored)]
    assert both[0] == pytest.approx(both[1])


@few
@given(first=seeds, second=seeds, frames=st.integers(3, 12))
def test_sequences_do_not_mix_and_their_order_does_not_matter(first: int, second: int, frames: int) -> None:
    one, two = random_sequence(first, frames), random_sequence(second, frames)
    assert numbers(score(one, two)) == pytest.approx(numbers(score(two, one)))
    # Twice the same is the same, which it would not be if the second began where the first ended.
    counts = {"objects", "id_switches", "fragmentations", "wrong_ids_after_reentry", "object_seconds", "shared_ids"}
    once, twice = numbers(score(one)), numbers(score(one, one))
    counts |= {name for name in once if name.startswith("by_") and name.endswith((" true", " predicted", " matched"))}
    doubled = {name: 2 * value if name in counts and value is not None else value for name, value in once.items()}
    assert twice == pytest.approx(doubled)


def test_same_ids_in_another_sequence_are_other_things() -> None:
    first = [pair([(1, BOX), None], [(5, BOX), None])] * 5
    second = [pair([(1, BOX), None], [(6, BOX), None])] * 5
    figures = score(first, second).figures()
    assert (figures.objects, figures.id_switches, figures.wrong_ids_after_reentry, figures.aq) == (2, 0, 0, 1.0)


@few
@given(seed=seeds, at=st.integers(1, 9))
def test_figures_half_way_do_not_disturb_what_follows(seed: int, at: int) -> None:
    frames = random_sequence(seed)
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("sequence")
    for number, (truth, guess) in enumerate(frames):
        if number == at:
            assert numbers(scores) == pytest.approx(numbers(score(frames[:at])))
        scores.update(truth, guess, begin=number * SECONDS, seconds=SECONDS)
    assert numbers(scores) == pytest.approx(numbers(score(frames)))


class TestWhatCannotBeKnown:
    def test_of_no_frame_is_nothing_known(self) -> None:
        scores = score()
        assert set(numbers(scores).values()) == {None}
        assert scores.timelines() == []

    @pytest.mark.parametrize("missing", ["instances", "segments"])
    def test_without_ids_on_both_sides_there_are_figures_of_classes_only(self, missing: str) -> None:
        frames = [
            (
                Truth(truth.classes, None if missing == "instances" else truth.instances),
                Prediction(guess.classes, None if missing == "segments" else guess.segments),
            )
            for truth, guess in random_sequence(3, 18)
        ]
        known = {name.split()[0] for name, value in numbers(score(frames)).items() if value is not None}
        assert known == {"miou", "class_iou", "mvc8", "mvc16"}
        assert numbers(score(frames))["miou"] == numbers(score(random_sequence(3, 18)))["miou"]

    def test_a_frame_without_ids_ends_the_windows(self) -> None:
        full = pair([(1, BOX), None])
        without = Truth(full[0].classes), full[1]
        figures = score([full, full, without, full, full, full]).figures()
        assert [key for key, value in figures.vpq_by_window.items() if value is not None] == ["1", "2"]

    def test_figures_of_no_thing(self) -> None:
        figures = score([pair([None, None])] * 3).figures()
        assert (figures.vpq, figures.vpq_things, figures.vpq_stuff, figures.objects) == (1.0, None, 1.0, 0)


class TestRefusal:
    @pytest.mark.parametrize(
        "bad",
        [
            (Truth(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.uint16)), pair([(1, BOX)])[1]),
            (Truth(np.full((20, 20), 9, np.uint8), np.zeros((20, 20), np.uint16)), pair([(1, BOX)])[1]),
            (pair([(1, BOX)])[0], Prediction(np.full((20, 20), 9, np.uint8), np.zeros((20, 20), np.uint16))),
        ],
        ids=["size", "true class", "predicted class"],
    )
    def test_a_frame_that_cannot_be_compared_leaves_no_trace(self, bad: Pair) -> None:
        frames = random_sequence(5, 12, shape=(20, 20))
        scores = Scores(CLASS_NAMES, IS_THING)
        scores.start_sequence("sequence")
        for number, (truth, guess) in enumerate(frames):
            with pytest.raises(ValueError, match=r"shapes|class id 9"):
                scores.update(*bad, begin=number * SECONDS, seconds=SECONDS)
            scores.update(truth, guess, begin=number * SECONDS, seconds=SECONDS)
        assert numbers(scores) == numbers(score(frames))

    def test_a_frame_before_any_sequence(self) -> None:
        with pytest.raises(RuntimeError, match="before start_sequence"):
            Scores(CLASS_NAMES, IS_THING).update(*pair([None]), begin=0, seconds=1)

    def test_class_names_that_do_not_fit_what_is_a_thing(self) -> None:
        with pytest.raises(ValueError, match="2 class names, but is_thing has 1"):
            Scores(("floor", "wall"), (False,))


class TestIntervals:
    @few
    @given(seed=seeds, cut=st.integers(0, 12))
    def test_of_all_frames_together_are_the_figures(self, seed: int, cut: int) -> None:
        scores = Scores(CLASS_NAMES, IS_THING)
        frames = play(scores, random_sequence(seed, 12))
        parts = [PartialScores.empty(len(CLASS_NAMES)) for _ in range(2)]
        for number, frame in enumerate(frames):
            parts[number >= cut].add(frame)
        parts[0].add(parts[1])
        assert (parts[0].miou, parts[0].vpq) == pytest.approx((scores.figures().miou, scores.figures().vpq))

    def test_merging_leaves_what_is_merged_alone(self) -> None:
        whole, part = PartialScores.empty(len(CLASS_NAMES)), PartialScores.empty(len(CLASS_NAMES))
        frames = play(Scores(CLASS_NAMES, IS_THING), random_sequence(6, 12))
        for frame in frames[:6]:
            part.add(frame)
        before = part.miou, part.vpq
        whole.add(part)
        for frame in frames[6:]:
            whole.add(frame)
        assert (part.miou, part.vpq) == before
        assert (whole.miou, whole.vpq) != before

    def test_one_frame_has_its_own_miou(self) -> None:
        good, bad = play(score(), [rows([FLOOR, BOX], [FLOOR, BOX]), rows([FLOOR, BOX], [FLOOR, FLOOR])])
        assert (good.miou, bad.miou) == (1.0, 1 / 4)

    def test_of_nothing_or_of_classes_only(self) -> None:
        empty = PartialScores.empty(len(CLASS_NAMES))
        assert (empty.miou, empty.vpq) == (None, None)
        empty.add(play(score(), [rows([FLOOR], [FLOOR])])[0])
        assert (empty.miou, empty.vpq) == (1.0, None)

    def test_id_switches_are_counted_where_they_happen(self) -> None:
        frames = [pair([(1, BOX), None], [(5 + number // 4, BOX), None]) for number in range(12)]
        scores = score(frames, frames[:6])
        assert scores.figures().id_switches == 3
        # The one at 0.4 s belongs to the part that begins there, and to no other.
        edges = [number * SECONDS for number in (0, 4, 8, 12)]
        assert [scores.id_switches("sequence 0", begin, end) for begin, end in pairwise(edges)] == [0, 1, 1]
        assert scores.id_switches("sequence 1", 0.0, 10.0) == 1


def test_timelines_name_the_sequence_and_the_class() -> None:
    boxes, balls = [pair([(1, BOX), None])] * 5, [pair([(7, BALL), None], [None, None])] * 5
    first, second = score(boxes, balls).timelines()
    assert first == ObjectTimeline("sequence 0", 1, "box", (IdSpan(0.0, pytest.approx(0.5), "1"),))
    assert second == ObjectTimeline("sequence 1", 7, "ball", (IdSpan(0.0, pytest.approx(0.5), None),))


def test_memory_does_not_grow_with_the_frames_of_the_same_objects() -> None:
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("long")
    sizes = {}
    frames = [pair([(1, BOX), (2, BALL), None, None], side=16), pair([None, (1, BOX), (2, BALL), None], side=16)]
    for number in range(2_000):
        scores.update(*frames[number // 2 % 2], begin=number * SECONDS, seconds=SECONDS)
        if number in (100, 1_999):
            sizes[number] = len(pickle.dumps(scores))
    # Numbers that have grown take a byte or two more.
    assert sizes[1_999] <= sizes[100] + 200


def test_memory_of_ids_that_never_come_back_is_a_few_numbers_each() -> None:
    scores = Scores(CLASS_NAMES, IS_THING)
    scores.start_sequence("flicker")
    sizes = {}
    for number in range(1_101):
        scores.update(*pair([(1, BOX), None], [(number + 1, BOX), None]), begin=number * SECONDS, seconds=SECONDS)
        if number in (100, 1_100):
            sizes[number] = len(pickle.dumps(scores))
    assert sizes[1_100] - sizes[100] < 1_000 * 150
