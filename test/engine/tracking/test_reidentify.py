"""Things that come back after a long absence, on scenes that are told thing by thing, for both ways to give ids."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pytest

from eomt_ros.engine import Segment, Segmenter
from eomt_ros.engine.tracking import tracker
from eomt_ros.engine.tracking.by_overlap import OverlapIdentities
from eomt_ros.engine.tracking.reidentify import FARTHEST, JUMP, MARGIN, MOST_BYTES, MOST_TRACKS, NEAR, UNLIKE, Recall
from eomt_ros.engine.tracking.tracker import Identities, Identity, Observation
from eomt_ros.evaluation.sources.opening import open_sequences
from eomt_ros.stamps import SECOND
from test import ROOT

HEIGHT, WIDTH, SIZE = 480, 640, 40
BALL, CONE, FLOOR = range(3)
CHANNELS = 8
RECALL = Recall(60.0, 0.4)


def look(degrees: float) -> np.ndarray:
    """An embedding; the larger the angle between two, up to 180 degrees, the less like they are."""
    found = np.zeros(CHANNELS, np.float32)
    found[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return found


def likeness(
    newcomer: np.ndarray, track: np.ndarray, of_class: Sequence[np.ndarray], own: Sequence[np.ndarray] = ()
) -> float:
    """Rule 1 as it is written; of_class: all tracks, which are of one class; own: the newcomer's own, if it has one."""
    everything = np.full(CHANNELS, CHANNELS**-0.5)
    of_all = np.mean([*of_class, *own, everything], 0)
    mean = np.mean([*of_class, newcomer, of_all], 0)
    first, second = newcomer - mean, track - mean
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def angle_where(goal: Callable[[float], float], value: float) -> float:
    """The angle in degrees at which a falling function of it has a value."""
    low, high = 0.0, 180.0
    assert goal(low) > value > goal(high)
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if goal(middle) > value else (low, middle)
    return low


@dataclass(frozen=True)
class Thing:
    """A square of the image."""

    look: np.ndarray | None
    x: int = 100
    slot: int = 0
    class_id: int = BALL
    place: Sequence[float] | None = None
    is_thing: bool = True
    size: int = SIZE

    def seen(self) -> Observation:
        box = (self.x, 100, self.size, self.size)
        place = None if self.place is None else np.array(self.place, np.float64)
        return Observation(self.slot, self.class_id, self.is_thing, box, self.look, place)


class Camera:
    """Shows a stream of frames at ten a second."""

    def __init__(self, identities: type[Identities], recall: Recall) -> None:
        self.identities = identities()
        self.recall = recall
        self.time = 0.0
        self.jumps: int | None = 0

    def names(self, *things: Thing) -> list[Identity]:
        """The next frame's."""
        index = np.zeros((HEIGHT, WIDTH), np.uint8)
        for number, thing in enumerate(things, start=1):
            index[100 : 100 + thing.size, thing.x : thing.x + thing.size] = number
        self.time += 0.1
        seen = [thing.seen() for thing in things]
        return self.identities.update(seen, WIDTH, round(self.time * SECOND), index, self.recall, self.jumps)

    def show(self, *things: Thing) -> list[int]:
        return [name.id for name in self.names(*things)]

    def look_away(self, seconds: float = 10.0) -> None:
        """An empty frame at once, and another just before the next one comes, `seconds` after the last with things."""
        self.show()
        self.time += seconds - 0.3
        self.show()


@pytest.fixture(params=[Identities, OverlapIdentities])
def kind(request: pytest.FixtureRequest) -> type[Identities]:
    found: type[Identities] = request.param
    return found


@pytest.fixture
def camera(kind: type[Identities]) -> Camera:
    return Camera(kind, RECALL)


def away(thing: Thing) -> Thing:
    """The same thing, where neither its slot nor its place in the image says so."""
    return replace(thing, x=thing.x + 300, slot=thing.slot + 10)


# --- what comes back


