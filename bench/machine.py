"""The machine that the figures were measured on, and the memory that this process has of it."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
from pathlib import Path

import psutil
import torch

from eomt_ros.evaluation.provenance import processor

FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "BF16",
}
"""Processor features that decide the speed of matrix products: Linux's name -> the usual one."""


def describe() -> dict[str, str | int | float]:
    """Processor, cores, memory and versions; the processor's name stands for the machine, whose own name says nothing
    to others.
    """
    return {
        "processor": " ".join([processor(), *_generation()]),
        "features": ", ".join(word for flag, word in FEATURES.items() if flag in _flags()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
    }


def slug() -> str:
    """A file name for the machine: its GPU, else its processor and the number of cores."""
    machine = describe()
    name = machine["gpu"] or f"{machine['processor']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-")


def resident() -> float:
    """MiB of memory that this process has, without what is freed and kept by the C library: up to 17 MiB."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 2**20


def _generation() -> list[str]:
    """What tells a processor of a virtual machine, where its name is the maker's, from the next generation's."""
    return [f"{entry.rpartition(' ')[2]} {value}" for entry in ("cpu family", "model") if (value := _cpuinfo(entry))]


def _flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(entry: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.split(":")[0].strip() == entry:
            return line.partition(":")[2].strip()
    return ""
