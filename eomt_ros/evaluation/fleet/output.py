"""What an evaluation of many recordings leaves beside their folders: figures, tables, report."""

from __future__ import annotations

from pathlib import Path

from eomt_ros.evaluation.csv_files import write_figure_tables
from eomt_ros.evaluation.output_folder import FRAMES, OBJECTS
from eomt_ros.evaluation.report import write_report
from eomt_ros.evaluation.results import Results, write_results
from eomt_ros.evaluation.row_file import join_rows
from eomt_ros.evaluation.rows import FrameRow, ObjectRow


def write_fleet(results: Results, out: Path) -> Path:
    """Writes `metrics.json`, the CSV tables and `report.html`, and returns the report's path. Raises `OSError`."""
    write_results(results, out)
    write_figure_tables(results, out)
    folders = [each.folder for each in results.recordings]
    join_rows(out, folders, FRAMES, FrameRow)
    join_rows(out, folders, OBJECTS, ObjectRow)
    return write_report(out, results)