def test_a_thing_that_comes_back_elsewhere_has_its_id_and_says_so_once(camera: Camera) -> None:
    first = [camera.names(Thing(look(0)))[0] for _ in range(3)]
    assert [(name.id, name.age, name.returned) for name in first] == [(1, 0, False), (1, 1, False), (1, 2, False)]
    camera.look_away()
    again = [camera.names(away(Thing(look(0))))[0] for _ in range(2)]
    assert [(name.id, name.age, name.returned) for name in again] == [(1, 5, True), (1, 6, False)]


def test_what_came_back_is_followed_like_any_other(camera: Camera) -> None:
    camera.show(Thing(look(0)))
    camera.look_away()
    there = away(Thing(look(0)))
    assert [camera.show(replace(there, x=400 + 5 * step, look=look(90))) for step in range(1)] == [[2]]
    camera.look_away()
    assert [camera.show(replace(there, x=400 + 5 * step)) for step in range(5)] == [[1]] * 5


@pytest.mark.parametrize("seconds", [0.5, 2.5, 30.0, 59.0])
def test_it_may_be_away_for_as_long_as_is_remembered(camera: Camera, seconds: float) -> None:
    camera.show(Thing(look(0)))
    camera.look_away(seconds)
    assert camera.show(away(Thing(look(0)))) == [1]


def test_what_was_away_for_longer_is_new(camera: Camera) -> None:
    camera.show(Thing(look(0)))
    camera.look_away(61.0)
    assert camera.show(away(Thing(look(0)))) == [2]


def test_nothing_is_remembered_for_0_seconds(kind: type[Identities]) -> None:
    camera = Camera(kind, Recall(0.0, 0.0))
    camera.show(Thing(look(0)))
    camera.look_away()
    assert camera.show(away(Thing(look(0)))) == [2]


@pytest.mark.parametrize("similarity", [0.2, 0.4, 0.9])
def test_it_must_look_as_like_as_is_asked_for(kind: type[Identities], similarity: float) -> None:
    angle = angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), similarity)
    for off, expected in ((-0.1, 1), (0.1, 2)):
        camera = Camera(kind, Recall(60.0, similarity))
        camera.show(Thing(look(0)))
        camera.look_away()
        assert camera.show(away(Thing(look(angle + off)))) == [expected]


def test_what_all_of_a_class_have_in_common_says_nothing(camera: Camera) -> None:
    """All cones are much alike; a little of its own is enough to know each by."""

    def cone(number: int) -> np.ndarray:
        own = np.eye(CHANNELS, dtype=np.float32)[0] + 0.3 * np.eye(CHANNELS, dtype=np.float32)[number]
        return own / np.float32(np.linalg.norm(own))

    assert cone(1) @ cone(2) > 0.9
    camera.show(*(Thing(cone(number), 60 * number, number, CONE) for number in range(1, 6)))
    camera.look_away()
    assert camera.show(Thing(cone(6), 400, 20, CONE), Thing(cone(2), 500, 21, CONE)) == [6, 2]


def test_a_thing_of_another_class_is_new(camera: Camera) -> None:
    camera.show(Thing(look(0)))
    camera.look_away()
    assert camera.show(away(Thing(look(0), class_id=CONE))) == [2]


def test_what_is_in_view_is_not_lost(camera: Camera) -> None:
    camera.show(Thing(look(0)))
    assert camera.show(Thing(look(0)), away(Thing(look(0)))) == [1, 2]


def test_a_thing_is_remembered_by_its_mean_look(kind: type[Identities]) -> None:
    expected = likeness(look(20), look(45), [look(45)])
    for off, id_ in ((-0.01, 1), (0.01, 2)):
        camera = Camera(kind, Recall(60.0, expected + off))
        for degrees in (0, 90):
            camera.show(Thing(look(degrees)))
        camera.look_away()
        assert camera.show(away(Thing(look(20)))) == [id_]


