"""The report and the comparison as a person sees them: in Chromium, from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from eomt_ros.evaluation import results
from eomt_ros.evaluation.report import write_report
from eomt_ros.evaluation.report.comparison import ComparedRun, compare, comparison_page
from eomt_ros.evaluation.results import Results
from test.evaluation.examples import (
    fleet_run,
    long_run,
    recording,
    rig_run,
    run_gone_wrong,
    run_in_metres,
    run_with_returns,
    run_without_truth,
    short_run,
    write_pictures,
)
from test.evaluation.report.browser import PROGRAM, Browser

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")]

UNBROKEN = 40 * "recordings"
RUNS = {
    "short": short_run(),
    "long": long_run(),
    "without truth": run_without_truth(),
    "rig": rig_run(),
    "returns": run_with_returns(),
    "in metres": run_in_metres(),
    "gone wrong": run_gone_wrong(),
    "many classes": run_gone_wrong(tuple(f"class of things number {number}" for number in range(60))),
    "fleet": fleet_run(),
    "unbroken": short_run(
        settings={"model": UNBROKEN, "input": [UNBROKEN], UNBROKEN: UNBROKEN, "command": [UNBROKEN]},
        problems=(UNBROKEN,),
        sequences=(UNBROKEN, "bag"),
        recordings=tuple(recording(name, short_run()) for name in (UNBROKEN, "bag")),
        class_iou={UNBROKEN: 0.9222, "wall": 0.8333, "box": 0.6444, "person": 0.4555},
        timelines=tuple(replace(timeline, class_name=UNBROKEN) for timeline in short_run().timelines),
        stages_ms={UNBROKEN: short_run().latency_ms},
    ),
}
NARROW, WIDE = 400, 1400

PICTURES = "Promise.all([...document.images].map(image => image.decode().then(() => image.naturalWidth)))"
VIDEO = """new Promise(done => {
    const video = document.querySelector("video");
    const say = () => done([video.error?.message ?? null, video.videoWidth, video.duration]);
    if (video.readyState >= 1 || video.error) say();
    video.addEventListener("loadedmetadata", say);
    video.addEventListener("error", say);
})"""
TOO_WIDE = """[...document.body.querySelectorAll("*")]
    .filter(element => !element.closest(".scroll, .track, svg"))
    .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
    .map(element => element.outerHTML.slice(0, 80))"""
# Of text in charts: what is cut off at the edge of the window.
CUT_OFF = """[...document.querySelectorAll("svg text")]
    .map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([_, box]) => box.left < 0 || box.right > innerWidth)
    .map(([text]) => text)"""
BARS = "[...document.querySelectorAll('.rail span')].map(bar => bar.offsetWidth / bar.parentElement.offsetWidth)"
# Of the tiles in the last row, how much of its width they have together.
LAST_ROW = """(() => {
    const tiles = [...document.querySelectorAll(".tile")].map(tile => tile.getBoundingClientRect());
    const last = tiles.filter(tile => tile.top === tiles.at(-1).top);
    const width = document.querySelector(".tiles").getBoundingClientRect().width;
    return last.reduce((sum, tile) => sum + tile.width, 0) / width;
})()"""
HATCHED = """[...document.querySelectorAll(".track i")]
    .map(cell => getComputedStyle(cell).backgroundImage.includes("gradient"))"""
TRACK = """[...document.querySelectorAll(".track")].map(track => [...track.children].map(cell => {
    const [inner, outer] = [cell.getBoundingClientRect(), track.getBoundingClientRect()];
    return [(inner.left - outer.left) / outer.width, inner.width / outer.width, getComputedStyle(cell).backgroundColor];
}))"""
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(autouse=True)
def no_complaints(browser: Browser) -> Iterator[None]:
    browser.complaints.clear()
    browser.requests.clear()
    browser.prefer("light")
    yield
    assert browser.complaints == []


def written(run: Results, folder: Path) -> Path:
    write_pictures(run, folder)
    results.write_results(run, folder)
    return write_report(folder)


@pytest.mark.parametrize("name", RUNS)
def test_the_report_opens_from_disk_whole_and_asks_for_nothing_else(
    name: str, browser: Browser, tmp_path: Path
) -> None:
    page = written(RUNS[name], tmp_path)
    browser.resize(WIDE)
    browser.open(page)
    widths = browser.evaluate(PICTURES)
    pictured = (*RUNS[name].worst_frames, *RUNS[name].worst_frames_by_objects)
    assert widths == [64] * 3 * len(pictured)
    assert [address for address in browser.requests if not address.startswith("data:")] == [page.as_uri()]


def test_the_video_plays(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(short_run(), tmp_path))
    error, width, duration = browser.evaluate(VIDEO)
    if error is not None and "DEMUXER" not in error:
        pytest.skip(f"this Chromium has no decoder for H.264: {error}")
    assert (error, width) == (None, 64)
    assert duration == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("width", [NARROW, 800, WIDE])
def test_the_report_fits_the_window(name: str, width: int, browser: Browser, tmp_path: Path) -> None:
    browser.resize(width)
    browser.open(written(RUNS[name], tmp_path))
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), browser.evaluate(TOO_WIDE)
    assert browser.evaluate(TOO_WIDE) == []
    assert browser.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("name", ["short", "without truth"])
@pytest.mark.parametrize("width", [NARROW, 800, 1000, WIDE])
def test_no_tile_is_left_alone_in_its_row(name: str, width: int, browser: Browser, tmp_path: Path) -> None:
    browser.resize(width)
    browser.open(written(RUNS[name], tmp_path))
    assert browser.evaluate(LAST_ROW) > 0.7


def test_bars_and_rows_are_as_long_as_they_say(browser: Browser, tmp_path: Path) -> None:
    browser.resize(WIDE)
    browser.open(written(short_run(), tmp_path))
    ious, areas = [0.9222, 0.8333, 0.6444, 0.4555], [0.4321, 0.3, 0.1234, 0.05]
    assert browser.evaluate(BARS) == pytest.approx([*ious, *areas], abs=0.01)
    followed, switched, _ = browser.evaluate(TRACK)
    assert [cell[:2] for cell in followed] == [pytest.approx((0.0, 0.4), abs=0.01), pytest.approx((0.6, 0.4), abs=0.01)]
    assert followed[0][2] == followed[1][2]
    assert switched[1][2] != switched[2][2]
    # Hatched where no prediction matched: at the start of the second row, and all of the third.
    assert browser.evaluate(HATCHED) == [False, False, True, False, False, True]


# Of the signs of returns, what they say, and how far their end is from the beginning of what comes next, in pixels.
SIGNS = """[...document.querySelectorAll(".track b")].map(sign => [sign.textContent, Math.abs(
    sign.nextElementSibling.getBoundingClientRect().left - sign.getBoundingClientRect().right)])"""
PARTS = """[...document.querySelectorAll(".returns .rail")].map(rail =>
    [...rail.children].map(part => part.offsetWidth / rail.offsetWidth))"""


def test_what_comes_back_has_its_sign_before_it_and_its_part_of_the_bar(browser: Browser, tmp_path: Path) -> None:
    browser.resize(WIDE)
    browser.open(written(run_with_returns(), tmp_path))
    assert browser.evaluate(SIGNS) == [[sign, pytest.approx(0, abs=0.5)] for sign in "✓✗+"]
    first, second, third, total = browser.evaluate(PARTS)
    assert (first, third) == ([1], [1])
    assert second == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
    assert total == pytest.approx([7 / 13, 2 / 13, 4 / 13], abs=0.02)


def test_the_page_goes_with_a_dark_screen(browser: Browser, tmp_path: Path) -> None:
    page = written(short_run(), tmp_path)
    shades = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.open(page)
        picture = cv2.imdecode(np.frombuffer(browser.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        shades.append(float(picture[:5].mean()))
    assert shades[0] > 250
    assert shades[1] < 40


def test_the_report_prints(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(short_run(), tmp_path))
    assert browser.print().startswith(b"%PDF-")


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_comparison_fits_the_window(width: int, browser: Browser, tmp_path: Path) -> None:
    names = ("recordings/evaluations/before", "recordings/evaluations/after", *list(RUNS)[2:-1], UNBROKEN)
    page = tmp_path / "comparison.html"
    page.write_text(
        comparison_page(compare([ComparedRun(name, run) for name, run in zip(names, RUNS.values(), strict=True)]))
    )
    browser.resize(width)
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), browser.evaluate(TOO_WIDE)
    assert browser.evaluate(TOO_WIDE) == []


COLUMN = """[...document.querySelector("table.sortable").tBodies].map(body =>
    [...body.rows].map(row => row.cells[0].textContent.trim()))"""


def sort_by(browser: Browser, head: str) -> list[list[str]]:
    """Clicks on the head of a column of the first table; the names in its bodies then."""
    browser.evaluate(
        f"""[...document.querySelectorAll("table.sortable button")]
        .find(button => button.textContent === {head!r}).click()"""
    )
    names: list[list[str]] = browser.evaluate(COLUMN)
    return names


def test_recordings_are_sorted_by_a_click_and_failed_ones_stay_on_top(browser: Browser, tmp_path: Path) -> None:
    run = fleet_run()
    known = {each.name: each.miou for each in run.recordings}
    unknown = replace(run.recordings[7], miou=None)
    run = replace(run, recordings=(*run.recordings[:7], unknown, *run.recordings[8:]))
    browser.open(written(run, tmp_path))
    others = sorted((name for name in known if name != unknown.name), key=lambda name: known[name] or 0.0)
    failed, together, first = sort_by(browser, "mIoU")
    assert (failed, together) == (["gate 07", "gate 11"], ["all together"])
    assert first == [*others, unknown.name]  # worst first, unknown last
    assert sort_by(browser, "mIoU")[2] == [*others[::-1], unknown.name]
    assert sort_by(browser, "recording") == [failed, together, sorted(known)]
    switches = {each.name: each.id_switches or 0 for each in run.recordings}
    assert [switches[name] for name in sort_by(browser, "id switches")[2]] == sorted(switches.values(), reverse=True)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_two_fleets_beside_each_other_fit_the_window(width: int, browser: Browser, tmp_path: Path) -> None:
    one = fleet_run()
    other = replace(one, recordings=tuple(replace(each, miou=(each.miou or 0) + 0.02) for each in one.recordings))
    page = tmp_path / "comparison.html"
    page.write_text(comparison_page(compare([ComparedRun(UNBROKEN, one), ComparedRun("after", other)])))
    browser.resize(width)
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), browser.evaluate(TOO_WIDE)
    assert browser.evaluate(TOO_WIDE) == []
