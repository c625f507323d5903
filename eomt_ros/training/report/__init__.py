"""The report of a training, for people: one page that opens without a network."""

from eomt_ros.training.report.content import write_report

__all__ = ["write_report"]