def test_of_its_looks_the_last_ones_count_most(kind: type[Identities]) -> None:
    """The newest for a tenth, however many there were."""
    camera = Camera(kind, Recall(60.0, likeness(look(30), look(15), [look(15)])))
    for degrees in [0.0] * 100 + [30.0] * 20:
        assert camera.show(Thing(look(degrees))) == [1]
    camera.look_away()
    assert camera.show(away(Thing(look(30)))) == [1]


def test_an_epoch_knows_nothing_of_the_one_before(camera: Camera) -> None:
    camera.show(Thing(look(90)), Thing(look(0), x=300, slot=1))
    camera.look_away()
    camera.identities.restart()
    assert camera.show(Thing(look(0), x=500, slot=7)) == [1]


def test_stuff_is_not_lost(camera: Camera) -> None:
    camera.show(Thing(look(0), class_id=FLOOR, is_thing=False))
    camera.look_away()
    assert camera.show(away(Thing(look(0), class_id=FLOOR))) == [2]


# --- which of several


def test_of_several_it_is_the_one_it_looks_like(camera: Camera) -> None:
    camera.show(*(Thing(look(60 * number), 100 * number, number) for number in range(4)))
    camera.look_away()
    assert camera.show(Thing(look(120), 400, 11), Thing(look(60), 250, 12)) == [3, 2]


@pytest.mark.parametrize(("margins", "expected"), [(0.9, 3), (1.1, 1)])
def test_between_two_lost_ones_that_are_about_equally_like_it_is_new(
    camera: Camera, margins: float, expected: int
) -> None:
    def of_other(degrees: float) -> float:
        return likeness(look(0), look(degrees), [look(0), look(degrees)])

    camera.show(Thing(look(0), 100, 0), Thing(look(angle_where(of_other, 1 - margins * MARGIN)), 300, 1))
    camera.look_away()
    assert camera.show(Thing(look(0), 500, 7)) == [expected]


@pytest.mark.parametrize(("margins", "expected"), [(0.9, [2, 3]), (1.1, [1, 2])])
def test_two_newcomers_that_are_about_equally_like_a_lost_one_are_new(
    camera: Camera, margins: float, expected: list[int]
) -> None:
    second = angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), 1 - margins * MARGIN)
    camera.show(Thing(look(0), 100, 0))
    camera.look_away()
    assert camera.show(Thing(look(0), 300, 7), Thing(look(second), 500, 8)) == expected


def test_one_beside_it_that_is_none_of_the_lost_ones_takes_no_return_away(camera: Camera) -> None:
    camera.show(Thing(look(0), 100, 0), Thing(look(60), 300, 1))
    camera.look_away()
    assert camera.show(Thing(look(0), 200, 7), Thing(look(-60), 500, 8)) == [1, 3]


def test_ten_equal_cones_get_new_ids_rather_than_wrong_ones(camera: Camera) -> None:
    cones = [Thing(look(0), 60 * number, number, CONE) for number in range(10)]
    assert camera.show(*cones) == list(range(1, 11))
    camera.look_away()
    assert camera.show(*(replace(cone, x=cone.x + 25, slot=cone.slot + 20) for cone in cones)) == list(range(11, 21))


def test_ten_equal_cones_keep_their_ids_where_they_stand_apart_in_a_fixed_frame(camera: Camera) -> None:
    cones = [Thing(look(0), 60 * number, number, CONE, (2.0 * number, 0, 0)) for number in range(10)]
    camera.show(*cones)
    camera.look_away()
    back = [replace(cone, x=cone.x + 25, slot=cone.slot + 20) for cone in reversed(cones)]
    assert camera.show(*back) == list(range(10, 0, -1))


# --- where it was


def test_a_thing_out_of_reach_is_new_however_like(camera: Camera) -> None:
    camera.show(Thing(look(0), place=(0, 0, 0)))
    camera.look_away()
    assert camera.show(away(Thing(look(0), place=(NEAR + 0.1, 0, 0)))) == [2]


