"""`pip install .`: the engine, the evaluation and the command line, without ROS. With ROS: colcon build."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

# Name, version, description, maintainer and licence stand there, where ROS looks for them.
PACKAGE = ElementTree.parse(Path(__file__).parent / "package.xml").getroot()
MAINTAINER = PACKAGE.find("maintainer")
# Beside the code once installed, which is where it is looked for first.
DATA = {"eomt_ros.config": "config", "eomt_ros.checkpoint": "demo/checkpoint", "eomt_ros.interfaces": "msg"}

setup(
    name=PACKAGE.findtext("name"),
    version=PACKAGE.findtext("version"),
    description=" ".join(PACKAGE.findtext("description").split()),
    maintainer=MAINTAINER.text,
    maintainer_email=MAINTAINER.get("email"),
    license=PACKAGE.findtext("license"),
    project_urls={url.get("type", "website"): url.text for url in PACKAGE.iter("url")},
    python_requires=">=3.10",
    packages=[*find_packages(include=["eomt_ros", "eomt_ros.*"]), *DATA],
    package_dir=DATA,
    package_data={
        "eomt_ros": ["py.typed"],
        "eomt_ros.config": ["*.yaml", "*.rviz", "*.xml", "labels/*.yaml", "taxonomies/*.yaml"],
        "eomt_ros.checkpoint": ["*.json", "*.safetensors", "*.yaml", "exported/*/*"],
        "eomt_ros.evaluation.report": ["templates/*"],
        "eomt_ros.interfaces": ["*.msg"],
        "eomt_ros.training.report": ["templates/*"],
    },
    install_requires=[
        "huggingface_hub>=0.25",
        "numpy>=1.21",
        "opencv-python-headless>=4.5",
        "PyYAML>=5.4",
        "safetensors>=0.4.3",
        "scipy>=1.8",
        "simplejpeg>=1.8",
        "torch>=2.4",
    ],
    extras_require={
        "cluster": ["distributed>=2024.2"],
        "coco": ["pycocotools>=2.0.8"],
        "demo": ["mujoco>=4.0", "PyOpenGL>=3.1"],
        "evaluation": [
            "av>=11",
            "backports.zstd>=1.0; python_version < '3.14'",
            "jinja2>=3.0",
            "lz4>=4.0",
            "pebble>=5.0",
            "rosbags>=0.11",
            "tqdm>=4.60",
        ],
        "mask2former": ["pillow>=9", "torchvision>=0.19", "transformers>=5.23"],
        "onnxruntime": ["onnx>=1.17", "onnxruntime>=1.17", "onnxscript>=0.5"],
        "openvino": ["onnx>=1.17", "onnxscript>=0.5", "openvino>=2024.5"],
        "remote": ["aiohttp>=3.9", "fsspec>=2024.2", "gcsfs>=2024.2", "s3fs>=2024.2"],
        "supervision": ["supervision>=0.25"],
        "test": [
            "accelerate>=1.0",
            "aiohttp>=3.9",
            "distributed>=2024.2",
            "fsspec>=2024.2",
            "hypothesis>=6.90",
            "mcap>=1.2",
            "mypy>=1.11",
            "pillow>=9",
            "psutil>=5.9",
            "pycocotools>=2.0.8",
            "pytest>=7.4",
            "pytest-timeout>=2.2",
            "pytest-xdist>=3.5",
            "ruff>=0.6",
            "supervision>=0.25",
            "tensorboard>=2.10",
            "torchmetrics>=1.4",
            "torchvision>=0.19",
            "transformers>=5.23",
            "types-psutil",
            "types-PyYAML",
            "types-tqdm",
            "xmlschema>=4.0",
        ],
        "training": ["accelerate>=1.0", "jinja2>=3.0", "tensorboard>=2.10", "tqdm>=4.60"],
    },
    entry_points={"console_scripts": ["eomt-ros = eomt_ros.cli.main:main"]},
)
