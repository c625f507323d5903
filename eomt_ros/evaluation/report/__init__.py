"""Pages for people: the report of an evaluation, and the comparison of several."""

from eomt_ros.evaluation.report.writing import write_report

__all__ = ["write_report"]
