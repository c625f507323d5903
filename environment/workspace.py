"""The colcon build of the package."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from environment.layout import ROOT, Layout
from environment.process import run_logged

# Compiled: a change of their content needs a build.
BUILT = ("CMakeLists.txt", "package.xml", "msg/*.msg")
# Installed as links: a new or removed file needs a build, an edit does not.
LINKED = ("eomt_ros/**/*.py", "config/**/*", "launch/*", "scripts/*", "demo/bag/*", "demo/rig/*", "demo/checkpoint/*")


def content_key() -> str:
    """A digest of everything that asks for another build when it changes."""
    digest = hashlib.sha256()
    for path in _find(BUILT):
        digest.update(f"{path}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    for path in _find(LINKED):
        digest.update(f"{path}\0".encode())
    return digest.hexdigest()


def build_package(layout: Layout) -> None:
    """Build the messages and install the package with links, so that edited Python code needs no second build."""
    command = [*("colcon", "--log-base", str(layout.log), "build", "--symlink-install")]
    command += ["--build-base", str(layout.build), "--install-base", str(layout.install)]
    command += ["--cmake-args", f"-DPython3_EXECUTABLE={layout.python}", "-DBUILD_TESTING=OFF"]
    variables = layout.variables()
    # subprocess looks a program up on its own PATH, not on the one it is given.
    command[0] = shutil.which("colcon", path=variables["PATH"]) or "colcon"
    run_logged(command, layout.log / "colcon.log", variables, shown=("Starting", "Finished"))


def discard_build(layout: Layout) -> None:
    """Remove what was built with another Python environment: CMake's cache remembers that one's folders."""
    for folder in (layout.build, layout.install):
        shutil.rmtree(folder, ignore_errors=True)


def _find(patterns: tuple[str, ...]) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())
