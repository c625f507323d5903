"""What is installed, by colcon and by pip, and what other people's code relies on: messages and versions."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement

import eomt_ros
from test import ROOT

REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

MESSAGES = {
    "Instance": """
        uint32 id
        uint16 class_id
        string class_name
        bool is_thing
        float32 score
        uint32 area
        sensor_msgs/RegionOfInterest box
        uint32 age
        uint32[] mask_rle
        bool returned
        float32[] embedding
    """,
    "InstanceArray": """
        std_msgs/Header header
        uint32 epoch
        uint32 sequence
        uint32 dropped
        string task
        string model
        string identity
        uint32 height
        uint32 width
        Instance[] instances
    """,
    "Object": """
        uint32 id
        uint16 class_id
        string class_name
        float32 score
        geometry_msgs/Point position
        float64[9] position_covariance
        geometry_msgs/Vector3 size
        float64[9] size_covariance
        bool velocity_known
        geometry_msgs/Vector3 velocity
        float64[9] velocity_covariance
        bool moving
        bool partial
        uint32 points
        uint32 age
        bool returned
        float32[] embedding
    """,
    "ObjectArray": """
        std_msgs/Header header
        uint32 epoch
        Object[] objects
    """,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_exactly_the_agreed_fields(name: str) -> None:
    lines = (ROOT / "msg" / f"{name}.msg").read_text().splitlines()
    fields = [line for line in lines if line and not line.startswith("#")]
    assert fields == [line.strip() for line in MESSAGES[name].strip().splitlines()]


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_of_a_message_says_what_zero_means(name: str) -> None:
    for paragraph in (ROOT / "msg" / f"{name}.msg").read_text().strip().split("\n\n")[1:]:
        comment = " ".join(line for line in paragraph.splitlines() if line.startswith("#"))
        assert re.search(r"\b0\b|\bempty\b|\bfalse\b", comment, re.IGNORECASE), paragraph


def test_package_xml_belongs_to_the_interface_packages() -> None:
    xml = _package_xml()
    assert xml.get("format") == "3"
    # Without it a build that others depend on runs before the messages exist.
    assert [group.text for group in xml.iter("member_of_group")] == ["rosidl_interface_packages"]


PIN = r"[\w.-]+(\[\w+\])?==[\w.]+(; python_version < '[\d.]+')?|-r [\w-]+\.txt"


def test_every_pin_is_one_exact_version_and_names_no_index() -> None:
    for path in REQUIREMENTS:
        for line in _entries(path):
            assert re.fullmatch(PIN, line), f"{path.name}: {line}"


def test_no_package_is_pinned_twice() -> None:
    for distro in ("kilted", "jazzy"):
        names = [
            re.split(r"[\[=]", line)[0].lower().replace("_", "-")
            for path in REQUIREMENTS
            if not path.name.startswith("ros-") or path.name == f"ros-{distro}.txt"
            for line in _entries(path)
            if not line.startswith("-r ")
        ]
        assert sorted(names) == sorted(set(names))


@pytest.mark.slow
def test_the_engine_loads_without_ros() -> None:
    # -I: neither PYTHONPATH, where a sourced ROS 2 is, nor the working directory.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import eomt_ros.engine; print('rclpy' in sys.modules)"
    answer = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "False", answer.stderr


@pytest.fixture(scope="module")
def prefix() -> Path:
    """Where colcon installed the package."""
    pytest.importorskip("eomt_ros.msg", reason="not built with colcon, or not sourced")
    folders = map(Path, os.environ["AMENT_PREFIX_PATH"].split(os.pathsep))
    return next(folder for folder in folders if (folder / "share" / "eomt_ros" / "package.xml").exists())


@pytest.mark.parametrize("name", ["evaluate_bag", "play_bag", "segment_node"])
def test_colcon_installs_the_executables(prefix: Path, name: str) -> None:
    program = prefix / "lib" / "eomt_ros" / name
    assert os.access(program, os.X_OK)
    assert program.read_text().startswith("#!/usr/bin/env python3\n")


def test_colcon_installs_what_ros_tools_look_for(prefix: Path) -> None:
    share = prefix / "share" / "eomt_ros"
    for source in (*_files("launch"), *_files("config"), *_files("demo/bag"), *_files("demo/rig"), *_files("msg")):
        assert (share / source).read_bytes() == (ROOT / source).read_bytes()


def test_colcon_installs_the_data_beside_the_code(prefix: Path) -> None:
    package = next(prefix.glob("lib/python3*/site-packages/eomt_ros"))
    # The generator installs an empty one.
    assert (package / "__init__.py").read_text() == (ROOT / "eomt_ros" / "__init__.py").read_text()
    for source in _files("config"):
        assert (package / source).read_bytes() == (ROOT / source).read_bytes()
    for source in _files("demo/checkpoint"):
        assert (package / source.relative_to("demo")).exists()
    for source in _files("msg"):
        assert (package / "interfaces" / source.name).read_bytes() == (ROOT / source).read_bytes()


def test_messages_are_found_from_a_source_tree() -> None:
    msg = pytest.importorskip("eomt_ros.msg", reason="not built with colcon, or not sourced")
    assert Path(eomt_ros.__file__) == ROOT / "eomt_ros" / "__init__.py"
    array = msg.InstanceArray(instances=[msg.Instance(id=7, mask_rle=[0, 3])])
    assert list(array.instances[0].mask_rle) == [0, 3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """What `pip install .` installs, made as `python -m build` makes it: from the source distribution."""
    pytest.importorskip("setuptools", minversion="64")
    clone, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("eomt_ros", "config", "demo", "msg"):
        shutil.copytree(ROOT / name, clone / name, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "package.xml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    pack = [sys.executable, "-c", f"from setuptools import build_meta; print(build_meta.build_sdist({str(out)!r}))"]
    packed = subprocess.run(pack, cwd=clone, capture_output=True, text=True)
    assert packed.returncode == 0, packed.stderr
    sources = str(next(out.glob("*.tar.gz")))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(out), sources]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_pip_installs_every_module_and_its_data(wheel: zipfile.ZipFile) -> None:
    data = [*_files("config"), *(path.relative_to("demo") for path in _files("demo/checkpoint"))]
    expected = {*map(str, _files("eomt_ros")), *(f"eomt_ros/{path}" for path in data)}
    expected |= {f"eomt_ros/interfaces/{path.name}" for path in _files("msg")}
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == expected
    assert "eomt_ros/checkpoint/model.safetensors" in packed


def test_pip_installs_the_command_line(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "eomt-ros = eomt_ros.cli.main:main" in wheel.read(entry_points).decode()


def test_pip_says_of_the_package_what_package_xml_says(wheel: zipfile.ZipFile) -> None:
    said, xml = _metadata(wheel), _package_xml()
    maintainer = xml.find("maintainer")
    assert maintainer is not None
    assert said["Name"].replace("-", "_") == xml.findtext("name")
    assert said["Version"] == xml.findtext("version") == eomt_ros.__version__
    assert said["Summary"].split() == (xml.findtext("description") or "").split()
    assert (said["Maintainer"], said["Maintainer-email"]) == (maintainer.text, maintainer.get("email"))
    assert xml.findtext("license") in (said["License"], said["License-Expression"])


def test_a_workspace_gets_what_pip_would_install(wheel: zipfile.ZipFile) -> None:
    """By rosdep, from package.xml, and by the command of the README."""
    by_rosdep = {
        "python3-numpy": "numpy",
        "python3-opencv": "opencv-python-headless",
        "python3-scipy": "scipy",
        "python3-yaml": "pyyaml",
    }
    asked = {depend.text for depend in _package_xml().iter("exec_depend")}
    command = re.search(r"^ +pip install -c constraints.txt (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert command is not None
    installed = {Requirement(word).name.lower() for word in shlex.split(command[1])}
    installed |= {name for key, name in by_rosdep.items() if key in asked}
    needed = {
        one.name.lower() for one in map(Requirement, _metadata(wheel).get_all("Requires-Dist", [])) if not one.marker
    }
    assert needed <= installed


def test_ruff_checks_for_the_oldest_python_that_pip_accepts(wheel: zipfile.ZipFile) -> None:
    target = re.search(r'^target-version = "py3(\d+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert target is not None
    assert _metadata(wheel)["Requires-Python"] == f">=3.{target[1]}"


def test_the_pins_lie_within_the_ranges_that_pip_is_given(wheel: zipfile.ZipFile) -> None:
    files = [ROOT / "requirements" / name for name in ("runtime.txt", "test.txt")]
    pins = dict(line.partition(";")[0].split("==") for path in files for line in _entries(path))
    # What no test uses is not pinned: the demo's renderer, and the clouds' file systems.
    ranges = [
        Requirement(text)
        for text in _metadata(wheel).get_all("Requires-Dist", [])
        if not re.search("demo|gcsfs|s3fs", text)
    ]
    for requirement in ranges:
        assert requirement.specifier.contains(pins[requirement.name]), requirement
    assert set(pins) == {requirement.name for requirement in ranges}, "pinned, but in no range of setup.py"


def test_pip_needs_no_ros(wheel: zipfile.ZipFile) -> None:
    names = {Requirement(text).name for text in _metadata(wheel).get_all("Requires-Dist", [])}
    assert not names & {"rclpy", "sensor_msgs"}
    assert not any(name.startswith("ros-") for name in names)


def _metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def _package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def _entries(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _files(folder: str) -> list[Path]:
    """The files below a folder of the repository, relative to the repository."""
    found = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path.relative_to(ROOT) for path in found]
