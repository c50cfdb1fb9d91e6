"""Probe the machine: accelerator, memory, number formats and their measured speed, 4-bit support."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time

import psutil

from studio.domain.machine import Device, Machine

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "tokenizers",
    "safetensors",
    "gradio",
    "pandas",
)
_SIZE = 1024
"""Edge of the square matrices multiplied to measure FLOP/s; so large that the product, not the call, takes the time."""


def versions() -> dict[str, str]:
    """Installed versions of what a run depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def default_device() -> Device:
    """The fastest that this torch can use."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def probe() -> Machine:
    """Look at this machine; takes some seconds, most of them to import torch."""
    import torch

    device = default_device()
    problems = []
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        dtypes = (
            ("bfloat16", "float32", "float16") if torch.cuda.is_bf16_supported() else ("float16", "float32")
        )
    else:
        memory = psutil.virtual_memory()
        free, total = memory.available, memory.total
        name = _processor() if device == "cpu" else "Apple GPU"
        dtypes = ("float32", "bfloat16")
    if device == "cpu" and _has_nvidia():
        problems.append(
            "An NVIDIA GPU is present, but this PyTorch build cannot use it: install the CUDA build of torch "
            f"{torch.__version__.split('+')[0]}."
        )
    can_qlora = _four_bit()
    if not can_qlora and sys.platform != "darwin":
        problems.append(
            "bitsandbytes cannot be used here, so there is no QLoRA: reinstall it, or choose LoRA."
        )
    return Machine(
        device=device,
        name=name,
        memory_bytes=total,
        free_bytes=free,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        dtypes=dtypes,
        can_qlora=can_qlora,
        flops={dtype: _matmul_flops(device, dtype) for dtype in dtypes},
        versions=versions(),
        problems=tuple(problems),
    )


_SLOW = 0.25
"""Seconds for a product of half the width, from which the real one would take more than two."""


def _matmul_flops(device: str, dtype: str) -> float:
    """FLOP/s of a square matrix product, the best of several, as a training step's inner work.

    A processor without instructions for a number format takes seconds for one product: a small one tells that too.
    """
    size = _SIZE if device == "cpu" else 8 * _SIZE
    small = _product_seconds(device, dtype, size // 2)
    if small > _SLOW:
        return 2 * (size // 2) ** 3 / small
    return 2 * size**3 / _product_seconds(device, dtype, size)


def _product_seconds(device: str, dtype: str, size: int) -> float:
    import torch

    a = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - start)
        if best > _SLOW:
            break
    return best


def _four_bit() -> bool:
    """Whether bitsandbytes quantises and multiplies in NF4 on this device: tried, not guessed."""
    import torch

    try:
        import bitsandbytes
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        device = "cuda" if torch.cuda.is_available() else "cpu"
        packed, state = quantize_4bit(torch.ones(64, 64, device=device), quant_type="nf4")
        return bool(bitsandbytes.__version__) and bool(
            torch.allclose(dequantize_4bit(packed, state).cpu(), torch.ones(64, 64))
        )
    except (ImportError, RuntimeError, NotImplementedError, OSError, AttributeError):
        return False


def _has_nvidia() -> bool:
    return os.path.exists("/proc/driver/nvidia/version") or os.path.exists("/dev/nvidia0")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
