"""Packages that an optional part needs, and the command that installs those that are missing.

By their own names: in a workspace that colcon built there is no `eomt_ros` for pip, and `pip install 'eomt_ros[...]'`
would install nothing. With the NumPy that is there: another one brings down the compiled packages of the same Python.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

# As in setup.py, without versions; a test holds the two together.
EXTRAS = {
    "cluster": ("distributed",),
    "coco": ("pycocotools",),
    "evaluation": (
        "av",
        *(("backports.zstd",) if sys.version_info < (3, 14) else ()),
        "jinja2",
        "lz4",
        "pebble",
        "rosbags",
        "tqdm",
    ),
    "mask2former": ("pillow", "torchvision", "transformers"),
    "onnxruntime": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "remote": ("aiohttp", "fsspec", "gcsfs", "s3fs"),
    "supervision": ("supervision",),
    "training": ("accelerate", "jinja2", "tensorboard", "tqdm"),
}


def install(extra: str) -> str:
    """The command that installs what the extra lacks, or all of it where nothing is missing but something is broken."""
    names = EXTRAS[extra]
    lacking = [name for name in names if _version(name) is None] or names
    numpy = _version("numpy")
    return " ".join([sys.executable, "-m pip install", *lacking, *([f"numpy=={numpy}"] if numpy else [])])


def install_alone(package: str) -> str:
    """The command that installs a package without those that it asks for.

    TrackEval asks for opencv-python, which takes the place of opencv-python-headless and needs a desktop's libraries,
    and for a newer NumPy than a ROS 2 has; its metrics need neither.
    """
    return f"{sys.executable} -m pip install --no-deps {package}"


def missing(error: ImportError, extra: str) -> str:
    """The text for a user whose import failed in a part that needs the extra."""
    return f"{error.name or error} is missing: {install(extra)}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
