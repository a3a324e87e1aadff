"""Where the network runs, and how torch behaves there."""

import ctypes
import os
import sys

import torch

from viadet.project.errors import UserError


def pick_device(name: str = "auto", deterministic: bool = True, tf32: bool = False) -> torch.device:
    """Choose `cuda`, `cpu`, or with `auto` CUDA when there is one.

    Args:
        name: of the device.
        deterministic: have torch use only algorithms that give the same result again, for the whole process: on CUDA
            those that torch knows, on a CPU those of AVX2. Call this before any computation, as torch decides then.
        tf32: let CUDA round the factors of float32 convolutions and products to 10 bits, for the whole process; torch
            would do so for convolutions by default.

    Raises:
        UserError: CUDA is requested but not available.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device is cuda, but torch sees no CUDA GPU here; use auto or cpu")
    device = torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
    if deterministic and torch.cpu.get_capabilities().get("avx512_f"):
        # AVX-512 code adds up in another order, so that training drifts; AVX2 is what nearly all CPUs have in common
        os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    if device.type == "cuda" and deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it before its first use
        # operations without such an algorithm cause a warning, not an error that ends the run
        torch.use_deterministic_algorithms(True, warn_only=True)
    return device


def describe_device(device: torch.device) -> str:
    """Name the GPU, or the number of threads on a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step.

    By default it returns every large activation to the system, which then clears each page again: half the time of a
    training step on two CPU cores (0.93 s against 0.55 s for eight images of 256 px), and of a detection.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):
            libc.mallopt(option, value)
