"""JUnit XML: a case for each recording and each gate, in a form that Jenkins, GitLab and GitHub read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import pytest
import xmlschema

from eomt_ros.evaluation.gates import Gate
from eomt_ros.evaluation.junit import JUnitCase, gate_cases, recording_cases, write_junit
from eomt_ros.evaluation.results import FailedRecording, Results
from test.evaluation.examples import recording, rig_run, short_run

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def written(
    results: Results, gates: Sequence[str], path: Path, incomplete: Mapping[str, str] = MappingProxyType({})
) -> ElementTree.Element:
    """Writes the file, which has to fit the schema, and reads it."""
    judgements = [Gate.parse(text).judge(results) for text in gates]
    write_junit(recording_cases(results, incomplete), gate_cases(judgements), path)
    SCHEMA.validate(path)
    return ElementTree.parse(path).getroot()


def counts(suite: ElementTree.Element) -> dict[str, int]:
    return {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}


def test_there_is_a_case_for_each_recording_and_each_gate(tmp_path: Path) -> None:
    run = replace(rig_run(), failed=(FailedRecording("monday", "/bags/monday", "no frames"),))
    gates = ["miou < 0.8", "id_switches > 3"]
    recordings, gated = written(run, gates, tmp_path / "new" / "junit.xml").findall("testsuite")
    assert counts(recordings) == {"tests": 3, "failures": 0, "errors": 1, "skipped": 0}
    assert [case.attrib["name"] for case in recordings] == ["monday", "front", "rear"]
    error = recordings[0].find("error")
    assert error is not None
    assert (error.attrib["message"], error.text) == ("no frames", "no frames")
    assert recordings[2].findtext("system-out") == "40 frames, mIoU 0.432"
    assert counts(gated) == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}
    assert [case.attrib["name"] for case in gated] == ["fail if miou < 0.8", "fail if id_switches > 3"]
    failure = gated[0].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "miou is 0.7111"
    assert gated[1].findtext("system-out") == "id_switches is 1"


def test_a_recording_that_was_scored_in_part_is_a_failure(tmp_path: Path) -> None:
    (suite,) = written(rig_run(), [], tmp_path / "junit.xml", {"rear": "cut off"})
    assert counts(suite) == {"tests": 2, "failures": 1, "errors": 0, "skipped": 0}
    assert [(case.attrib["name"], case[0].tag) for case in suite] == [("front", "system-out"), ("rear", "failure")]
    assert suite[1][0].text == "cut off"


def test_the_time_of_a_case_is_that_which_the_model_took(tmp_path: Path) -> None:
    run = replace(short_run(), recordings=(recording("bag", short_run(), frames=100, fps=40.0),))
    (suite,) = written(run, [], tmp_path / "junit.xml")
    assert (suite.attrib["time"], suite[0].attrib["time"]) == ("2.500", "2.500")


@pytest.mark.parametrize("name", ['<a & "b">', "a\x00\x1b[31m\ud800b", "]]>", "ümlaut 你好"])
def test_names_and_errors_by_strangers_leave_the_file_whole(name: str, tmp_path: Path) -> None:
    run = replace(rig_run(), failed=(FailedRecording(name, name, f"{name}\n{name * 1000}"),))
    suite = written(run, ["miou < 0.8"], tmp_path / "junit.xml")[0]
    assert suite[0].attrib["name"].startswith(name[0])
    assert len(suite[0][0].attrib["message"]) < 2100


def test_an_earlier_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    written(rig_run(), ["miou < 0.8"], path)
    assert len(written(rig_run(), [], path)) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["junit.xml"]


def test_the_schema_tells_a_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    write_junit([JUnitCase("a", "x"), JUnitCase("a", "y")], [], path)
    assert not SCHEMA.is_valid(path)  # two cases of one name
    path.write_text(path.read_text().replace('name="a"', ""))
    assert not SCHEMA.is_valid(path)
