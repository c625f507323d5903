"""What repeats a run stands in `metrics.json`: machine, versions, revision."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
import torch

from eomt_ros.evaluation.provenance import INSTALLED, processor, provenance, revision


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "module.py").write_text("1\n")
    git(folder, "add", "module.py")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1")
    return folder


def test_the_revision_is_that_of_the_checkout(checkout: Path) -> None:
    assert revision(checkout / "module.py") == git(checkout, "rev-parse", "HEAD")


def test_changes_in_the_checkout_show(checkout: Path) -> None:
    (checkout / "module.py").write_text("2\n")
    assert revision(checkout / "module.py") == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_a_copy_that_no_checkout_tracks_has_no_revision(checkout: Path, tmp_path: Path) -> None:
    (checkout / "installed").mkdir()
    (checkout / "installed" / "module.py").write_text("1\n")
    assert revision(checkout / "installed" / "module.py") is None
    assert revision(tmp_path / "nowhere" / "module.py") is None


def test_what_is_installed_has_the_revision_of_its_checkout_then(checkout: Path) -> None:
    (checkout / "installed").mkdir()
    (checkout / "installed" / INSTALLED).write_text("0123456789abcdef-dirty\n")
    assert revision(checkout / "installed" / "__init__.py") == "0123456789abcdef-dirty"
    (checkout / INSTALLED).write_text("")  # was installed from no checkout
    assert revision(checkout / "module.py") is None


def test_without_git_there_is_no_revision(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert revision(checkout / "module.py") is None


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux")
def test_the_processor_has_its_name() -> None:
    assert processor() in Path("/proc/cpuinfo").read_text() or processor() == platform.machine()


def test_the_versions_are_those_of_what_computes() -> None:
    found = provenance("cpu", "openvino")
    assert found["versions"]["torch"] == torch.__version__
    assert "openvino" in found["versions"]
    assert found["gpu"] is None
    assert "cuda" not in found["versions"]
    assert set(provenance(None, None)) == set(found)
