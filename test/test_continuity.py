"""What breaks a stream of images, and what comes too late for it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import pytest
import torch

from eomt_ros.continuity import Admitted, Continuity, LateFrameError
from eomt_ros.engine.stream import State
from eomt_ros.stamps import SECOND

SIZE = (480, 640)
LATE = -1
YEARS = 1_700_000_000


def stretches(stamps: Sequence[float], max_gap: float = 2.0) -> list[int]:
    """The number of the stretch that each frame is in, `LATE` for what is dropped; stamps in seconds."""
    return [LATE if frame is None else frame.stretch for frame in judged(stamps, max_gap)]


def judged(stamps: Sequence[float], max_gap: float = 2.0) -> list[Admitted | None]:
    """The frames, None for those that are late; stamps in seconds."""
    continuity = Continuity()

    def judge(stamp: float) -> Admitted | None:
        try:
            return continuity.admit(round(stamp * SECOND), max_gap)
        except LateFrameError:
            return None

    return [judge(stamp) for stamp in stamps]


def breaks(frames: Sequence[Admitted | None], sizes: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Why the stream breaks at each of the frames that are processed, empty where it does not."""
    state, found = State(), []
    for frame, size in zip_longest([frame for frame in frames if frame is not None], sizes, fillvalue=SIZE):
        state = state.before(frame, size, torch.device("cpu"))
        found.append(state.reset_reason)
    return found


def reasons(*stamps: float, max_gap: float = 1.0) -> list[str]:
    """Why the streams broke."""
    return [reason for reason in breaks(judged(stamps, max_gap)) if reason]


def ticks(begin: float, end: float, rate: float = 10) -> list[float]:
    """Stamps of a camera."""
    return [begin + number / rate for number in range(round((end - begin) * rate))]


def test_regular_stamps_continue() -> None:
    assert stretches(ticks(YEARS, YEARS + 10)) == [0] * 100


def test_equal_stamps_continue() -> None:
    assert stretches([10.0, 10.0, 10.1, 10.1]) == [0] * 4


def test_gap_breaks_once_and_names_the_parameter() -> None:
    assert stretches([10.0, 11.5, 12.0], max_gap=1.0) == [0, 1, 1]
    assert reasons(10.0, 11.5, 12.0) == ["a gap of 1.500 s between frames exceeds max_gap (1.0 s)"]


@pytest.mark.parametrize("start", [1, YEARS * SECOND + 123_456_789])
def test_a_gap_of_just_max_gap_is_none_on_any_clock(start: int) -> None:
    continuity = Continuity()
    nanoseconds = [start + number * 2 * SECOND for number in range(50)]
    assert {continuity.admit(stamp, 2.0) for stamp in nanoseconds} == {Admitted(stamp, 0, "") for stamp in nanoseconds}


def test_max_gap_of_zero_allows_any_gap() -> None:
    assert stretches([10.0, 1e6], max_gap=0.0) == [0, 0]


def test_a_camera_slower_than_max_gap_is_named_as_such() -> None:
    first, second = reasons(10.0, 15.0, 20.0, 20.1)
    assert first == "a gap of 5.000 s between frames exceeds max_gap (1.0 s)"
    assert second == f"{first}; so did the one before: for a camera this slow, raise it"
    assert "slow" not in reasons(10.0, 15.0, 15.1, 20.1)[1]


# What is late


def test_neighbours_that_are_swapped_lose_the_late_one_and_keep_the_stream() -> None:
    stamps = ticks(YEARS, YEARS + 3)
    for number in range(3, 30, 10):
        stamps[number : number + 2] = stamps[number + 1], stamps[number]
    found = stretches(stamps)
    assert set(found) == {0, LATE}
    assert [number for number, stretch in enumerate(found) if stretch == LATE] == [4, 14, 24]


@pytest.mark.parametrize(("max_gap", "older", "late"), [(2.0, 2.0, True), (2.0, 2.1, False), (0.5, 0.6, False)])
@pytest.mark.parametrize("start", [50, YEARS])
def test_what_is_older_by_max_gap_is_late_and_by_more_another_time(
    max_gap: float, older: float, late: bool, start: int
) -> None:
    assert stretches([start, start - older], max_gap) == [0, LATE if late else 1]


@pytest.mark.parametrize(("older", "late"), [(1.0, True), (1.1, False)])
def test_without_a_max_gap_a_second_is_late(older: float, late: bool) -> None:
    assert stretches([50.0, 50.0 - older], max_gap=0.0) == [0, LATE if late else 1]


def test_what_is_late_is_told_by_both_stamps() -> None:
    continuity = Continuity()
    continuity.admit(100 * SECOND, 2.0)
    with pytest.raises(LateFrameError, match=r"^its stamp, 99\.800, is 0\.200 s before that of the newest image$"):
        continuity.admit(99_800_000_000, 2.0)


def test_what_another_publisher_is_late_by_is_told_too() -> None:
    continuity = Continuity()
    for stamp in (10.0, 1000.0, 10.1):
        continuity.admit(round(stamp * SECOND), 2.0)
    with pytest.raises(LateFrameError, match=r"^its stamp, 1000\.100, is 990\.000 s after that of the newest image$"):
        continuity.admit(round(1000.1 * SECOND), 2.0)


