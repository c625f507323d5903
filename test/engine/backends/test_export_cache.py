"""Exported networks on disk: made once, used again, and never trusted where damaged, foreign or out of date."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from eomt_ros.cli.main import main
from eomt_ros.engine import BackendError, Segmenter
from eomt_ros.engine.backends import export_cache
from eomt_ros.engine.backends.export import ANSWERS, EXPORT_VERSION, MODEL
from eomt_ros.engine.backends.export_cache import EXPORTS_FOLDER, MANIFEST, exported
from eomt_ros.engine.model.checkpoint import load_checkpoint
from eomt_ros.regular_file import sha256_of
from test import ROOT
from test.engine.checkpoints import write_checkpoint
from test.patience import PATIENCE

# Exporting a network takes seconds.
pytestmark = pytest.mark.slow

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its export beside it; for copies."""
    model = write_checkpoint(tmp_path_factory.mktemp("original") / "model")
    exported(load_checkpoint(model), torch.float32, [model / EXPORTS_FOLDER])
    return model


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same shape with other weights and another function in it, and its export beside it."""
    model = write_checkpoint(tmp_path_factory.mktemp("other") / "model", seed=1, hidden_act="relu")
    exported(load_checkpoint(model), torch.float32, [model / EXPORTS_FOLDER])
    return model


@pytest.fixture
def model(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of the test's own without an export, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(original, tmp_path / "model", ignore=shutil.ignore_patterns(EXPORTS_FOLDER)))


@pytest.fixture
def entry(original: Path, model: Path, tmp_path: Path) -> Path:
    """The export of `model`, in the cache."""
    cache = tmp_path / "cache" / "eomt_ros" / EXPORTS_FOLDER
    shutil.copytree(original / EXPORTS_FOLDER, cache)
    (entry,) = cache.iterdir()
    return entry


@pytest.fixture
def no_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a robot that has no exporter."""
    monkeypatch.setitem(sys.modules, "onnxscript", None)


def load(model: Path, backend: str = "onnxruntime", precision: str = "float32") -> Segmenter:
    return Segmenter.load(model, device="cpu", backend=backend, precision=precision)


def logits(segmenter: Segmenter) -> np.ndarray:
    found = segmenter.segment(IMAGE, segmenter.open_stream(), with_logits=True).logits
    assert found is not None
    return found.masks


def assert_works(model: Path) -> None:
    """ONNX Runtime gives torch's masks."""
    assert logits(load(model)) == pytest.approx(logits(load(model, "torch")), abs=1e-3)


def test_an_export_that_is_there_needs_no_exporter(entry: Path, model: Path, no_exporter: None) -> None:
    assert_works(model)


def test_without_export_and_exporter_it_says_what_to_install(model: Path, no_exporter: None) -> None:
    with pytest.raises(BackendError, match=r"onnxscript is missing: pip install .*or bring an export that `eomt-ros"):
        load(model)


def test_the_command_puts_the_export_next_to_the_model_where_a_robot_finds_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model)]) == 0
    entry = Path(capsys.readouterr().out.strip())
    assert entry.parent == model / EXPORTS_FOLDER
    assert not (tmp_path / "cache").exists()
    robot = model.rename(tmp_path / "robot")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert_works(robot)


def test_what_was_exported_of_other_weights_is_told_of_and_replaced_by_the_command(
    model: Path, other: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    own = model / EXPORTS_FOLDER / "notes"
    shutil.copytree(other / EXPORTS_FOLDER, own.parent)
    own.mkdir()
    assert load(model, "auto", "auto").backend == "torch"
    assert f"not OpenVINO but torch, because no export in {own.parent} is of this model and version" in caplog.text
    assert main(["export", str(model)]) == 0
    entry = Path(capsys.readouterr().out.strip())
    assert set(entry.parent.iterdir()) == {entry, own}
    assert load(model, "auto", "auto").backend == "openvino"


def test_the_command_puts_the_export_where_it_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model), "--out", str(tmp_path / "out")]) == 0
    entry = Path(capsys.readouterr().out.strip())
    assert entry.parent == tmp_path / "out"
    assert {path.name for path in entry.iterdir()} == {MODEL, ANSWERS, MANIFEST}
    # Whoever runs the node may read it.
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in entry.iterdir())


