"""The export that comes with the demo checkpoint; `eomt-ros export demo` makes it anew."""

from __future__ import annotations

import logging

import pytest
import torch

from eomt_ros.engine import Segmenter
from eomt_ros.engine.backends.export import MODEL
from eomt_ros.engine.backends.export_cache import exports_beside, find
from eomt_ros.engine.model.checkpoint import load_checkpoint
from test.engine.pictures import picture


def test_the_shipped_export_is_of_the_shipped_checkpoint_and_alone() -> None:
    demo = load_checkpoint("demo")
    entry = find(demo, torch.float32, [exports_beside(demo)])
    assert entry is not None, "make it anew: eomt-ros export demo"
    assert list(exports_beside(demo).iterdir()) == [entry]


def test_the_shipped_export_has_neither_weights_nor_paths_of_the_machine_that_made_it() -> None:
    (entry,) = exports_beside(load_checkpoint("demo")).iterdir()
    assert sum(path.stat().st_size for path in entry.iterdir()) < 200_000
    content = (entry / MODEL).read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content


def test_the_demo_runs_in_openvino_as_it_is_installed(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("openvino")
    with caplog.at_level(logging.WARNING):
        demo = Segmenter.load("demo", device="cpu")
    assert demo.backend == "openvino"
    assert caplog.text == ""
    assert demo.segment(picture(240, 424, 0), demo.open_stream()).semantic.shape == (240, 424)


def test_the_demo_in_float32_is_torchs() -> None:
    assert Segmenter.load("demo", device="cpu", precision="float32").backend == "torch"
