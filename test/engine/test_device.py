"""Where a network runs when a GPU is not what it should be. The GPU itself is what these tests replace."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from eomt_ros.engine import NotFiniteError, OutOfMemoryError, Segmenter, backends
from eomt_ros.engine.backends import open_backend
from eomt_ros.engine.device import (
    PRECISIONS,
    choose_device,
    choose_precision,
    dtype_after_overflow,
    expect_memory,
    is_device_failure,
    is_out_of_memory,
)
from eomt_ros.engine.model.checkpoint import Checkpoint, load_checkpoint
from test.engine.checkpoints import SMALL, write_checkpoint
from test.engine.pictures import picture

GPU = torch.device("cuda", 0)
SIZE = (64, 64)


class Gpu:
    """What torch says of a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.computes_in_bfloat16 = True
        self.free = 8 << 30
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Quadro K600")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: self.computes_in_bfloat16)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (self.free, 8 << 30))
        ones = torch.ones
        monkeypatch.setattr(torch, "ones", lambda *size, device=None, **more: ones(*size, **more))

    def fails(self, where: str, message: str) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError(message)

        self._patch.setattr(torch if where == "ones" else torch.cuda, where, fail)


@pytest.fixture
def loaded(tmp_path) -> Checkpoint:
    return load_checkpoint(write_checkpoint(tmp_path))


@pytest.fixture
def gpu(monkeypatch) -> Gpu:
    return Gpu(monkeypatch)


OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver\nmore"
OLD_GPU = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be ..."


def test_auto_takes_the_gpu_that_works(gpu, caplog):
    assert choose_device("auto") == GPU
    assert choose_device("cuda") == GPU
    assert choose_device("cuda:0") == GPU
    assert not caplog.records


@pytest.mark.parametrize(
    ("where", "message", "said"),
    [
        (
            "init",
            OLD_DRIVER,
            "no usable GPU or driver: RuntimeError: The NVIDIA driver on your system is too old",
        ),
        ("ones", OLD_GPU, "cannot compute on Quadro K600: RuntimeError: CUDA error: no kernel image is available"),
        ("ones", "CUDA error: all CUDA-capable devices are busy or unavailable", "on Quadro K600: .* busy"),
    ],
)
def test_a_gpu_that_does_not_work_is_said_with_the_reason_and_the_next_best_is_taken(gpu, caplog, where, message, said):
    gpu.fails(where, message)
    assert choose_device("auto") == torch.device("cpu")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "\n" not in record.getMessage()
    with pytest.raises(ValueError, match=f"device is 'cuda', but .*{said}.*; use 'cpu', or 'auto'"):
        choose_device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_said(gpu):
    with pytest.raises(ValueError, match=r"is 'cuda:3', but torch finds 1 CUDA device\(s\), counted from cuda:0"):
        choose_device("cuda:3")