def test_the_command_says_in_one_line_why_it_cannot(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["export", str(model), "--out", str(tmp_path / "file" / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"eomt-ros: the exported network cannot be kept in {tmp_path / 'file' / 'out'}: Not a dir")


# --- what it is found by


def test_an_entry_belongs_to_weights_settings_and_precision(original: Path, tmp_path: Path) -> None:
    def name(folder: Path, dtype: torch.dtype = torch.float32) -> str:
        return export_cache._name(load_checkpoint(folder).network, dtype)

    other = Path(shutil.copytree(original, tmp_path / "other name"))
    assert name(other) == name(original)
    assert name(original, torch.float16) != name(original)
    weights = load_file(other / "model.safetensors")
    weights["query.weight"][0, 0] += 1e-6
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    assert name(other) != name(original)
    entries = json.loads((original / "config.json").read_text())
    shutil.copy(original / "model.safetensors", other)
    (other / "config.json").write_text(json.dumps({**entries, "layer_norm_eps": 1e-5}))
    assert name(other) != name(original)


# --- damage


def _truncated(entry: Path) -> None:
    (entry / MODEL).write_bytes((entry / MODEL).read_bytes()[:-100])


def _flipped_bit(entry: Path) -> None:
    content = bytearray((entry / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (entry / MODEL).write_bytes(content)


def _empty(entry: Path) -> None:
    for path in entry.iterdir():
        path.unlink()


def _no_network(entry: Path) -> None:
    (entry / MODEL).unlink()


def _half_a_manifest(entry: Path) -> None:
    (entry / MANIFEST).write_text((entry / MANIFEST).read_text()[:20])


def _other_version(entry: Path) -> None:
    manifest = json.loads((entry / MANIFEST).read_text())
    (entry / MANIFEST).write_text(json.dumps({**manifest, "version": EXPORT_VERSION + 1}))


def _file_of_another_folder(entry: Path) -> None:
    manifest = json.loads((entry / MANIFEST).read_text())
    manifest["files"]["../../../etc/passwd"] = ""
    (entry / MANIFEST).write_text(json.dumps(manifest))


def _nothing_listed(entry: Path) -> None:
    (entry / MANIFEST).write_text(json.dumps({"version": EXPORT_VERSION, "files": {}}))


def _huge_manifest(entry: Path) -> None:
    (entry / MANIFEST).write_text(" " * 100_000)


def _deep_manifest(entry: Path) -> None:
    (entry / MANIFEST).write_text("[" * 60_000)


def _device(entry: Path) -> None:
    (entry / MODEL).unlink()
    (entry / MODEL).symlink_to("/dev/null")


def _list_for_a_manifest(entry: Path) -> None:
    (entry / MANIFEST).write_text("[]")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_truncated, f"is damaged ({MODEL}): not used"),
        (_flipped_bit, f"is damaged ({MODEL}): not used"),
        (_empty, "cannot be read (FileNotFoundError"),
        (_no_network, "cannot be read (FileNotFoundError"),
        (_half_a_manifest, "cannot be read (JSONDecodeError"),
        (_list_for_a_manifest, "cannot be read (TypeError"),
        (_file_of_another_folder, f"{MANIFEST} does not list {MODEL} and {ANSWERS}, or lists files of another folder"),
        (_nothing_listed, f"{MANIFEST} does not list {MODEL} and {ANSWERS}"),
        (_huge_manifest, "it has 100000 bytes, expected at most 65536"),
        (_deep_manifest, "cannot be read (RecursionError"),
        (_device, "it is a device, expected a regular file"),
        (_other_version, f"is of export version {EXPORT_VERSION + 1}, expected {EXPORT_VERSION}: not used"),
    ],
)
def test_a_damaged_entry_is_told_of_and_not_used(
    entry: Path, model: Path, damage: Callable[[Path], None], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(model, "auto", "auto").backend == "openvino"
    damage(entry)
    assert load(model, "auto", "auto").backend == "torch"
    assert told in caplog.text


def test_a_damaged_entry_is_replaced_where_the_backend_is_named(
    entry: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _truncated(entry)
    assert_works(model)
    assert "is damaged" in caplog.text
    caplog.clear()
    assert_works(model)
    assert "is damaged" not in caplog.text
    assert list(entry.parent.iterdir()) == [entry]


@pytest.fixture
def foreign(entry: Path, other: Path) -> Path:
    """In the place of the export that of another network, whole and with a right manifest."""
    (made,) = (other / EXPORTS_FOLDER).iterdir()
    shutil.copy(made / MODEL, entry / MODEL)
    manifest = json.loads((entry / MANIFEST).read_text())
    manifest["files"][MODEL] = sha256_of([entry / MODEL])
    (entry / MANIFEST).write_text(json.dumps(manifest))
    return entry


def test_a_network_that_answers_otherwise_than_torch_is_refused(
    foreign: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for backend, who in (("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")):
        with pytest.raises(BackendError, match=rf"{who} \S+ computes something else than torch: mask_logits differs"):
            load(model, backend)
    assert load(model, "auto", "auto").backend == "torch"
    assert "not OpenVINO but torch, because OpenVINO " in caplog.text


# --- where it cannot be kept


def _blocked(folder: Path) -> Path:
    """A file in the place of a folder: what not even root can write in."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.touch()
    return folder


def test_without_a_cache_the_export_is_kept_next_to_the_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(_blocked(tmp_path / "blocked")))
    assert_works(model)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert_works(model)


def test_where_nothing_can_be_kept_a_named_backend_is_refused_and_auto_is_torch(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(_blocked(tmp_path / "blocked")))
    _blocked(model / EXPORTS_FOLDER)
    with pytest.raises(BackendError, match=r"cannot be kept in .*blocked.*, nor in .*model/exported.*XDG_CACHE_HOME"):
        load(model)
    assert load(model, "auto", "auto").backend == "torch"


def test_a_disk_that_fills_up_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond it, as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(BackendError, match="the exported network cannot be kept"):
            load(model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache" / "eomt_ros" / EXPORTS_FOLDER).iterdir()) == []
    assert list((model / EXPORTS_FOLDER).iterdir()) == []


def test_a_network_that_float32_cannot_compute_is_not_exported(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["mask_head.fc3.weight"] *= 1e38
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackendError, match="in float32 the network's mask_logits are NaN or infinite"):
        load(model)


def test_an_exporter_that_fails_is_one_line(model: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxscript.py").write_text("raise ImportError('built for another NumPy')")
    code = "import sys; from eomt_ros.cli.main import main; sys.exit(main())"
    answer = subprocess.run(
        [sys.executable, "-c", code, "export", str(model)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert answer.returncode == 1
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("eomt-ros: "))
    assert f"torch {torch.__version__} cannot export the network: " in line
    assert "Traceback" not in answer.stderr


# --- several at once


def test_processes_that_start_at_once_share_one_entry(model: Path, tmp_path: Path) -> None:
    code = "import sys; from eomt_ros.engine import Segmenter; Segmenter.load(sys.argv[1], backend='onnxruntime')"
    command = [sys.executable, "-c", code, str(model)]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
    assert len(list((tmp_path / "cache" / "eomt_ros" / EXPORTS_FOLDER).iterdir())) == 1
    assert_works(model)


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago(
    entry: Path, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(path.stat().st_size for path in entry.iterdir())
    monkeypatch.setattr(export_cache, "CACHE_BYTES", int(2.5 * size))
    unused = entry.rename(entry.with_name("unused"))
    used = Path(shutil.copytree(original / EXPORTS_FOLDER, tmp_path / "copy"))
    (found,) = used.iterdir()
    entry = Path(shutil.copytree(found, entry))
    for folder, when in ((unused, 2), (entry, 1)):
        os.utime(folder, (when, when))
    exported(load_checkpoint(original), torch.float32)  # which makes it the later used of the two
    newest = exported(load_checkpoint(write_checkpoint(tmp_path / "new", seed=1)), torch.float32)
    assert set(entry.parent.iterdir()) == {entry, newest}


def test_nothing_is_reported_to_anybody(entry: Path, model: Path) -> None:
    code = (
        "import os, sys; from eomt_ros.engine import Segmenter\n"
        "for backend in ('openvino', 'onnxruntime'): Segmenter.load(sys.argv[1], backend=backend)\n"
        "assert 'openvino_telemetry' not in sys.modules; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert answer.returncode == 0, answer.stderr