def test_a_clock_that_is_set_back_a_little_is_waited_for() -> None:
    assert stretches([*ticks(10, 12), *ticks(10.5, 14)]) == [0] * 20 + [LATE] * 14 + [0] * 21


# What is another time


def test_time_that_jumps_back_breaks_once() -> None:
    assert stretches([100.0, 1.0, 1.1]) == [0, 1, 1]
    assert reasons(100.0, 1.0, 1.1) == ["time jumped back by 99.000 s, from 100.000 to 1.000"]


def test_a_bag_that_is_looped_breaks_once_a_loop() -> None:
    loop = ticks(YEARS, YEARS + 5)
    assert stretches(loop * 3) == [0] * 50 + [1] * 50 + [2] * 50


@pytest.mark.parametrize("max_gap", [2.0, 60.0])
def test_a_loop_shorter_than_what_counts_as_late_goes_on_after_a_while(max_gap: float) -> None:
    found = stretches(ticks(YEARS, YEARS + 1.5) * 10, max_gap)
    longest = max(len(run) for run in "".join("-" if each == LATE else "+" for each in found).split("+"))
    assert longest < 25, "more than two seconds without a frame"


def test_a_driver_whose_clock_stands_still_after_it_was_set_back_goes_on_after_a_while() -> None:
    found = stretches([10.0, 10.1, *[9.5] * 50])
    assert found[:2] == [0, 0]
    assert found[2:] == [LATE] * 21 + [1] * 29


def test_a_simulation_that_begins_again_breaks_once() -> None:
    assert stretches([*ticks(0, 30), *ticks(0.1, 3)]) == [0] * 300 + [1] * 29


# Two publishers


def interleaved(first: Sequence[float], second: Sequence[float]) -> list[float]:
    return list(chain.from_iterable(zip(first, second, strict=True)))


@pytest.mark.parametrize("max_gap", [0.0, 2.0])
@pytest.mark.parametrize("behind", [0.05, 0.95, 100, YEARS])
def test_two_publishers_whose_clocks_differ_break_twice_at_most(behind: float, max_gap: float) -> None:
    begin = YEARS + 50
    found = stretches(interleaved(ticks(begin, begin + 20), ticks(begin - behind, begin - behind + 20)), max_gap)
    assert max(found) <= 2
    assert found.count(LATE) >= 198


@pytest.mark.parametrize("max_gap", [0.0, 2.0])
def test_of_two_publishers_the_one_that_is_left_goes_on(max_gap: float) -> None:
    both = interleaved(ticks(1000, 1020), ticks(500, 520))
    for rest in (ticks(1020, 1030), ticks(520, 530)):
        found = stretches([*both, *rest], max_gap)
        assert found[len(both) + 25 :] == [found[-1]] * 75
        assert found[-1] != LATE
        assert max(found) <= 3


def test_a_single_jump_there_and_back_loses_no_frame() -> None:
    assert stretches([100.0, 5.0, 5.1, 100.1, 100.2]) == [0, 1, 1, 2, 2]


def test_a_pause_in_a_looped_bag_is_no_second_publisher() -> None:
    loop = [*ticks(0.1, 3), *ticks(10, 15)]
    assert stretches(loop * 3) == [0] * 29 + [1] * 50 + [2] * 29 + [3] * 50 + [4] * 29 + [5] * 50


# Without stamps


def test_frames_without_stamps_continue() -> None:
    assert stretches([0.0] * 5) == [0] * 5


def test_a_frame_without_a_stamp_among_others_has_none_and_hides_no_jump() -> None:
    continuity = Continuity()
    assert continuity.admit(100 * SECOND, 2.0) == (100 * SECOND, 0, "")
    assert continuity.admit(0, 2.0) == (None, 0, "")
    back = continuity.admit(50 * SECOND, 2.0)
    assert back == (50 * SECOND, 1, "time jumped back by 50.000 s, from 100.000 to 50.000")


def test_stamps_that_begin_after_a_while_are_no_gap() -> None:
    assert stretches([0.0, 0.0, YEARS, YEARS + 0.1]) == [0] * 4


def test_the_zero_of_a_simulation_is_a_stamp() -> None:
    continuity = Continuity()
    assert [continuity.admit(number * SECOND // 10, 2.0) for number in range(3)] == [
        (number * SECOND // 10, 0, "") for number in range(3)
    ]


# What the frames that are processed are of


@pytest.mark.parametrize("stamp", [None, 10 * SECOND])
def test_size_change_breaks_once(stamp: int | None) -> None:
    frame = Admitted(stamp, 0, "")
    assert breaks([frame] * 3, [(480, 640), (240, 320), (240, 320)]) == [
        "",
        "the image size changed from 640x480 to 320x240",
        "",
    ]


def test_a_jump_breaks_the_stream_at_the_next_frame_that_is_processed() -> None:
    processed = judged((10, 11, 50, 51, 52))
    del processed[2]
    assert breaks(processed) == ["", "", "a gap of 39.000 s between frames exceeds max_gap (2.0 s)", ""]


def test_a_network_slower_than_max_gap_breaks_nothing() -> None:
    assert breaks(judged(ticks(YEARS, YEARS + 60))[::50]) == [""] * 12
