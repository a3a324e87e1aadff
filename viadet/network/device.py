"""Where the network runs, and how torch behaves there."""

import ctypes
import os
import sys

import torch
from torch import nn

from viadet.project.errors import UserError
from viadet.project.params import TrainParams


def pick_device(
    name: str = "auto", deterministic: bool = True, tf32: bool = False, threads: int | str = "auto"
) -> torch.device:
    """Choose a device as `find_device` does, and how torch computes there.

    Args:
        deterministic: have torch use only algorithms that give the same result again, for the whole process: on CUDA
            those that torch knows; on a CPU, with a number of threads, those of AVX2, of SSE2 in MKL, which other CPUs
            have, too. Call this before any computation, as torch decides then.
        tf32: let CUDA round the factors of float32 convolutions and products to 10 bits, for the whole process; torch
            would do so for convolutions by default.
        threads: number of threads on a CPU, for the whole process, or `auto`: torch's own choice, all cores. Sums are
            split between threads, so that each number gives other bytes, but these on any number of cores. With `auto`
            the bytes are those of one machine anyway, so that it uses all instructions that it has.

    Raises:
        UserError: CUDA or MPS is requested but not available.
    """
    device = find_device(name)
    if threads != "auto":
        torch.set_num_threads(threads)
    if deterministic:
        on_any_cpu = threads != "auto"
        # MKL, by which logarithms are taken, has other code for AMD's CPUs than for Intel's; with AUTO, too, but the
        # same in each run
        os.environ.setdefault("MKL_CBWR", "COMPATIBLE" if on_any_cpu else "AUTO")
        if on_any_cpu and torch.cpu.get_capabilities().get("avx512_f"):
            # AVX-512 code adds up in another order, so training drifts; AVX2 is what nearly all CPUs have in common
            os.environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
            os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    if device.type == "cuda" and deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS wants it before its first use
        # operations without such an algorithm cause a warning, not an error that ends the run
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a kernel for each tensor, which all is written to
    return device


def train_device(params: TrainParams) -> torch.device:
    """Choose the device of the section `train`, as `pick_device`.

    Raises:
        UserError: it is not available; names the param.
    """
    try:
        return pick_device(params.device, params.deterministic, params.tf32, params.threads)
    except UserError as error:
        raise UserError(f"train.{error}") from None


def find_device(name: str) -> torch.device:
    """Find a device by torch's name; for `auto` the first of `cuda`, `mps`, if it computes rightly, and `cpu`.

    Raises:
        UserError: it is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = torch.device("mps")
        return mps if torch.backends.mps.is_available() and agrees_with_cpu(mps) else torch.device("cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("device is cuda, but torch sees no CUDA GPU here; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device is mps, but torch sees no GPU of a Mac here; use auto or cpu")
    return device


def agrees_with_cpu(device: torch.device) -> bool:
    """Tell whether a small forward and backward pass gives the same on a device as on the CPU, but for rounding.

    An operation that the device lacks is a disagreement too.
    """
    expected = _small_pass(torch.device("cpu"))
    try:
        computed = _small_pass(device)
    except RuntimeError:  # also NotImplementedError
        return False
    pairs = zip(computed, expected, strict=True)
    return all(bool((value - other).abs().max() <= 1e-3 * other.abs().max()) for value, other in pairs)


def _small_pass(device: torch.device) -> list[torch.Tensor]:
    # layers of the kinds that an EfficientDet has; output and gradients; the generator's state stays as it was
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        images = torch.randn(2, 3, 32, 32)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(8, 4, 1),
            nn.Sigmoid(),
        )
    layers.to(device, memory_format=torch.channels_last)
    output = layers(images.to(device).to(memory_format=torch.channels_last))
    output.square().sum().backward()
    return [output.detach().cpu(), *(parameter.grad.cpu() for parameter in layers.parameters())]


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Look up the type that autocast computes in: `bf16`, `fp16`, `fp32`.

    `auto` is bfloat16 on CUDA, float16 on GPUs that have no bfloat16 (before Ampere), bfloat16 on a CPU that has
    instructions for it and may use them, and float32 elsewhere. Call this after `pick_device`, which may forbid them.
    """
    if name == "auto" and device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if name == "auto" and device.type == "cpu" and has_bfloat16():
        return torch.bfloat16
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name, torch.float32)


def has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 itself (AMX, AVX-512) and the environment lets oneDNN have it do so.

    Other CPUs convert each number, which is slower than float32.
    """
    capabilities = torch.cpu.get_capabilities()
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    is_allowed = most == "DEFAULT" or "BF16" in most or "AMX" in most
    return is_allowed and any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16"))


def default_workers(device: torch.device, processes: int = 1) -> int:
    """Choose the number of processes that prepare images for each of some processes that share this machine.

    On a CPU it is one, as the network needs the cores; else a GPU's share of the cores that this process may use.
    """
    if device.type == "cpu":
        return 1
    return max(1, (usable_cores() - 1) // max(processes, torch.cuda.device_count()))


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_device(device: torch.device) -> str:
    """Name the GPU, or the number of threads on a CPU."""
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step, of whatever thread.

    By default it returns every large activation to the system, which then clears each page again: half the time of a
    training step on two CPU cores (0.93 s against 0.55 s for eight images of 256 px), and of a detection. The threads
    that decode images would each keep memory of their own (130 MB for two, of 2,000 px).
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28), (-8, 1)):
            libc.mallopt(option, value)