def test_a_torch_without_cuda_is_said(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(ValueError, match="was built without CUDA; use 'cpu', or 'auto'"):
        choose_device("cuda")


def test_a_gpu_takes_float16_and_bfloat16_is_warned_of_where_it_is_emulated(gpu, caplog):
    assert choose_precision("auto", GPU) == torch.float16
    assert choose_precision("bfloat16", GPU) == torch.bfloat16
    assert not caplog.records
    gpu.computes_in_bfloat16 = False
    assert choose_precision("auto", GPU) == torch.float16
    assert choose_precision("bfloat16", GPU) == torch.bfloat16
    assert "this GPU does not compute in it" in caplog.text


def test_what_overflows_in_float16_runs_in_bfloat16_or_in_float32(gpu):
    assert dtype_after_overflow(GPU) == torch.bfloat16
    gpu.computes_in_bfloat16 = False
    assert dtype_after_overflow(GPU) == torch.float32


@pytest.fixture
def overflowing(tmp_path, monkeypatch) -> Path:
    """A model that float16 is too small for, and a CPU that "auto" computes in float16 on, as on a GPU."""
    model = write_checkpoint(tmp_path)
    weights = load_file(model / "model.safetensors")
    weights["embeddings.patch_embeddings.projection.weight"] *= 1e7
    save_file(weights, model / "model.safetensors")
    monkeypatch.setattr(backends, "choose_precision", lambda precision, _: PRECISIONS.get(precision, torch.float16))
    return model


def test_a_network_that_overflows_in_float16_goes_on_in_another_precision(overflowing, caplog):
    segmenter = Segmenter.load(overflowing, device="cpu", backend="torch")
    stream = segmenter.open_stream()
    assert segmenter.precision == "float16"
    image = picture(60, 80, 0)
    with pytest.raises(NotFiniteError, match="frames run in float32 from now on"):
        segmenter.segment(image, stream)
    assert segmenter.precision == "float32"
    expected = Segmenter.load(overflowing, device="cpu", backend="torch", precision="float32")
    found, other = segmenter.segment(image, stream), expected.segment(image, expected.open_stream())
    assert found.segments == other.segments
    assert np.array_equal(found.semantic, other.semantic)


def test_warming_up_finds_another_precision_before_the_first_real_frame(overflowing, caplog):
    segmenter = Segmenter.load(overflowing, device="cpu", backend="torch")
    segmenter.warm_up(60, 80)
    assert segmenter.precision == "float32"
    assert "frames run in float32 from now on" in caplog.text


def test_a_precision_that_was_asked_for_by_name_is_kept(overflowing):
    segmenter = Segmenter.load(overflowing, device="cpu", backend="torch", precision="float16")
    for _ in range(2):
        with pytest.raises(NotFiniteError, match=r"try precision float32$"):
            segmenter.segment(picture(60, 80, 0), segmenter.open_stream())
    assert segmenter.precision == "float16"


def test_a_gpu_that_others_have_filled_is_said_with_figures(gpu):
    gpu.free = 100 << 20
    expect_memory(GPU, 100 << 20)
    with pytest.raises(OutOfMemoryError, match=r"has 100 of 8192 MiB left, .* take 606 MiB: free it"):
        expect_memory(GPU, 606 << 20)


@pytest.mark.parametrize(
    ("said", "out_of_memory", "lost"),
    [
        ("CUDA error: an illegal memory access was encountered", False, True),
        ("CUDA error: unspecified launch failure", False, True),
        ("CUDA error: uncorrectable ECC error encountered", False, True),
        ("CUDA error: out of memory", True, False),
        ("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory", True, False),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True, False),
        ("CUDA error: invalid argument", False, False),
        ("CUDA error: operation not permitted when stream is capturing", False, False),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", False, False),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False, True),
        ("The size of tensor a (3) must match the size of tensor b (4)", False, False),
    ],
)
def test_a_device_that_fails_one_that_is_full_and_one_that_was_asked_wrongly_are_told_apart(said, out_of_memory, lost):
    error = RuntimeError(said)
    assert (is_out_of_memory(error), is_device_failure(error)) == (out_of_memory, lost)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_model_that_a_full_gpu_has_no_room_for_runs_on_the_cpu_only_where_that_was_left_open(
    loaded, gpu, caplog, device
):
    gpu.free = 1000
    if device == "cuda":
        with pytest.raises(OutOfMemoryError, match="MiB left"):
            open_backend(loaded, "torch", device, "auto", SIZE)
        return
    opened = open_backend(loaded, "torch", device, "float32", SIZE)
    assert opened.device == torch.device("cpu")
    assert "running on the CPU, because cuda:0 has 0 of 8192 MiB left" in caplog.text
    pixels = torch.zeros(1, 3, SMALL["image_size"], SMALL["image_size"])
    assert opened(pixels, opened.first_queries).mask_logits.isfinite().all()


def test_a_gpu_that_fills_up_while_weights_are_moved_leaves_the_cpu_the_checkpoints_own(loaded, gpu, monkeypatch):
    pixels = torch.randn(1, 3, SMALL["image_size"], SMALL["image_size"])
    reference = open_backend(load_checkpoint(loaded.folder), "torch", "cpu", "float32", SIZE)
    expected = reference(pixels, reference.first_queries)

    def to(network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> nn.Module:
        if device.type == "cpu":
            return network
        for weight in network.parameters():
            weight.data = weight.data.bfloat16().to(dtype)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(nn.Module, "to", to)
    opened = open_backend(loaded, "torch", "auto", "float32", SIZE)
    assert opened.device == torch.device("cpu")
    for one, other in zip(opened(pixels, opened.first_queries), expected, strict=True):
        assert torch.equal(one, other)


class Convolutions(TorchDispatchMode):
    """Whether each convolution that torch is asked for may round its factors to ten bits on CUDA."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[bool] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function is torch.ops.aten.convolution.default:
            self.rounds.append(torch.backends.cudnn.allow_tf32)
        if function is torch.ops.aten._convolution.default:
            self.rounds.append(arguments[-1])
        return function(*arguments, **(options or {}))


def test_the_reference_on_a_gpu_rounds_nothing_and_leaves_torchs_switch_as_the_user_has_it(loaded, gpu, monkeypatch):
    pixels = torch.randn(1, 3, SMALL["image_size"], SMALL["image_size"])
    on_cpu = open_backend(loaded, "torch", "cpu", "float32", SIZE)
    expected = on_cpu(pixels, on_cpu.first_queries)
    monkeypatch.setattr(nn.Module, "to", lambda network, **_: network)  # there is no GPU to move it to
    on_gpu = open_backend(loaded, "torch", "cuda", "float32", SIZE)
    with Convolutions() as convolutions:
        found = on_gpu(pixels, on_gpu.first_queries)
    assert convolutions.rounds == [False] * 5  # of patches, and two in each of two upscaling blocks
    assert torch.backends.cudnn.allow_tf32
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
