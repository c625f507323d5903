"""Progress is seen where there is no terminal, too, and does not flood the log."""

from __future__ import annotations

import pytest

from eomt_ros.evaluation.progress import Progress


@pytest.mark.parametrize(("total", "second"), [(2000, "frame 1,500 of 2,000"), (None, "frame 1,500")])
def test_a_log_gets_lines(total: int | None, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(total, every=0.0) as progress:
        progress.update()
        progress.update(1499)
    assert capsys.readouterr().err.splitlines()[1:] == [second]
    assert progress.frames == 1500


def test_lines_come_now_and_then_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1000, every=3600.0) as progress:
        for _ in range(1000):
            progress.update()
    assert capsys.readouterr().err == ""
