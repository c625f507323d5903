"""The options by which a CI calls an evaluation: gates, slices, JUnit XML."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
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


def asked_gates(
    options: argparse.Namespace,
    tags: Collection[str],
    class_names: Callable[[], Sequence[str] | None] = lambda: None,
) -> list[Gate]:
    """The gates that the options describe. tags: those that recordings have. class_names: gives those of the results,
    None where nobody knows them yet; called where a gate is of a class.

    Raises `GateError` where one names no figure or no slice, `UserError` where its figure will not be counted, where
    only a part of the recordings is evaluated, and where the file for JUnit XML is another file.
    """
    from eomt_ros.evaluation.figure_names import COUNTED_BY_OTHERS, is_of_class
    from eomt_ros.evaluation.gates import Gate

    if options.gates and getattr(options, "shard", None) is not None:
        raise UserError("--fail-if judges all recordings, and --shard has a part: give it to eomt-ros merge afterwards")
    gates = [Gate.parse(text).among(tags) for text in options.gates]
    uncounted = [gate for gate in gates if gate.figure.startswith(COUNTED_BY_OTHERS)]
    if uncounted and getattr(options, "metrics", "") is None:
        raise UserError(
            f"--fail-if {uncounted[0].text!r}: this is counted with --metrics trackeval, which is not given"
        )
    of_class = [gate for gate in gates if is_of_class(gate.figure)]
    names = class_names() if of_class else None
    for gate in of_class:
        gate.expect_figure(names)
    _expect_no_other_file(options.junit)
    return list(dict.fromkeys(gates))


def model_class_names(options: argparse.Namespace) -> Sequence[str] | None:
    """The classes of what a model will find, which is not loaded; None for predictions that somebody recorded.

    Raises `EngineError`.
    """
    from eomt_ros.engine.model.checkpoint import load_model_labels
    from eomt_ros.engine.model.taxonomy import robot_labels

    if options.predictions is not None:
        return None
    labels = load_model_labels(options.model, options.labels or None)
    return robot_labels(labels, options.taxonomy, options.classes).labels.class_names


def judged(
    found: Results, gates: Sequence[Gate], junit: Path | None, incomplete: Mapping[str, str] = MappingProxyType({})
) -> int:
    """Prints what came of the gates, writes the JUnit XML, and returns the exit code: 0, or `GATE_FAILED`.

    incomplete: why the figures of a recording are of a part of it only, by name. Raises `OSError`.
    """
    from eomt_ros.evaluation.junit import gate_cases, recording_cases, write_junit

    judgements = [gate.judge(found) for gate in gates]
    for each in judgements:
        print(f"{'FAILED' if each.failed else 'passed'}: fail if {each.gate.text} ({each.reason})")
    if junit is not None:
        write_junit(recording_cases(found, incomplete), gate_cases(judgements), junit)
    return GATE_FAILED if any(each.failed for each in judgements) else 0


@contextmanager
def junit_of_failure(junit: Path | None, name: str) -> Iterator[None]:
    """Writes a JUnit XML with the error where one ends the block, so that a CI shows why there are no figures.

    name: of the case. Raises `UserError` where the file is another one.
    """
    from eomt_ros.evaluation.junit import JUnitCase, write_junit

    _expect_no_other_file(junit)
    try:
        yield
    except (UserError, OSError) as error:
        if junit is not None:
            with suppress(OSError):  # the first error is the one that matters
                write_junit([JUnitCase(name, str(error), "error")], [], junit)
        raise


def _expect_no_other_file(junit: Path | None) -> None:
    """Raises `UserError` where the file for JUnit XML would replace one that is no XML, such as a recording."""
    if junit is not None and junit.exists():
        with open_regular(junit) as file:
            if file.read(len(_XML)) not in (b"", _XML):
                raise UserError(f"--junit {junit} is there and holds no XML: give another file")
