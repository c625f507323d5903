"""Counting, and what is made of the counts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from eomt_ros.engine import FrameResult, Labels, Timings
from eomt_ros.node.diagnostics import Activity, Reporter, engine_status
from eomt_ros.node.statistics import BatchLatency, BatchStatistics, Drop, FrameLatency, Statistics

ACTIVE = Activity("active", "/camera/image", publishers=1, model="demo", task="panoptic", device="cpu", epoch=3)


def latency(total: float) -> FrameLatency:
    return FrameLatency(0.0, 0.001, 0.002, 0.010, 0.003, 0.0, 0.015, 0.001, total)


def told(statistics: Statistics, activity: Activity = ACTIVE) -> tuple[DiagnosticStatus, dict[str, str]]:
    reporter = Reporter("node: segmentation")
    reporter.observe(statistics)
    status = reporter.report(statistics, activity)
    return status, {pair.key: pair.value for pair in status.values}


def test_percentiles_of_each_stage_in_milliseconds() -> None:
    statistics = Statistics()
    for number in range(101):
        statistics.count_processed(latency(number / 1000))
    _, values = told(statistics)
    assert [values[f"total p{percent} (ms)"] for percent in (50, 95, 99)] == ["50.00", "95.00", "99.00"]
    assert values["total max (ms)"] == "100.00"
    assert values["network p50 (ms)"] == "10.00"
    assert values["engine p50 (ms)"] == "15.00"


def test_percentiles_forget_what_is_long_past() -> None:
    statistics = Statistics()
    for number in range(1000):
        statistics.count_processed(latency(9.0 if number < 700 else 0.02))
    assert told(statistics)[1]["total p99 (ms)"] == "20.00"


def test_the_age_of_the_last_result_is_told_from_the_first_on(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics()
    assert "age of the last result (s)" not in told(statistics)[1]
    clock = [100.0]
    with monkeypatch.context() as patch:
        patch.setattr("eomt_ros.node.statistics.time.monotonic", lambda: clock[0])
        statistics.count_processed(latency(0.02))
        clock[0] += 2.5
        assert told(statistics)[1]["age of the last result (s)"] == "2.50"


def test_batches_are_told_with_their_sizes_and_stages() -> None:
    statistics = BatchStatistics()
    for frames in (1, 4, 4):
        statistics.count(frames, BatchLatency(0.001, 0.002, 0.010, 0.003, 0.0, 0.001, 0.017))
    status = engine_status("node: engine", statistics, "cpu")
    values = {pair.key: pair.value for pair in status.values}
    assert (status.name, status.hardware_id) == ("node: engine", "cpu")
    assert (values["batches"], values["frames per batch"], values["largest batch"]) == ("3", "3.00", "4")
    assert (values["network p50 (ms)"], values["total max (ms)"]) == ("10.00", "17.00")
    assert int(values["memory (MiB)"]) > 0


def test_a_batch_is_measured_once_where_its_frames_share_a_stage() -> None:
    nothing = np.zeros((2, 2), np.uint8)
    labels = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")
    timings = [Timings(0.002, 0.010, 0.003, 0.001), Timings(0.002, 0.010, 0.005, 0.001)]
    results = [FrameResult(nothing, nothing.astype(np.uint16), nothing, [], 0, each, labels) for each in timings]
    now = time.monotonic()
    measured = BatchLatency.of(results, taken=now - 3.5, decoded=now - 3.25, segmented=now - 1.0)
    assert measured.decode == 0.25
    assert measured[1:5] == pytest.approx((0.002, 0.010, 0.008, 0.002))
    assert measured.publish >= 1.0
    assert measured.total == pytest.approx(measured.publish + 2.5)


def test_drops_are_told_by_reason_and_together() -> None:
    statistics = Statistics()
    statistics.count_dropped(Drop.OVERTAKEN, 4)
    statistics.count_failed(Drop.BAD_IMAGE, "no pixels")
    _, values = told(statistics)
    assert (values["dropped"], values["dropped: overtaken"], values["dropped: bad_image"]) == ("5", "4", "1")


def test_failure_is_an_error_until_the_next_success() -> None:
    statistics = Statistics()
    statistics.count_failed(Drop.BAD_IMAGE, "no pixels")
    status, _ = told(statistics)
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, "last image failed: no pixels")
    statistics.count_processed(latency(0.02))
    assert told(statistics)[0].level == DiagnosticStatus.OK


@pytest.mark.parametrize(
    ("activity", "message"),
    [
        (Activity("unconfigured", "/camera/image", 0), "unconfigured"),
        (Activity("active", "/camera/image", 1, enabled=False), "disabled by ~/enable"),
    ],
)
def test_node_that_does_not_listen_misses_nothing(
    activity: Activity, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statistics = Statistics()
    monkeypatch.setattr("eomt_ros.node.diagnostics.SILENCE", -1.0)
    status, _ = told(statistics, activity)
    assert (status.level, status.message) == (DiagnosticStatus.OK, message)


def test_a_node_that_works_off_what_came_misses_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    with monkeypatch.context() as patch:
        patch.setattr("eomt_ros.node.statistics.time.monotonic", lambda: clock[0])
        statistics = Statistics()
        statistics.count_received()
        clock[0] += 10.0
        assert statistics.silence == 10.0
        statistics.count_processed(latency(0.0))
        assert statistics.silence == 0.0


def test_overload_is_told_only_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = Statistics()
    reporter = Reporter("node: segmentation")
    reporter.observe(statistics)
    for _ in range(10):
        statistics.count_received()
    statistics.count_dropped(Drop.OVERTAKEN, 6)
    reporter.observe(statistics)
    status = reporter.report(statistics, ACTIVE)
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith("6 of the last 10 images dropped")
    for _ in range(6):
        reporter.observe(statistics)
    assert reporter.report(statistics, ACTIVE).level == DiagnosticStatus.OK


def test_lost_images_are_a_warning_only_while_they_are_lost() -> None:
    statistics = Statistics()
    reporter = Reporter("node: segmentation")
    reporter.observe(statistics)
    statistics.count_lost(7)
    reporter.observe(statistics)
    status = reporter.report(statistics, ACTIVE)
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith("7 images lost before they arrived")
    for _ in range(6):
        reporter.observe(statistics)
    assert reporter.report(statistics, ACTIVE).level == DiagnosticStatus.OK


def test_a_frame_is_measured_in_every_stage() -> None:
    timings = Timings(preprocess=0.002, network=0.010, postprocess=0.003, identity=0.001)
    nothing = np.zeros((2, 2), np.uint8)
    labels = Labels("toy", ("floor",), (False,), ((0, 0, 0),), "panoptic")
    result = FrameResult(nothing, nothing.astype(np.uint16), nothing, [], 0, timings, labels)
    now = time.monotonic()
    measured = FrameLatency.of(result, arrived=now - 4.0, taken=now - 3.5, decoded=now - 3.25, segmented=now - 1.0)
    assert (measured.waiting, measured.decode) == (0.5, 0.25)
    assert measured.engine == pytest.approx(0.016)
    assert measured[2:6] == (0.002, 0.010, 0.003, 0.001)
    assert measured.publish >= 1.0
    assert measured.total == pytest.approx(measured.publish + 3.0)
