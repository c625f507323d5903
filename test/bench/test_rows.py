"""What the table of `make bench` says follows from the times that were taken."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from bench import gpu
from bench.table import line
from bench.targets import (
    GPU_TARGETS,
    TARGETS,
    AtLeast,
    AtMost,
    Equal,
    GrowsAtMost,
    NoSlower,
    PerSecond,
    Within,
    judge,
)
from bench.timing import Row, compare


def test_a_ratio_is_the_median_of_the_pairs_own_ratios_and_not_the_ratio_of_medians():
    row = Row.of("work", [1.0, 2.0, 10.0], [2.0, 8.0, 5.0])
    assert (row.ratio, row.ratio_low, row.ratio_high) == (2.0, 0.5, 4.0)
    assert (row.ours_ms, row.reference_ms) == (2000.0, 5000.0)
    assert (row.ours_low_ms, row.ours_high_ms, row.pairs) == (1000.0, 10000.0, 3)


def test_times_that_are_no_pairs_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        Row.of("work", [1.0, 2.0], [2.0])


def test_ours_and_the_reference_take_turns_after_a_warm_up_that_does_not_count():
    calls: list[str] = []
    row = compare("work", lambda: calls.append("ours"), lambda: calls.append("theirs"), pairs=2)
    assert calls == ["ours", "theirs"] * 3
    assert row.pairs == 2


@pytest.mark.parametrize(
    ("target", "row", "met"),
    [
        (AtLeast(3.3), Row("r", ratio=3.3), True),
        (AtLeast(3.3), Row("r", ratio=3.29), False),
        (AtLeast(3.3), Row("r", ours_ms=1.0), False),
        (AtMost(6), Row("r", ours_ms=6.0), True),
        (AtMost(6), Row("r", ours_ms=6.1), False),
        (AtMost(6), Row("r", note="0 of 40 arrive"), False),
        (PerSecond(500), Row("r", ours_ms=2.0), True),
        (PerSecond(500), Row("r", ours_ms=2.01), False),
        (PerSecond(500), Row("r", ratio=9.0), False),
        (GrowsAtMost(2), Row("r", growth_mib=-1.0), True),
        (GrowsAtMost(2), Row("r", growth_mib=2.1), False),
        (GrowsAtMost(2), Row("r"), False),
        (Within(0.1), Row("r", ratio_low=0.9, ratio_high=1.1), True),
        (Within(0.1), Row("r", ratio_low=0.89, ratio_high=1.0), False),
        (Within(0.1), Row("r", ratio_low=1.0, ratio_high=1.11), False),
        (Within(0.1), Row("r"), False),
        (NoSlower(), Row.of("r", [1.0, 1.1], [1.0, 1.0]), True),
        (NoSlower(), Row.of("r", [1.1, 1.1], [1.0, 1.0]), False),
        (NoSlower(), Row.of("r", [1.0]), False),
        (Equal(), Row("r", differing=0), True),
        (Equal(), Row("r", differing=1), False),
        (Equal(), Row("r"), False),
    ],
)
def test_a_target_is_met_from_its_limit_on_and_never_by_what_was_not_measured(target, row, met):
    assert target.met(row) is met


def test_a_row_is_judged_by_the_target_of_its_name_and_says_so_in_the_table():
    name, target = "network step, ViT-S 640, exported", TARGETS["network step, ViT-S 640, exported"]
    met, missed = (judge(Row.of(name, [1.0], [ratio])) for ratio in (target.ratio + 1, target.ratio - 1))
    assert (met.met, missed.met, met.target) == (True, False, ">= 3.3 x")
    assert ">= 3.3 x met" in line(met)
    assert ">= 3.3 x NOT MET" in line(missed)
    assert judge(Row("another")).met is None


def test_rows_become_json_with_the_names_that_others_read():
    row = json.loads(json.dumps(asdict(judge(Row.of("work", [1.0], [2.0])))))
    assert row["name"] == "work"
    assert (row["ours_ms"], row["reference_ms"], row["ratio"], row["met"]) == (1000.0, 2000.0, 2.0, None)


@pytest.mark.slow
def test_every_target_of_a_gpu_is_that_of_a_row_that_the_bench_makes(tmp_path, monkeypatch):
    """With the demo's network for all, small images and on a CPU: it is the names that matter."""
    monkeypatch.setattr(gpu, "WARM_UP", 1)
    monkeypatch.setattr(gpu, "SIZE", (108, 192))
    bench = gpu.Bench("cpu", 1, tmp_path)
    names = {row.name for row in (*bench.rows("demo", tmp_path), bench.changing(1))}
    wanted = {re.sub("ViT-. 640", "demo", name) for name in GPU_TARGETS}
    assert wanted <= names
    assert all(model in " ".join(GPU_TARGETS) for model in gpu.MODELS)
