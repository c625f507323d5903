"""The state of a run on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from eomt_ros.training.errors import TrainingError
from eomt_ros.training.state import STATE_FILE, RunState, load_state, save_state


def test_a_state_reads_back_as_it_was(tmp_path: Path) -> None:
    state = RunState(
        step=7,
        seconds=1.5,
        network={"a": torch.arange(3.0)},
        optimizers=[{"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}],
        streams={3: {"carried": torch.ones(2, 2), "identities": {"query_of": {-1: 4}}}},
    )
    save_state(state, tmp_path / "run")
    found = load_state(tmp_path / "run")
    assert found is not None
    assert torch.equal(found.network.pop("a"), state.network.pop("a"))
    assert torch.equal(found.streams[3].pop("carried"), state.streams[3].pop("carried"))
    assert found == state


def test_there_is_no_state_before_one_was_saved(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None


def test_a_disk_that_is_full_leaves_the_state_of_before(tmp_path: Path) -> None:
    save_state(RunState(step=1, network={"a": torch.zeros(10)}), tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(TrainingError, match=r"new cannot be written: File too large; --resume goes on") as caught:
            save_state(RunState(step=2, network={"a": torch.zeros(1 << 20)}), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    found = load_state(tmp_path)
    assert found is not None
    assert found.step == 1
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_state_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(TrainingError, match=r"state\.pt is no state of a run") as caught:
        load_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_state_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"step": Path("x")}, tmp_path / STATE_FILE)
    with pytest.raises(TrainingError, match="is no state of a run"):
        load_state(tmp_path)
