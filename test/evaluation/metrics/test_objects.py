"""The scores of pixels and of objects, on cases small enough to count by hand, and beside plain slow loops."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eomt_ros.evaluation.metrics import ObjectFigures, ObjectScore, SemanticScore, Track

FLOOR, WALL, BOX, BALL = range(4)
UNLABELLED = 255
SECONDS = 0.1


def semantic(*frames: tuple[list[int], list[int]], classes: int = 4) -> SemanticScore:
    """The score of frames given as rows of true and predicted classes."""
    score = SemanticScore(classes)
    for truth, prediction in frames:
        score.update(np.array([truth], np.uint8), np.array([prediction], np.uint8))
    return score


class TestSemanticScore:
    def test_perfect_prediction_gives_one(self) -> None:
        figures = semantic(([FLOOR, WALL, BOX], [FLOOR, WALL, BOX])).figures()
        assert figures.miou == 1.0
        assert figures.class_iou[:3] == (1.0, 1.0, 1.0)

    def test_iou_is_intersection_over_union_of_all_frames_together(self) -> None:
        figures = semantic(
            ([FLOOR, FLOOR, FLOOR, WALL], [FLOOR, FLOOR, WALL, WALL]),
            ([FLOOR, WALL, WALL, WALL], [WALL, WALL, WALL, WALL]),
        ).figures()
        assert figures.class_iou[FLOOR] == pytest.approx(2 / 4)
        assert figures.class_iou[WALL] == pytest.approx(4 / 6)
        assert figures.miou == pytest.approx((2 / 4 + 4 / 6) / 2)

    def test_class_absent_from_the_ground_truth_is_left_out_of_the_mean(self) -> None:
        figures = semantic(([FLOOR, FLOOR], [FLOOR, BALL])).figures()
        assert math.isnan(figures.class_iou[BALL])
        assert figures.miou == pytest.approx(1 / 2)

    def test_class_that_is_never_found_counts_as_zero(self) -> None:
        assert semantic(([FLOOR, BALL], [FLOOR, FLOOR])).figures().miou == pytest.approx((1 / 2 + 0) / 2)

    def test_pixels_unlabelled_in_the_ground_truth_are_ignored(self) -> None:
        assert semantic(([FLOOR, UNLABELLED], [FLOOR, BALL])).figures().miou == 1.0

    def test_pixels_left_unlabelled_by_the_prediction_are_missed(self) -> None:
        figures = semantic(([FLOOR, FLOOR, WALL], [FLOOR, UNLABELLED, WALL])).figures()
        assert figures.class_iou[FLOOR] == pytest.approx(1 / 2)
        assert figures.class_iou[WALL] == 1.0

    def test_nothing_to_compare_with_gives_nan(self) -> None:
        assert math.isnan(semantic(([UNLABELLED], [FLOOR])).figures().miou)

    def test_unlabelled_is_65535_in_16_bit_images_of_many_classes(self) -> None:
        score = SemanticScore(300)
        score.update(np.array([[255, 299, 65535]], np.uint16), np.array([[255, 65535, 0]], np.uint16))
        figures = score.figures()
        assert figures.class_iou[255] == 1.0
        assert figures.class_iou[299] == 0.0

    def test_scores_added_up_equal_one_score_of_all_frames(self) -> None:
        first, second = ([FLOOR, WALL], [WALL, WALL]), ([BOX, WALL], [BOX, FLOOR])
        total = semantic(first)
        total.add(semantic(second))
        assert total.figures().class_iou[:3] == semantic(first, second).figures().class_iou[:3]

    def test_class_id_from_another_list_of_classes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="prediction has class id 7, expected 0 to 3 or 255"):
            semantic(([FLOOR], [7]))
        with pytest.raises(ValueError, match="ground truth has class id 4"):
            semantic(([4], [FLOOR]))

    def test_images_of_different_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(1, 2\) and \(1, 3\)"):
            semantic(([FLOOR, FLOOR], [FLOOR, FLOOR, FLOOR]))

    @given(
        truth=arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255])),
        prediction=arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255])),
    )
    def test_equals_counting_pixel_by_pixel(
        self, truth: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8]
    ) -> None:
        score = SemanticScore(4)
        score.update(truth, prediction)
        expected = []
        for label in range(4):
            pairs = [(t == label, p == label) for t, p in zip(truth.flat, prediction.flat, strict=True) if t != 255]
            if any(t for t, _ in pairs):
                expected.append(sum(t and p for t, p in pairs) / sum(t or p for t, p in pairs))
        assert score.figures().miou == pytest.approx(np.mean(expected) if expected else math.nan, nan_ok=True)


class Scene:
    """Frames of 20x60 pixels: one row of 20x20 places, each empty floor or filled by an object."""

    def __init__(self, score: ObjectScore | None = None) -> None:
        self.score = score or ObjectScore(min_area=100)

    def see(
        self, *places: tuple[int, int] | None, found: list[tuple[int, int] | None] | None = None, epoch: int = 0
    ) -> Scene:
        """One frame; a place is (object id, class), and `found` what is predicted there: the same unless given."""
        truth_objects, truth_classes = self._images(places)
        objects, classes = self._images(places if found is None else found)
        self.score.update(truth_classes, truth_objects, classes, objects, seconds=SECONDS, epoch=epoch)
        return self

    @staticmethod
    def _images(places: object) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
        objects, classes = np.zeros((20, 60), np.uint16), np.full((20, 60), FLOOR, np.uint8)
        for column, place in enumerate(places):  # type: ignore[call-overload]
            if place is not None:
                area = np.s_[:, 20 * column : 20 * column + 20]
                objects[area], classes[area] = place
        return objects, classes

    @property
    def tracks(self) -> dict[int, Track]:
        return {track.object_id: track for track in self.score.tracks()}

    def figures(self, min_frames: int = 1) -> ObjectFigures:
        return ObjectFigures.of(self.score.tracks(), min_frames=min_frames)


class TestObjectScore:
    def test_perfect_prediction_finds_everything_without_switches(self) -> None:
        scene = Scene()
        for _ in range(10):
            scene.see((1, BOX), None, (2, BALL))
        figures = scene.figures()
        assert (figures.objects, figures.objects_found, figures.frames_found) == (2, 1.0, 1.0)
        assert (figures.id_switches, figures.fragmentations, figures.ids_per_object) == (0, 0, 1.0)
        assert figures.object_seconds == pytest.approx(2 * 10 * SECONDS)

    def test_ids_need_not_be_those_of_the_ground_truth(self) -> None:
        scene = Scene()
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(40_000, BOX), (7, BOX)])
        assert scene.figures().objects_found == 1.0
        assert scene.figures().id_switches == 0

    def test_two_ids_swapped_half_way_are_one_switch_each(self) -> None:
        scene = Scene()
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(1, BOX), (2, BOX)])
        for _ in range(5):
            scene.see((1, BOX), (2, BOX), found=[(2, BOX), (1, BOX)])
        assert [track.id_switches for track in scene.tracks.values()] == [1, 1]
        figures = scene.figures()
        assert (figures.id_switches, figures.ids_per_object) == (2, 2.0)
        assert figures.switches_per_30_seconds == pytest.approx(30 * 2 / (20 * SECONDS))

    def test_wrong_class_is_no_match(self) -> None:
        figures = Scene().see((1, BOX), found=[(1, BALL)]).figures()
        assert (figures.objects, figures.objects_found, figures.frames_found) == (1, 0.0, 0.0)
        assert math.isnan(figures.ids_per_object)

    @pytest.mark.parametrize(("columns", "found"), [(10, 0), (11, 1)])
    def test_match_takes_more_than_half_of_the_union(self, columns: int, found: int) -> None:
        score = ObjectScore()
        truth, part = np.zeros((20, 60), np.uint16), np.zeros((20, 60), np.uint16)
        truth[:, :20], part[:, :columns] = 1, 1
        score.update(truth.astype(np.uint8), truth, part.astype(np.uint8), part, seconds=SECONDS)
        assert score.tracks()[0].found == found

    def test_pixels_unlabelled_in_the_ground_truth_do_not_spoil_a_match(self) -> None:
        score = ObjectScore()
        classes = np.full((20, 60), UNLABELLED, np.uint8)
        classes[:, :20] = BOX
        truth, prediction = np.zeros((20, 60), np.uint16), np.ones((20, 60), np.uint16)
        truth[:, :20] = 1
        score.update(classes, truth, np.full((20, 60), BOX, np.uint8), prediction, seconds=SECONDS)
        assert score.tracks()[0].found == 1

    def test_object_lost_and_found_again_is_a_fragmentation_and_no_switch(self) -> None:
        scene = Scene()
        for found in [(5, BOX), (5, BOX), None, None, (5, BOX)]:
            scene.see((1, BOX), found=[found])
        track = scene.tracks[1]
        assert (track.frames, track.found, track.fragmentations, track.id_switches) == (5, 3, 1, 0)

    def test_switch_counts_across_frames_in_which_the_object_was_not_found(self) -> None:
        scene = Scene()
        for found in [(5, BOX), None, (6, BOX)]:
            scene.see((1, BOX), found=[found])
        assert scene.tracks[1].id_switches == 1

    def test_object_first_found_late_is_not_fragmented(self) -> None:
        scene = Scene()
        for found in [None, None, (5, BOX)]:
            scene.see((1, BOX), found=[found])
        assert scene.tracks[1].fragmentations == 0

    def test_absence_of_the_object_itself_is_no_fragmentation(self) -> None:
        scene = Scene().see((1, BOX)).see(None).see(None).see((1, BOX))
        assert replace(scene.tracks[1], seconds=0) == Track(1, BOX, 2, 2, 0, 1, 0, 0)

    def test_same_number_in_a_new_epoch_is_another_id(self) -> None:
        scene = Scene().see((1, BOX), epoch=0).see((1, BOX), epoch=1)
        assert (scene.tracks[1].id_switches, scene.tracks[1].ids) == (1, 2)

    def test_objects_smaller_than_min_area_are_ignored(self) -> None:
        figures = Scene(ObjectScore(min_area=401)).see((1, BOX)).figures()
        assert figures.objects == 0
        assert math.isnan(figures.objects_found)
        assert Scene(ObjectScore(min_area=400)).see((1, BOX)).figures().objects == 1

    def test_objects_in_view_for_a_moment_only_are_left_out(self) -> None:
        scene = Scene().see((1, BOX), (2, BOX), found=[(1, BOX), None])
        for _ in range(4):
            scene.see((1, BOX))
        assert scene.figures(min_frames=5).objects == 1
        assert scene.figures(min_frames=5).frames_found == 1.0
        assert scene.figures(min_frames=1).frames_found == pytest.approx(5 / 6)

    def test_stuff_is_no_object_whatever_its_ids(self) -> None:
        scene = Scene().see(None, None, None, found=[(9, FLOOR), (9, FLOOR), (8, WALL)])
        assert scene.tracks == {}

    def test_figures_of_several_sequences_are_pooled(self) -> None:
        first = Scene().see((1, BOX)).see((1, BOX))
        second = Scene().see((1, BOX), found=[None])
        figures = ObjectFigures.of([*first.score.tracks(), *second.score.tracks()], min_frames=1)
        assert (figures.objects, figures.objects_found) == (2, 0.5)
        assert figures.frames_found == pytest.approx(2 / 3)

    @given(data=st.data())
    def test_renaming_the_predicted_ids_changes_nothing(self, data: st.DataObject) -> None:
        images = arrays(np.uint16, (6, 6), elements=st.integers(0, 3))
        frames = data.draw(st.lists(st.tuples(images, images), min_size=1, max_size=5))
        names = np.array([0, *data.draw(st.permutations([1, 2, 3]))], np.uint16)
        plain, renamed = ObjectScore(min_area=1), ObjectScore(min_area=1)
        for truth, prediction in frames:
            one_class = np.zeros((6, 6), np.uint8)
            plain.update(one_class, truth, one_class, prediction, seconds=SECONDS)
            renamed.update(one_class, truth, one_class, names[prediction], seconds=SECONDS)
        assert plain.tracks() == renamed.tracks()

    @given(data=st.data())
    def test_matches_equal_those_of_plain_loops(self, data: st.DataObject) -> None:
        images = arrays(np.uint16, (4, 5), elements=st.integers(0, 2))
        class_images = arrays(np.uint8, (4, 5), elements=st.sampled_from([BOX, 255]))
        truth, prediction, classes = data.draw(images), data.draw(images), data.draw(class_images)
        score = ObjectScore(min_area=1)
        score.update(classes, truth, np.full((4, 5), BOX, np.uint8), prediction, seconds=SECONDS)
        expected = {}
        for thing in (1, 2):
            mask = (truth == thing) & (classes != 255)
            others = [(prediction == number) & (classes != 255) for number in (1, 2)]
            if mask.any():
                expected[thing] = int(any((mask & other).sum() > 0.5 * (mask | other).sum() for other in others))
        assert {track.object_id: track.found for track in score.tracks()} == expected

    def test_images_of_different_shapes_are_refused(self) -> None:
        small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8)
        with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 2\)"):
            ObjectScore().update(small, small, small, large, seconds=SECONDS)


def test_figures_of_nothing_are_nan_and_not_an_error() -> None:
    figures = asdict(ObjectFigures.of([]))
    assert figures["objects"] == 0
    assert math.isnan(figures["objects_found"])