@pytest.mark.parametrize(("like", "farthest"), [(0.2, 2.25), (-0.2, 1.75), (-0.5, 1.375)])
def test_the_nearer_to_its_place_the_less_it_need_look_alike(camera: Camera, like: float, farthest: float) -> None:
    """A likeness and `PLACE_CREDIT` less the share of the way to `PLACE_EXTENT` must be 0.4 together."""
    unlike = look(angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), like))
    for off, expected in ((-0.01, [1]), (0.01, [2])):
        camera = Camera(type(camera.identities), RECALL)
        for step in range(31):  # half a metre a second
            camera.show(Thing(look(0), place=(0.05 * step - 1.5, 0, 0)))
        camera.look_away()
        assert camera.show(away(Thing(unlike, place=(farthest + off, 0, 0)))) == expected


def test_what_has_no_colour_in_common_is_another_thing_even_in_its_place(kind: type[Identities]) -> None:
    for cosine, expected in ((UNLIKE + 0.01, 1), (UNLIKE - 0.01, 2)):
        camera = Camera(kind, Recall(60.0, 0.0))
        camera.show(Thing(look(0), place=(0, 0, 0)))
        camera.look_away()
        there = away(Thing(look(float(np.degrees(np.arccos(cosine)))), place=(0, 0, 0)))
        assert camera.show(there) == [expected]


def test_a_place_is_worth_nothing_far_away(kind: type[Identities]) -> None:
    angle = angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), 0.4)
    for off, expected in ((-0.1, 1), (0.1, 2)):
        camera = Camera(kind, RECALL)
        for step in range(30):
            camera.show(Thing(look(0), place=(0.05 * step, 0, 0)))
        camera.look_away()
        assert camera.show(away(Thing(look(angle + off), place=(4.0, 0, 0)))) == [expected]


def test_what_moved_may_have_gone_on(camera: Camera) -> None:
    for step in range(30):
        camera.show(Thing(look(0), place=(0.05 * step, 0, 0)))
    camera.look_away(4.0)
    assert camera.show(away(Thing(look(0), place=(1.5 + 2.0, 0, 0)))) == [1]


def test_what_stood_still_at_last_may_have_gone_on_too(camera: Camera) -> None:
    for step in range(60):  # half a metre a second, and then none
        camera.show(Thing(look(0), place=(min(0.05 * step, 1.5) - 1.5, 0, 0)))
    camera.look_away()
    assert camera.show(away(Thing(look(0), place=(4.0, 0, 0)))) == [1]


def test_what_moved_long_ago_is_not_everywhere(camera: Camera) -> None:
    for off, expected in ((NEAR + FARTHEST - 0.1, 1), (NEAR + FARTHEST + 0.1, 2)):
        camera = Camera(type(camera.identities), RECALL)
        for step in range(31):  # half a metre a second
            camera.show(Thing(look(0), place=(0.05 * step - 1.5, 0, 0)))
        camera.look_away(50.0)
        assert camera.show(away(Thing(look(0), place=(off, 0, 0)))) == [expected]


def test_without_a_place_then_or_now_looks_alone_count(camera: Camera) -> None:
    unlike = look(angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), -0.3))
    camera.show(Thing(look(0)))
    camera.look_away()
    assert camera.show(away(Thing(unlike, place=(0, 0, 0)))) == [2]
    camera.look_away()
    assert camera.show(Thing(look(0), 0, 5, place=(9, 0, 0))) == [1]


def test_after_a_jump_of_the_frame_places_are_doubted_and_looks_alone_count(camera: Camera) -> None:
    unlike = look(angle_where(lambda degrees: likeness(look(degrees), look(0), [look(0)]), -0.3))
    camera.show(Thing(look(0), place=(0, 0, 0)))
    camera.jumps = 1
    camera.look_away()
    assert camera.show(away(Thing(unlike, place=(0, 0, 0)))) == [2]
    camera.look_away()
    assert camera.show(Thing(look(0), 0, 5, place=(9, 0, 0))) == [1]
    camera.look_away()
    assert camera.show(Thing(unlike, 300, 7, place=(0, 0, 0))) == [2]  # in the frame as it is now


