"""The report of a training as a person sees it: in Chromium, from disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from eomt_ros.training.report import write_report
from test.evaluation.report.browser import PROGRAM, Browser
from test.evaluation.report.test_in_a_browser import CUT_OFF, LAST_ROW, NARROW, PICTURES, TOO_WIDE, WIDE
from test.training.report.runs import NOTE, validation, write_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.mark.parametrize("width", [NARROW, 800, WIDE])
@pytest.mark.parametrize("steps", [1, 5000])
def test_the_report_opens_from_disk_whole_and_fits_the_window(
    steps: int, width: int, browser: Browser, tmp_path: Path
) -> None:
    validations = (validation(0, 0.4, 0.2), validation(steps, 0.7, 0.55))
    page = write_report(write_run(tmp_path, *validations, notes=(NOTE, 40 * "unbroken"), steps=steps))
    browser.complaints.clear()
    browser.requests.clear()
    browser.resize(width)
    browser.open(page)
    assert browser.evaluate(PICTURES) == [64] * 4
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]
    assert browser.complaints == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), browser.evaluate(TOO_WIDE)
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate(CUT_OFF) == []
    assert browser.evaluate(LAST_ROW) > 0.7
