"""The options by which a CI calls an evaluation: gates, slices, JUnit XML."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eomt_ros.errors import UserError
from eomt_ros.regular_file import open_regular

if TYPE_CHECKING:
    from eomt_ros.evaluation.gates import Gate
    from eomt_ros.evaluation.results import Results
    from eomt_ros.evaluation.slices import SlicePattern

GATE_FAILED = 2
"""The exit code where a gate fails."""
_XML = b"<?xml"


def add_slice_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says which recordings belong together."""
    parser.add_argument(
        "--slice",
        dest="slices",
        action="append",
        default=[],
        metavar="TAG:PATTERN",
        help="figures of a part of the recordings: with site=night:'night_*' those whose paths fit the pattern have "
        "the tag site=night; tags may also be in a YAML beside a recording, NAME.tags.yaml; may be given several times",
    )


def add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that make a CI's job fail, and tell it why."""
    parser.add_argument(
        "--fail-if",
        dest="gates",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with 2 where a figure of metrics.json is so: 'miou < 0.8', 'id_switches_per_30_s > 1 in night' (a "
        "slice); may be given several times",
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit XML: a case per recording and gate")


def asked_slices(options: argparse.Namespace) -> list[SlicePattern]:
    """The slices that the options describe. Raises `SliceError`."""
    from eomt_ros.evaluation.slices import SlicePattern

    return [SlicePattern.parse(text) for text in options.slices]


def asked_gates(options: argparse.Namespace, tags: Collection[str]) -> list[Gate]:
    """The gates that the options describe. tags: those that recordings have.

    Raises `GateError` where one names no figure or no slice, `UserError` where the file for JUnit XML is another file.
    """
    from eomt_ros.evaluation.gates import Gate

    gates = [Gate.parse(text).among(tags) for text in options.gates]
    if options.junit is not None and options.junit.exists():
        with open_regular(options.junit) as file:
            if file.read(len(_XML)) not in (b"", _XML):
                raise UserError(f"--junit {options.junit} is there and holds no XML: give another file")
    return list(dict.fromkeys(gates))


def judged(found: Results, gates: Sequence[Gate], junit: Path | None) -> int:
    """Prints what came of the gates, writes the JUnit XML, and returns the exit code: 0, or `GATE_FAILED`.

    Raises `OSError`.
    """
    from eomt_ros.evaluation.junit import gate_cases, recording_cases, write_junit

    judgements = [gate.judge(found) for gate in gates]
    for each in judgements:
        print(f"{'FAILED' if each.failed else 'passed'}: fail if {each.gate.text} ({each.reason})")
    if junit is not None:
        write_junit(recording_cases(found), gate_cases(judgements), junit)
    return GATE_FAILED if any(each.failed for each in judgements) else 0