def test_a_frame_whose_places_are_not_known_is_no_jump(camera: Camera) -> None:
    camera.jumps = 3
    camera.show(Thing(look(0), place=(0, 0, 0)))
    camera.jumps = None
    camera.look_away()
    camera.jumps = 3
    assert camera.show(away(Thing(look(0), place=(5, 0, 0)))) == [2]


def test_what_is_carried_to_another_room_knows_nothing_there_that_looks_otherwise(camera: Camera) -> None:
    """Its odometry has not moved: other things are where those of the first room were."""
    here = [Thing(look(15 * number), 60 * number, number, CONE, (number, 0, 0)) for number in range(4)]
    camera.show(*here)
    camera.look_away()
    there = [replace(thing, look=look(180 + 15 * number)) for number, thing in enumerate(here)]
    assert camera.show(*map(away, there)) == [5, 6, 7, 8]


# --- how it changes what continues


def test_a_slot_whose_thing_would_have_jumped_in_space_is_another_thing(kind: type[Identities]) -> None:
    for off, expected in ((JUMP - 0.01, 1), (JUMP + 0.01, 2)):
        camera = Camera(kind, RECALL)
        camera.show(Thing(look(0), place=(0, 0, 0)))
        assert camera.show(Thing(look(80), place=(off, 0, 0))) == [expected]


def test_a_thing_that_another_slot_shows_elsewhere_in_space_is_another_thing() -> None:
    for off, expected in ((JUMP - 0.01, 1), (JUMP + 0.01, 2)):
        camera = Camera(Identities, RECALL)
        camera.show(Thing(look(0), place=(0, 0, 0)))
        assert camera.show(Thing(look(80), slot=7, place=(off, 0, 0))) == [expected]


def test_a_sliver_may_turn_out_to_be_a_thing_that_was_lost(camera: Camera) -> None:
    camera.show(Thing(look(0)))
    camera.look_away()
    sliver, whole = Thing(look(180), 632, 5, size=8), Thing(look(0), 600, 5)
    first = camera.names(sliver)
    assert (first[0].id, first[0].returned) == (2, False)
    found = [camera.names(replace(whole, x=600 - step))[0] for step in range(40)]
    assert [(name.id, name.returned) for name in found].count((1, True)) == 1
    assert {name.id for name in found[5:]} == {1}


def test_a_sliver_is_compared_by_its_mean_look_so_far(kind: type[Identities]) -> None:
    expected = likeness(look(50), look(0), [look(0)], [look(50)])
    for off, id_ in ((-0.01, 1), (0.01, 2)):
        camera = Camera(kind, Recall(60.0, expected + off))
        assert camera.show(Thing(look(0)), Thing(look(50), 632, 5, size=8)) == [1, 2]
        assert camera.show(Thing(look(20), 632, 5, size=8)) == [id_]


def test_the_id_of_a_sliver_that_was_a_lost_thing_does_not_come_back(camera: Camera) -> None:
    assert camera.show(Thing(look(0)), Thing(look(50), 632, 5, size=8)) == [1, 2]
    camera.recall = Recall(60.0, -1.0)
    assert camera.show(Thing(look(20), 632, 5, size=8)) == [1]
    camera.look_away()
    assert camera.show(Thing(look(50), 300, 7)) == [1]


def test_what_was_no_sliver_or_long_ago_keeps_its_new_id(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "ALIKE", -1.0)  # else a look that is so much another is doubted in any case
    for size, seconds in ((40, 0.0), (8, 0.6)):
        camera.show(Thing(look(0)))
        camera.look_away()
        first = camera.show(Thing(look(180), 600, 5, size=size))
        for _ in range(round(10 * seconds)):
            assert camera.show(Thing(look(180), 600, 5, size=size)) == first
        assert [camera.show(Thing(look(0), 600, 5)) for _ in range(20)] == [first] * 20
        camera.look_away(70)


