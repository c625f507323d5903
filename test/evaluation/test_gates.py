"""Gates: any figure, any slice; refused where they name none."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from eomt_ros.evaluation.figure_names import expect_figure, figure_paths, flat_figures
from eomt_ros.evaluation.gates import Gate, GateError
from eomt_ros.evaluation.json_file import plain
from eomt_ros.evaluation.latency import Percentiles
from eomt_ros.evaluation.results import Recording, Results
from test.evaluation.examples import recording, rig_run, run_in_metres, run_with_returns, run_without_truth, short_run


def fails(text: str, results: Results) -> bool:
    return Gate.parse(text).among(results.slices).judge(results).failed


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("miou < 0.8", True),
        ("miou<0.7111", False),
        ("miou <= 0.7111", True),
        ("  miou   >=   71.11% ", True),
        ("miou > 72 %", False),
        ("id_switches == 1", True),
        ("id_switches != 1", False),
        ("id_switches_per_30_s > 1", True),
        ("switches_per_30_seconds > 1.25", False),
        ("class_iou.box < .65", True),
        ("vpq_by_window.8 < 0.5515", False),
        ("latency_ms.p95 > 5.52e1", False),
        ("latency_ms.p95 > +55", True),
        ("stages_ms.network.p50 > 35", True),
        ("predicted.class_area.floor < 0.5", True),
        ("objects_in_metres.position_error_m.p90 > 0.1", True),
        ("objects_in_metres.by_class.person.things < 101", True),
        ("frames < 100", False),
        ("fps < 1e3", True),
    ],
)
def test_a_gate_fails_where_its_condition_holds(text: str, failed: bool) -> None:
    assert fails(text, run_in_metres()) == failed


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("returns_wrong > 5 %", True),
        ("returns_right < 60 %", False),
        ("returns.wrong > 2", False),
        ("returns.by_time_away.2_to_5.wrong > 0", True),
        ("returns.by_time_away.over_60.right < 1", True),
    ],
)
def test_returns_may_be_gates_also_by_time_away(text: str, failed: bool) -> None:
    assert fails(text, run_with_returns()) == failed


@pytest.mark.parametrize("results", [short_run(), run_in_metres(), rig_run(), run_without_truth(), run_with_returns()])
def test_every_number_of_the_results_is_a_figure_with_the_value_of_the_file(results: Results) -> None:
    content = plain(results)
    found = flat_figures(results)
    assert len(found) > 50
    for path, value in found.items():
        expect_figure(path, Results, results.class_names)
        at: Any = content
        for name in path.split("."):
            at = at[name]
        assert value == at, path
    assert not {"schema_version"} & found.keys()


def test_a_figure_that_is_not_known_fails_its_gate() -> None:
    judgement = Gate.parse("miou < 0.1").judge(run_without_truth())
    assert judgement.failed
    assert judgement.reason == "miou is not known"
    nothing = replace(short_run(), latency_ms=Percentiles(*[math.nan] * 4))
    assert fails("latency_ms.p50 > 1000", nothing)
    assert fails("objects_in_metres.located_share < 0", short_run())
    assert fails("class_iou.ball < 0", short_run())
    assert fails("returns_wrong > 0", short_run())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mio < 0.8", "there is no figure 'mio'; did you mean 'miou'?"),
        ("mIoU < 0.8", "did you mean 'miou'?"),
        ("latency_ms.p90 > 3", "did you mean 'latency_ms.p"),
        ("id_switches_per_30s > 1", "did you mean 'id_switches_per_30_s'?"),
        ("class_iou. < 1", "there is no figure 'class_iou.'"),
        ("class_iou < 1", "did you mean 'class_iou.NAME'?"),
        ("vpq_by_window.3 < 1", "did you mean 'vpq_by_window."),
        ("returns.by_time_away.2_to_6.right < 1", "did you mean 'returns.by_time_away.2_to_5.right'?"),
        ("stages_ms.netwerk.p50 > 1", "did you mean 'stages_ms.network.p50'?"),
        ("replay.dropped > 3", "there is no figure 'replay.dropped'"),
        ("schema_version > 0", "there is no figure 'schema_version'"),
        ("settings.score_threshold > 0", "there is no figure"),
        ("counts.frames > 0", "there is no figure"),
        ("__class__ > 0", "there is no figure '__class__'"),
        ("stages_ms.network.p50 > 1 in night", "there is no figure 'stages_ms.network.p50'"),
        ("miou", "expected a figure, one of < <= > >= == !=, a number"),
        ("miou = 0.8", "expected a figure"),
        ("miou < lots", "expected a figure"),
        ("miou < nan", "expected a figure"),
        ("miou < 0.8 0.9", "expected a figure"),
        ("0.8 > miou", "expected a figure"),
        ("miou < 1e999", "1e999 is too large a number"),
        ("miou < 0.8 in ", "expected a figure"),
        ("", "expected a figure"),
    ],
)
def test_what_names_no_figure_or_is_no_condition_is_refused(text: str, expected: str) -> None:
    with pytest.raises(GateError) as refusal:
        Gate.parse(text)
    message = str(refusal.value)
    assert message.startswith(f"--fail-if {text!r}: ")
    assert expected in message
    assert "\n" not in message


def test_a_class_that_the_model_does_not_have_is_refused_once_its_classes_are_known() -> None:
    gate = Gate.parse("class_iou.bix < 0.5")
    with pytest.raises(GateError, match=r"there is no figure 'class_iou.bix'; did you mean 'class_iou.box'\?"):
        gate.expect_figure(("floor", "box"))
    Gate.parse("class_iou.traffic light < 0.5 in night").expect_figure(("traffic light",))
    Gate.parse("predicted.class_area.a.b < 0.5").expect_figure(("a.b",))


def sliced_run() -> Results:
    run = short_run()
    tags = {"site=night": 0.4, "site=day": 0.9, "weather=night": 0.2, "rain": 0.3}
    return replace(run, slices={tag: recording(tag, run, miou=miou) for tag, miou in tags.items()})


def test_a_gate_in_a_slice_judges_the_figures_of_that_slice() -> None:
    results = sliced_run()
    assert fails("miou < 0.8 in site=night", results)
    assert not fails("miou < 0.8 in day", results)
    assert not fails("miou < 0.8 in site=day", results)
    assert fails("miou < 0.8 in rain", results)
    assert fails("predicted.ids > 0 in rain", results)


@pytest.mark.parametrize(
    ("slice_", "expected"),
    [
        ("night", r"'night' may be site=night or weather=night: say which"),
        ("site=nigth", r"no recording is in a slice 'site=nigth'; did you mean 'site=night'\?"),
        ("x", r"no recording is in a slice 'x'; there is rain, site=day, site=night, weather=night"),
        ("site", r"no recording is in a slice 'site'"),
    ],
)
def test_a_slice_that_no_recording_is_in_is_refused(slice_: str, expected: str) -> None:
    with pytest.raises(GateError, match=expected):
        Gate.parse(f"miou < 0.8 in {slice_}").among(sliced_run().slices)


def test_a_slice_all_of_whose_recordings_failed_fails_its_gate() -> None:
    gate = Gate.parse("miou < 0.8 in night").among(["night"])
    judgement = gate.judge(short_run())
    assert (judgement.failed, judgement.value) == (True, None)
    assert judgement.reason == "no recording of the slice night has figures"


def test_what_is_said_of_a_value_near_its_limit_shows_the_difference() -> None:
    judgement = Gate.parse("miou < 0.8").judge(replace(short_run(), miou=0.79999999))
    assert judgement.failed
    assert judgement.reason == "miou is 0.79999999"


def test_slices_have_every_score_that_all_recordings_together_have() -> None:
    of_slices = set(figure_paths(Recording))
    assert of_slices <= set(figure_paths(Results))
    assert {"miou", "class_iou.*", "switches_per_30_seconds", "frames", "predicted.flicker"} <= of_slices
    assert {"fps", "latency_ms.p95"} <= of_slices
