"""README and pages: links lead somewhere, what they name exists, their tables are those of the code, examples run."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

from bench import page as benchmarks
from environment.machine import WHEEL_PYTHONS
from eomt_ros.cli.main import main
from eomt_ros.engine.model.labels import load_labels
from eomt_ros.extras import EXTRAS
from eomt_ros.node.outputs import DETECTIONS, LABEL_INFO, RESULTS
from eomt_ros.node.space_outputs import DETECTIONS_3D, MARKERS, OBJECTS, OBSTACLES, POINTS
from test import ROOT
from test.engine.checkpoints import write_eomt
from test.patience import PATIENCE

README = ROOT / "README.md"
NAVIGATION = ROOT / "docs" / "navigation.md"
TAXONOMIES = ROOT / "config" / "taxonomies"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, *DOCS, ROOT / "CHANGELOG.md", ROOT / "demo" / "README.md"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_links(page: Path) -> str:
    """The page's text without where its links lead."""
    return re.sub(r"\]\([^)]*\)", "]", text_of(page))


def links_of(page: Path) -> list[str]:
    """Where the page's relative links lead."""
    return re.findall(r"\]\((?!https?:)([^)\s]+)\)", text_of(page))


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(name: str, header: str) -> dict[str, str]:
    """First column of the table under a header row -> second column, both without markup."""
    table = text_of(ROOT / name).split(f"| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    pairs = [[re.sub(r"[`*]", "", cell).strip() for cell in row.split("|")[1:3]] for row in table]
    return dict(pairs)


def code_of(page: Path) -> list[str]:
    """The lines of the page's indented blocks and between its backticks, without comments."""
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    blocks = re.findall(r"^ {4}(.+)$", text.replace("\\\n", ""), re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", text)
    return [re.sub(r"\s{2,}# .*| +#$", "", line).strip() for line in [*blocks, *spans]]


@each_page
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links_of(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target), link


def test_the_readme_leads_to_every_page() -> None:
    reached = {(ROOT / link.partition("#")[0]).resolve() for link in links_of(README)}
    assert {*PAGES, ROOT / "LICENSE"} - {README} <= reached


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_begins_and_ends_with_a_way_back_to_the_readme(page: Path) -> None:
    lines = [line for line in text_of(page).splitlines() if line]
    assert lines[1].startswith("[README](../README.md)")
    assert lines[-1] == "[Back to the README](../README.md)"


FOLDERS = (
    "bench",
    "config",
    "demo",
    "docs",
    "environment",
    "eomt_ros",
    "launch",
    "msg",
    "requirements",
    "scripts",
    "test",
)
PATHS = [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder, *(ROOT / folder).rglob("*"))]
PATHS += [path.relative_to(ROOT) for path in ROOT.iterdir() if path.is_file()]


@each_page
def test_every_file_and_folder_that_is_named_exists(page: Path) -> None:
    there = {"/".join(path.parts[first:]) for path in PATHS for first in range(len(path.parts))}
    for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)*)/?`", text_of(page)):
        is_ours = "/" in name and name.split("/")[0] in {part for path in PATHS for part in path.parts[:-1]}
        if is_ours or re.search(r"\.(py|msg|rviz|xml)$", name):
            assert name in there, name


@each_page
def test_every_command_of_eomt_ros_has_the_options_that_are_shown(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in code_of(page):
        found = re.search(r"(?<![-\w./])eomt-ros (.+)", line)
        if found is None:
            continue
        command, *words = shlex.split(found[1])
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, line


@each_page
def test_every_module_that_is_run_and_every_target_of_make_exist(page: Path) -> None:
    targets = re.search(r"^\.PHONY: (.+)$", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert targets is not None
    for line in code_of(page):
        for module in re.findall(r"python3? -m ((?:bench|demo|environment|eomt_ros)[\w.]*)", line):
            assert importlib.util.find_spec(module) is not None, line
        for target in re.findall(r"^make (\w+)", line):
            assert target in targets[1].split(), line


def launch_arguments(file: str) -> list[str]:
    """The arguments that a launch file declares, in its order."""
    tree = ast.parse(text_of(ROOT / "launch" / file))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    named = {ast.unparse(node.targets[0]): node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)}
    declared: list[str] = []
    for call in sorted(calls, key=lambda call: call.lineno):
        if isinstance(call.func, ast.Name) and call.func.id == "DeclareLaunchArgument":
            first = call.args[0]
            declared += [first.value] if isinstance(first, ast.Constant) else ast.literal_eval(named["PARAMETERS"])
    assert declared
    return declared


@each_page
def test_every_launch_has_the_arguments_that_are_shown(page: Path) -> None:
    for line in code_of(page):
        for file, arguments in re.findall(r"ros2 launch eomt_ros (\S+)((?: +[\w-]\S*)*)", line):
            names = set(re.findall(r"(\w+):=", arguments))
            assert names <= set(launch_arguments(file)), line


def test_the_launch_arguments_are_those_of_the_launch_file() -> None:
    assert list(rows("docs/node.md", "argument")) == launch_arguments("segment.launch.py")
    assert set(rows("README.md", "argument")) <= set(launch_arguments("segment.launch.py"))


def test_the_parameters_are_those_of_the_yaml_with_their_defaults() -> None:
    parameters = yaml.safe_load(text_of(ROOT / "config" / "segment.yaml"))["/**"]["ros__parameters"]
    shown = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items()}
    assert rows("docs/node.md", "parameter") == shown


def test_the_live_parameters_are_those_of_the_yaml() -> None:
    entries = re.findall(r"((?:^ +#.*\n)+)^ +(\w+):", text_of(ROOT / "config" / "segment.yaml"), re.MULTILINE)
    live = [name for comment, name in entries if "[live]" in comment]
    assert live
    assert re.findall(r"^\| `(\w+)` \* \|", text_of(ROOT / "docs" / "node.md"), re.MULTILINE) == live


def test_the_topics_and_services_are_those_of_the_node() -> None:
    code = "".join(text_of(path) for path in (ROOT / "eomt_ros" / "node").glob("*.py"))
    named = set(re.findall(r'"(~/[\w/]+|/diagnostics)"', code))
    assert named
    results = {f"~/{topic}" for topic in (*RESULTS, LABEL_INFO, DETECTIONS)}
    results |= {f"~/{topic}" for topic in (POINTS, OBSTACLES, OBJECTS, DETECTIONS_3D, MARKERS)}
    assert set(rows("docs/node.md", "it publishes")) | set(rows("docs/node.md", "service")) == named | results


@each_page
def test_every_own_topic_that_is_named_is_one_of_the_node(page: Path) -> None:
    ours = {*rows("docs/node.md", "it publishes"), *rows("docs/node.md", "service")}
    named = {topic.replace("~/front/", "~/") for topic in re.findall(r"`(~/[\w/]+)`", text_of(page))}
    assert named - {"~/.cache/eomt_ros"} <= ours


@each_page
def test_every_block_of_yaml_is_yaml(page: Path) -> None:
    for block in yaml_of(page):
        assert isinstance(yaml.safe_load(block), (dict, list)), block


def test_what_navigation_subscribes_to_are_topics_of_the_node() -> None:
    named = {
        word
        for block in yaml_of(NAVIGATION)
        for word in words_in(yaml.safe_load(block))
        if word.startswith("/segment/")
    }
    ours = {f"/segment/{topic}" for topic in (*RESULTS, LABEL_INFO, POINTS, OBSTACLES, OBJECTS)}
    groups = {
        group for each in sorted(TAXONOMIES.glob("*.yaml")) for group in re.findall(r"groups: \[(\w+)\]", text_of(each))
    }
    assert named <= ours | {f"/segment/masks/{group}" for group in groups}
    assert len(named) > 4


def test_the_costs_in_navigation_are_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = load_labels(ROOT / "config" / "labels" / "coco_panoptic.yaml").class_names
    model = write_eomt(tmp_path / "coco", id2label=dict(enumerate(names)))
    assert not main(["taxonomy", "indoor_coco", "--model", str(model), "--nav2"])
    (printed,) = yaml.safe_load(capsys.readouterr().out).values()
    (shown,) = re.findall(r"^      semantic_segmentation_layer:\n(?:        .*\n)+", text_of(NAVIGATION), re.MULTILINE)
    assert yaml.safe_load(textwrap.dedent(shown)) == {"semantic_segmentation_layer": printed}


@each_page
def test_every_taxonomy_that_is_named_comes_with_the_package(page: Path) -> None:
    for name in re.findall(r"(?:taxonomy:=|eomt-ros taxonomy |--taxonomy )(\w+)(?=[\s`])", text_of(page)):
        assert (TAXONOMIES / f"{name}.yaml").exists(), name


def yaml_of(page: Path) -> list[str]:
    """The page's blocks of YAML."""
    return re.findall(r"```yaml\n(.*?)```", text_of(page), re.DOTALL)


def words_in(tree: object) -> list[str]:
    """All strings in a YAML document, but not its keys."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [word for each in tree for word in words_in(each)]
    return [tree] if isinstance(tree, str) else []


def test_the_packages_it_says_to_install_are_those_of_the_optional_parts() -> None:
    lines = "\n".join(map(text_of, PAGES))
    said = [
        {Requirement(word).name for word in shlex.split(words)}
        for words in re.findall(r"pip install -c constraints.txt ([^`\n]+)", lines)
    ]
    for extra, names in EXTRAS.items():
        assert {*names} in said or {*names, "backports.zstd"} in said, extra


def test_the_readme_names_the_pythons_that_have_wheels_of_ros() -> None:
    (first, last) = (".".join(map(str, version)) for version in WHEEL_PYTHONS)
    assert f"Python {first} to {last} " in text_of(README)


@each_page
def test_every_published_model_that_is_named_is_in_the_table(page: Path) -> None:
    table = yaml.safe_load(text_of(ROOT / "config" / "models.yaml"))
    known = {name for family in table.values() for name in family["models"]}
    known |= {"facebook/dinov2-with-registers-base", "facebook/dinov3-vits16-pretrain-lvd1689m"}  # to train on
    assert set(re.findall(r"(?:tue-mps|facebook)/[\w-]+", without_links(page))) <= known


@each_page
def test_every_example_in_python_is_python(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL):
        ast.parse(code)


def test_the_label_table_that_is_shown_can_be_loaded(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^ {4}name: .*\n(?: {4}.*\n)+", text_of(ROOT / "docs" / "models.md"), re.MULTILINE)
    table = tmp_path / "labels.yaml"
    table.write_text(textwrap.dedent(shown))
    assert load_labels(table).class_names == ("floor", "person")


def test_the_parameters_in_blocks_of_yaml_are_those_of_the_node() -> None:
    (published,) = re.findall(r"^ {4}fit: .*\n(?: {4}.*\n)+", text_of(ROOT / "docs" / "models.md"), re.MULTILINE)
    assert set(yaml.safe_load(textwrap.dedent(published))) <= set(rows("docs/node.md", "parameter"))


@pytest.mark.slow
def test_the_examples_in_python_run(tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for _ in range(2):
        video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    examples = "\n".join(re.findall(r"```python\n(.*?)```", text_of(ROOT / "docs" / "python.md"), re.DOTALL))
    assert "Segmenter.load" in examples
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", examples], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)


def test_the_table_of_the_benchmarks_is_that_of_the_measured_rows() -> None:
    text = text_of(benchmarks.PAGE)
    assert text == benchmarks.filled(text), "python -m bench.page writes it anew"