# --- bad input and bounds


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_none(camera: Camera, bad: float) -> None:
    broken = np.full(8, bad, np.float32)
    camera.show(Thing(look(0)), Thing(broken, 300, 1))
    camera.look_away()
    assert camera.show(away(Thing(broken))) == [3]
    camera.look_away()
    assert camera.show(Thing(broken, 200, 6), Thing(look(0), 0, 5)) == [4, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_place_that_is_not_finite_is_none(camera: Camera, bad: float) -> None:
    camera.show(Thing(look(0), place=(0, bad, 0)))
    camera.look_away()
    assert camera.show(away(Thing(look(0), place=(5, 0, 0)))) == [1]
    camera.look_away()
    assert camera.show(Thing(look(0), 0, 5, place=(bad, 0, 0))) == [1]


def test_thousands_of_lost_things_push_out_the_oldest(kind: type[Identities]) -> None:
    camera = Camera(kind, Recall(86400.0, 0.9))
    looks = np.random.default_rng(0).standard_normal((MOST_TRACKS + 500, 64)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    for number, each in enumerate(looks):
        assert camera.show(Thing(each)) == [number + 1]
        camera.look_away(2.5)
    assert camera.show(Thing(looks[501])) == [502]
    camera.look_away()
    assert camera.show(Thing(looks[498])) == [len(looks) + 1]


def test_what_made_room_in_the_memory_leaves_nothing_to_what_took_it(camera: Camera) -> None:
    """With embeddings so large it holds one thing."""
    one, other = (np.pad(look(degrees), (0, MOST_BYTES // 4 - CHANNELS)) for degrees in (0, 90))
    for _ in range(10):
        assert camera.show(Thing(one, place=(0, 0, 0))) == [1]
    camera.look_away()
    assert camera.show(away(Thing(other))) == [2]
    camera.look_away()
    assert camera.show(Thing(other, 200, 7, place=(9, 0, 0))) == [2]


@pytest.mark.parametrize("channels", [64, 1 << 16])
def test_an_hour_with_a_new_thing_every_second_takes_less_than_20_mib(channels: int) -> None:
    things = 3600 if channels < 1000 else 100
    camera = Camera(Identities, Recall(86400.0, 0.9))
    generator = np.random.default_rng(0)
    tracemalloc.start()
    try:
        for number in range(things):
            each = generator.standard_normal(channels).astype(np.float32)
            camera.show(Thing(each / np.linalg.norm(each), 100 * (number % 3), number))
            camera.time += 0.9
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert camera.show(Thing(None, 400, -1)) == [things + 1]
    assert peak < 20 * 2**20


# --- the whole way


@pytest.mark.parametrize("remember", [60.0, 0.0])
def test_the_demo_model_knows_things_again_by_the_option(remember: float) -> None:
    (sequence,) = open_sequences([ROOT / "demo" / "bag"])
    image = next(iter(sequence.frames())).image
    stamps = count(0.0, 0.3)
    with Segmenter.load("demo", device="cpu", precision="float32", remember=remember) as segmenter:
        stream = segmenter.open_stream()

        def things(shown: np.ndarray, times: int) -> list[Segment]:
            results = [segmenter.segment(shown, stream, stamp=next(stamps)) for _ in range(times)]
            return [segment for result in results for segment in result.segments if segment.is_thing]

        before = {segment.id for segment in things(image, 3)}
        things(np.full_like(image, 128), 9)  # nothing is seen for longer than an absence
        after = things(np.ascontiguousarray(image[:, ::-1]), 2)
    found, returned = {segment.id for segment in after}, {segment.id for segment in after if segment.returned}
    assert len(found) >= 2
    if remember:
        assert found == returned
        assert found <= before
    else:
        assert not returned
        assert not found & before
