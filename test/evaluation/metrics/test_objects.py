"""How objects are found and followed, on cases small enough to count by hand, and beside plain slow loops."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eomt_ros.evaluation.frame import Prediction, Truth
from eomt_ros.evaluation.ids import IdSpan
from eomt_ros.evaluation.metrics import ObjectLimits, Scores
from eomt_ros.evaluation.metrics.objects import ObjectCourse, ObjectScore
from eomt_ros.evaluation.metrics.overlap import overlap_of
from eomt_ros.evaluation.metrics.returns import ReturnCounts
from eomt_ros.evaluation.results import Figures
from test.evaluation.metrics.scenes import (
    BALL,
    BOX,
    CLASS_NAMES,
    FLOOR,
    IS_THING,
    SECONDS,
    UNLABELLED,
    WALL,
    Pair,
    Place,
    pair,
    play,
    random_sequence,
)

THINGS = np.array(IS_THING)


def of_objects(figures: Figures) -> list[float | None]:
    """Those about objects, in their order."""
    names = [field.name for field in fields(figures)]
    return [getattr(figures, name) for name in names[names.index("objects") :]]


class Scene:
    """Frames of square places in a row, each empty floor or filled by an object."""

    def __init__(self, limits: ObjectLimits | None = None) -> None:
        self._limits = limits or ObjectLimits(min_frames=1)
        self.frames: list[Pair] = []

    def see(self, *places: Place, found: list[Place] | None = None, epoch: int = 0, side: int = 20) -> Scene:
        """One frame; `found` is what is predicted: the same unless given."""
        return self.add(pair(list(places), found, epoch=epoch, side=side))

    def add(self, frame: Pair) -> Scene:
        self.frames.append(frame)
        return self

    @property
    def score(self) -> ObjectScore:
        score = ObjectScore(self._limits)
        for number, frame in enumerate(self.frames):
            score.update(overlap_of(*frame, THINGS), begin=number * SECONDS, seconds=SECONDS)
        return score

    @property
    def objects(self) -> dict[int, ObjectCourse]:
        return {course.key.id: course for course in self.score.courses}

    @property
    def spans(self) -> dict[int, tuple[IdSpan, ...]]:
        return {timeline.object_id: timeline.spans for timeline in self.score.timelines("a", CLASS_NAMES)}

    @property
    def figures(self) -> Figures:
        return self.figures_with()

    def figures_with(self, *others: Scene) -> Figures:
        """Those of several sequences."""
        scores = Scores(CLASS_NAMES, IS_THING, limits=self._limits)
        for number, scene in enumerate((self, *others)):
            play(scores, scene.frames, str(number))
        return scores.figures()


class TestMatching:
    def test_perfect_prediction_finds_everything_without_switches(self) -> None:
        scene = Scene()
        for _ in range(10):
            scene.see((1, BOX), None, (2, BALL))
        expected = Figures(
            objects=2,
            objects_found=1.0,
            frames_found=1.0,
            object_seconds=pytest.approx(2 * 10 * SECONDS),
            id_switches=0,
            switches_per_30_seconds=0.0,
            fragmentations=0,
            wrong_ids_after_reentry=0,
            seconds_to_first_detection=0.0,
            things_precision=1.0,
            ghosts_per_frame=0.0,
            idf1=1.0,
            shared_ids=0,
            returns=ReturnCounts.of([]).figures(),
        )
        assert of_objects(scene.figures) == of_objects(expected)

    def test_ids_need_not_be_those_of_the_ground_truth(self) -> None:
        scene = Scene()
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(40_000, BOX), (7, BOX)])
        assert (scene.figures.objects_found, scene.figures.id_switches) == (1.0, 0)

    def test_wrong_class_is_no_match(self) -> None:
        figures = Scene().see((1, BOX), found=[(1, BALL)]).figures
        assert (figures.objects, figures.objects_found, figures.frames_found) == (1, 0.0, 0.0)

    @pytest.mark.parametrize(("columns", "found"), [(10, 0), (11, 1)])
    def test_match_takes_more_than_half_of_the_union(self, columns: int, found: int) -> None:
        classes, part = np.full((20, 20), BOX, np.uint8), np.full((20, 20), FLOOR, np.uint8)
        part[:, :columns] = BOX
        scene = Scene().add((Truth(classes, classes), Prediction(part, part)))
        assert scene.objects[BOX].found == found

    def test_pixels_unlabelled_in_the_ground_truth_do_not_spoil_a_match(self) -> None:
        classes = np.full((20, 60), UNLABELLED, np.uint8)
        classes[:, :20] = BOX
        truth = np.where(classes == BOX, 1, 0).astype(np.uint16)
        guess = Prediction(np.full((20, 60), BOX, np.uint8), np.ones((20, 60), np.uint16))
        assert Scene().add((Truth(classes, truth), guess)).objects[1].found == 1

    def test_stuff_is_no_object_whatever_its_ids(self) -> None:
        scene = Scene().see((5, FLOOR), (6, WALL), None, found=[(9, FLOOR), (9, FLOOR), (8, WALL)])
        assert scene.objects == {}

    def test_each_frame_says_what_is_missed_a_ghost_and_switched(self) -> None:
        score = ObjectScore(ObjectLimits(min_frames=1))
        said = []
        for number, found in enumerate([[(1, BOX), None, (3, BALL)], [(7, BOX), (2, BALL), None], [None] * 3]):
            score.update(overlap_of(*pair([(1, BOX), (2, BOX), None], found), THINGS), begin=number * 0.1, seconds=0.1)
            said.append((score.frame.in_view, score.frame.missed, score.frame.ghosts, score.frame.switches))
        assert said == [(2, 1, 1, 0), (2, 1, 1, 1), (2, 2, 0, 0)]

    @settings(deadline=None)
    @given(seed=st.integers(0, 2**32 - 1))
    def test_matches_equal_those_of_plain_loops(self, seed: int) -> None:
        for truth, guess in random_sequence(seed, frames=3):
            assert truth.instances is not None
            assert guess.segments is not None
            labelled = truth.classes != UNLABELLED
            expected = {}
            for thing in np.unique(truth.instances[truth.instances > 0]).tolist():
                mask = truth.instances == thing
                class_id = int(truth.classes[mask][0])
                ids = np.unique(guess.segments[guess.segments > 0])
                others = [(guess.segments == each) & (guess.classes == class_id) & labelled for each in ids]
                expected[thing] = int(any((mask & each).sum() > 0.5 * (mask | each).sum() for each in others))
            scene = Scene(ObjectLimits(0.0, 1)).add((truth, guess))
            assert {number: course.found for number, course in scene.objects.items()} == expected


class TestIds:
    def test_two_ids_swapped_half_way_are_one_switch_each(self) -> None:
        scene = Scene()
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(1, BOX), (2, BOX)])
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(2, BOX), (1, BOX)])
        assert [course.switches for course in scene.objects.values()] == [[5 * SECONDS], [5 * SECONDS]]
        assert scene.figures.id_switches == 2
        assert scene.figures.switches_per_30_seconds == pytest.approx(30 * 2 / (20 * SECONDS))

    def test_switch_counts_across_frames_in_which_the_object_was_not_found(self) -> None:
        scene = Scene()
        for found in [(5, BOX), None, (6, BOX)]:
            scene.see((1, BOX), found=[found])
        assert scene.figures.id_switches == 1

    def test_same_number_in_a_new_epoch_is_another_id(self) -> None:
        scene = Scene().see((1, BOX), epoch=0).see((1, BOX), epoch=1)
        assert scene.figures.id_switches == 1

    def test_object_lost_and_found_again_is_a_fragmentation_and_no_switch(self) -> None:
        scene = Scene()
        for found in [(5, BOX), (5, BOX), None, None, (5, BOX)]:
            scene.see((1, BOX), found=[found])
        course = scene.objects[1]
        assert (course.frames, course.found, course.fragmentations, course.switches) == (5, 3, 1, [])

    def test_object_first_found_late_is_not_fragmented(self) -> None:
        scene = Scene()
        for found in [None, None, (5, BOX)]:
            scene.see((1, BOX), found=[found])
        assert scene.objects[1].fragmentations == 0

    def test_absence_of_the_object_itself_is_no_fragmentation(self) -> None:
        scene = Scene().see((1, BOX)).see(None).see(None).see((1, BOX))
        course = scene.objects[1]
        assert (course.frames, course.found, course.fragmentations, course.switches) == (2, 2, 0, [])

    @settings(deadline=None)
    @given(data=st.data())
    def test_renaming_the_predicted_ids_changes_nothing_but_the_names(self, data: st.DataObject) -> None:
        images = arrays(np.uint16, (6, 6), elements=st.integers(0, 3))
        frames = data.draw(st.lists(st.tuples(images, images), min_size=1, max_size=5))
        names = np.array([0, *data.draw(st.permutations([1, 2, 3]))], np.uint16)
        plain, renamed = (Scene(ObjectLimits(0.0, 1)) for _ in range(2))
        one_class = np.full((6, 6), BOX, np.uint8)
        for truth, guess in frames:
            plain.add((Truth(one_class, truth), Prediction(one_class, guess)))
            renamed.add((Truth(one_class, truth), Prediction(one_class, names[guess])))
        assert of_objects(renamed.figures) == of_objects(plain.figures)
        assert renamed.spans == {number: rename(spans, names) for number, spans in plain.spans.items()}


def rename(spans: tuple[IdSpan, ...], names: npt.NDArray[np.uint16]) -> tuple[IdSpan, ...]:
    return tuple(
        span if span.identity is None else replace(span, identity=str(names[int(span.identity)])) for span in spans
    )


class TestReentry:
    def test_another_id_after_an_absence_is_a_wrong_one_and_a_switch(self) -> None:
        scene = Scene().see((1, BOX), found=[(5, BOX)]).see(None).see((1, BOX), found=[(6, BOX)])
        assert (scene.figures.wrong_ids_after_reentry, scene.figures.id_switches) == (1, 1)

    def test_the_same_id_after_an_absence_is_right(self) -> None:
        scene = Scene().see((1, BOX)).see(None).see((1, BOX))
        assert scene.figures.wrong_ids_after_reentry == 0

    def test_another_id_without_an_absence_is_a_switch_only(self) -> None:
        scene = Scene().see((1, BOX), found=[(5, BOX)]).see((1, BOX), found=[None]).see((1, BOX), found=[(6, BOX)])
        assert (scene.figures.wrong_ids_after_reentry, scene.figures.id_switches) == (0, 1)

    def test_object_that_is_not_found_at_once_after_its_absence_still_counts(self) -> None:
        scene = Scene().see((1, BOX), found=[(5, BOX)]).see(None)
        scene.see((1, BOX), found=[None]).see((1, BOX), found=[(6, BOX)])
        assert scene.figures.wrong_ids_after_reentry == 1

    def test_object_never_found_before_its_absence_has_no_wrong_id(self) -> None:
        scene = Scene().see((1, BOX), found=[None]).see(None).see((1, BOX), found=[(6, BOX)])
        assert scene.figures.wrong_ids_after_reentry == 0

    def test_switch_long_after_the_return_is_not_the_returns(self) -> None:
        scene = Scene().see((1, BOX)).see(None).see((1, BOX)).see((1, BOX), found=[(6, BOX)])
        assert (scene.figures.wrong_ids_after_reentry, scene.figures.id_switches) == (0, 1)

    def test_object_too_small_to_be_in_view_is_out_of_view(self) -> None:
        scene = Scene(ObjectLimits(0.4, 1)).see((1, BOX), None, found=[(5, BOX), None])
        scene.see((1, BOX), None, None).see((1, BOX), None, found=[(6, BOX), None])
        assert scene.figures.wrong_ids_after_reentry == 1


class TestFirstDetection:
    def test_is_the_time_in_view_before_the_first_match(self) -> None:
        scene = Scene()
        for found in [None, None, (5, BOX), None, (5, BOX)]:
            scene.see((1, BOX), found=[found])
        assert scene.objects[1].delay == round(2e9 * SECONDS)

    def test_time_out_of_view_is_not_held_against_it(self) -> None:
        scene = Scene().see((1, BOX), found=[None]).see(None).see(None).see((1, BOX))
        assert scene.objects[1].delay == round(1e9 * SECONDS)

    def test_median_is_over_the_objects_that_were_found(self) -> None:
        scene = Scene()
        for frame in range(6):
            places: list[Place] = [(1, BOX), (2, BOX), (3, BOX), (4, BOX)]
            first_found = [0, 2, 5, 99]
            found = [place if frame >= first else None for place, first in zip(places, first_found, strict=True)]
            scene.see(*places, found=found)
        assert scene.objects[4].delay is None
        assert scene.figures.seconds_to_first_detection == pytest.approx(2 * SECONDS)
        assert scene.figures.objects_found == 3 / 4


class TestSpans:
    def test_tell_each_id_and_when_there_was_none(self) -> None:
        scene = Scene()
        for found in [(5, BOX), (5, BOX), None, (6, BOX), (6, BOX)]:
            scene.see((1, BOX), found=[found])
        spans = scene.spans[1]
        assert [span.identity for span in spans] == ["5", None, "6"]
        assert [span.begin for span in spans] == pytest.approx([0.0, 0.2, 0.3])
        assert [span.end for span in spans] == pytest.approx([0.2, 0.3, 0.5])

    def test_leave_the_time_out_of_view_open(self) -> None:
        scene = Scene().see((1, BOX)).see((1, BOX)).see(None).see((1, BOX))
        spans = scene.spans[1]
        assert [(span.begin, span.end, span.identity) for span in spans] == [
            (0.0, pytest.approx(0.2), "1"),
            (pytest.approx(0.3), pytest.approx(0.4), "1"),
        ]

    def test_meet_where_frames_between_were_dropped(self) -> None:
        score = ObjectScore(ObjectLimits(min_frames=1))
        for begin, name in [(0.0, 5), (0.7, 5), (1.0, 6)]:
            frame = pair([(1, BOX)], [(name, BOX)])
            score.update(overlap_of(*frame, THINGS), begin=begin, seconds=0.1)
        assert score.timelines("a", CLASS_NAMES)[0].spans == (IdSpan(0.0, 1.0, "5"), IdSpan(1.0, 1.1, "6"))

    def test_name_the_epoch_where_there_were_several(self) -> None:
        scene = Scene().see((1, BOX), (2, BOX), epoch=0).see((1, BOX), epoch=2)
        assert [span.identity for span in scene.spans[1]] == ["0:1", "2:1"]
        assert [span.identity for span in scene.spans[2]] == ["0:2"]


class TestWhatCounts:
    @pytest.mark.parametrize(("pixels", "objects"), [(19, 0), (20, 1)])
    def test_objects_of_less_than_a_thousandth_of_the_image_are_out_of_view(self, pixels: int, objects: int) -> None:
        ids = np.zeros((100, 200), np.uint16)
        ids[0, :pixels] = 1
        classes = np.where(ids > 0, BOX, FLOOR).astype(np.uint8)
        scene = Scene().add((Truth(classes, ids), Prediction(classes, ids)))
        assert scene.figures.objects == objects

    @pytest.mark.parametrize(("area", "frames"), [(-0.1, 1), (1.5, 1), (0.1, 0)])
    def test_limits_that_make_no_sense_are_refused(self, area: float, frames: int) -> None:
        with pytest.raises(ValueError, match="expected"):
            ObjectLimits(area, frames)

    def test_objects_in_view_for_fewer_than_five_frames_are_left_out(self) -> None:
        scene = Scene(ObjectLimits()).see((1, BOX), (2, BOX), found=[(1, BOX), None])
        for _ in range(4):
            scene.see((1, BOX))
        assert (scene.figures.objects, scene.figures.frames_found) == (1, 1.0)

    def test_figures_of_several_sequences_are_pooled(self) -> None:
        first = Scene().see((1, BOX)).see((1, BOX))
        second = Scene().see((1, BOX), found=[None])
        figures = first.figures_with(second)
        assert figures.idf1 == pytest.approx(2 * 2 / (3 + 2))
        assert (figures.objects, figures.objects_found) == (2, 0.5)
        assert figures.frames_found == pytest.approx(2 / 3)

    def test_nothing_to_say_of_no_object_is_none(self) -> None:
        figures = Scene().see(None).figures
        assert (figures.objects, figures.id_switches, figures.ghosts_per_frame, figures.shared_ids) == (0, 0, 0, 0)
        assert (figures.objects_found, figures.frames_found, figures.switches_per_30_seconds) == (None, None, None)
        assert (figures.seconds_to_first_detection, figures.things_precision, figures.idf1) == (None, None, None)
