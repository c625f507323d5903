"""JUnit XML, in which GitHub, GitLab and Jenkins show what came of tests: a case for each recording and each gate.

Source: the schema of Jenkins' xUnit plugin (junit-10.xsd); GitLab reads the same and tells cases apart by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from eomt_ros.evaluation.gates import Judgement
from eomt_ros.evaluation.json_file import write_whole
from eomt_ros.evaluation.results import Recording, Results
from eomt_ros.printable import printable

LONGEST_TEXT = 2000
"""Characters of an error."""


@dataclass(frozen=True)
class JUnitCase:
    """A recording or a gate."""

    name: str
    text: str
    """The figures in a few words, or what went wrong."""
    state: Literal["passed", "failure", "error"] = "passed"
    seconds: float = 0.0
    """Time that it took, 0 where that is not known."""


def recording_cases(found: Results, incomplete: Mapping[str, str]) -> list[JUnitCase]:
    """A case for each recording; those that failed are errors.

    incomplete: why the figures of a recording are of a part of it only, by name; that is a failure.
    """
    failed = [JUnitCase(each.name, each.error, "error") for each in found.failed]
    return [*failed, *(_case(each, incomplete.get(each.name, "")) for each in found.recordings)]


def _case(recording: Recording, incomplete: str) -> JUnitCase:
    miou = "unknown" if recording.miou is None else f"{recording.miou:.3f}"
    return JUnitCase(
        recording.name,
        incomplete or f"{recording.frames:,} frames, mIoU {miou}",
        "failure" if incomplete else "passed",
        seconds=recording.frames / recording.fps if recording.fps else 0.0,
    )


def gate_cases(judgements: Iterable[Judgement]) -> list[JUnitCase]:
    """A case for each gate, by its text."""
    return [
        JUnitCase(f"fail if {each.gate.text}", each.reason, "failure" if each.failed else "passed")
        for each in judgements
    ]


def write_junit(recordings: Sequence[JUnitCase], gates: Sequence[JUnitCase], path: Path) -> None:
    """Writes the file, with a suite of recordings and one of gates. Raises `OSError`."""
    root = ElementTree.Element("testsuites")
    for name, cases in (("recordings", recordings), ("gates", gates)):
        if cases:
            root.append(_suite(name, cases))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, "utf-8", xml_declaration=True).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(text + "\n", path)


def _suite(name: str, cases: Sequence[JUnitCase]) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite",
        name=name,
        tests=str(len(cases)),
        failures=str(sum(each.state == "failure" for each in cases)),
        errors=str(sum(each.state == "error" for each in cases)),
        skipped="0",
        time=f"{sum(each.seconds for each in cases):.3f}",
    )
    for each in cases:
        case = ElementTree.SubElement(
            suite, "testcase", classname=name, name=printable(each.name), time=f"{each.seconds:.3f}"
        )
        text = printable(each.text, LONGEST_TEXT)
        if each.state == "passed":
            ElementTree.SubElement(case, "system-out").text = text
        else:
            ElementTree.SubElement(case, each.state, message=text, type=each.state).text = text
    return suite
