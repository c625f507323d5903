"""What the README says about names and defaults is so, and its example runs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

from eomt_ros.extras import EXTRAS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATIENCE = 100.0  # s


def rows(header: str) -> dict[str, str]:
    """First column of the table under a header row -> second column, both without markup."""
    table = README.split(f"| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    pairs = [[re.sub(r"[`*]", "", cell).strip() for cell in row.split("|")[1:3]] for row in table]
    return dict(pairs)


def test_the_parameters_are_those_of_the_yaml_with_their_defaults():
    parameters = yaml.safe_load((ROOT / "config" / "segment.yaml").read_text())["/**"]["ros__parameters"]
    shown = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items()}
    assert rows("parameter") == shown


def test_the_live_parameters_are_those_of_the_yaml():
    text = (ROOT / "config" / "segment.yaml").read_text()
    entries = re.findall(r"((?:^ +#.*\n)+)^ +(\w+):", text, re.MULTILINE)
    live = [name for comment, name in entries if "[live]" in comment]
    assert live
    assert re.findall(r"^\| `(\w+)` \* \|", README, re.MULTILINE) == live


def test_the_launch_arguments_are_those_of_the_launch_file():
    tree = ast.parse((ROOT / "launch" / "segment.launch.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    (parameters,) = [
        ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMETERS"
    ]
    declared: list[str] = []
    for call in sorted(calls, key=lambda call: call.lineno):
        if call.func.id == "DeclareLaunchArgument":
            first = call.args[0]
            declared += [first.value] if isinstance(first, ast.Constant) else parameters
    assert declared
    assert list(rows("argument")) == declared


def test_the_topics_and_services_are_those_of_the_node():
    code = "".join(path.read_text() for path in (ROOT / "eomt_ros" / "node").glob("*.py"))
    named = set(re.findall(r'"(~/[\w/]+|/diagnostics)"', code))
    assert named
    assert set(rows("it publishes")) | set(rows("service")) == named


def test_the_packages_it_says_to_install_are_those_of_the_optional_parts():
    said = [set(words.split()) for words in re.findall(r"pip install -c constraints.txt ([^`\n]+)", README)]
    for extra, names in EXTRAS.items():
        # Pythons that have it themselves take no harm from it.
        assert set(names) in said or {*names, "backports.zstd"} in said, extra


def test_the_files_it_points_to_exist():
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)|`((?:config|eomt_ros)/[\w./]+)`", README):
        assert (ROOT / "".join(path)).exists(), path


def test_the_example_in_python_runs(tmp_path):
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Segmenter" in code]
    video = cv2.VideoWriter(str(tmp_path / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(2):
        video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
