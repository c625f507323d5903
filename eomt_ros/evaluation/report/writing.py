"""`report.html`: the results of an evaluation for people, of one recording or of many."""

from __future__ import annotations

from pathlib import Path

from eomt_ros.evaluation import results as results_file
from eomt_ros.evaluation.report.content import render
from eomt_ros.evaluation.report.fleet import is_fleet, render_fleet
from eomt_ros.evaluation.report.page import write_page
from eomt_ros.evaluation.results import Results


def write_report(folder: Path, results: Results | None = None) -> Path:
    """Writes `report.html` from the results and pictures in the output folder of an evaluation, and returns its path.

    results: those that the folder holds, where they are at hand. Raises `OSError`, and what `read_results` raises where
    there are no results to read.
    """
    found = results_file.read_results(folder) if results is None else results
    page = render_fleet(found, folder) if is_fleet(found) else render(found, folder)
    return write_page(page, folder / "report.html", results_file.FILE)
