"""Choosing the device; the same bytes on CPUs of different kinds."""

import os
import subprocess
import sys

import pytest
import torch

from viadet.network.device import describe_device, pick_device
from viadet.project.errors import UserError

CPU = torch.device("cpu")


def test_cuda_without_a_gpu_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"train\.device is cuda, but torch sees no CUDA GPU here"):
        pick_device("cuda")
    assert pick_device("auto") == CPU


def test_tf32_is_off_unless_asked_for():
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    pick_device("cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    pick_device("cpu", tf32=True)
    assert torch.backends.cudnn.allow_tf32
    assert torch.backends.cuda.matmul.allow_tf32
    pick_device("cpu")


def test_a_cpu_is_described_by_its_threads():
    assert describe_device(CPU) == f"cpu, {torch.get_num_threads()} threads"


def gradients(deterministic: bool, **environment: str) -> str:
    """Hash a convolution's gradients in a new process, as torch chooses its CPU code at the first operation."""
    code = f"""if True:
        import hashlib, torch
        from viadet.network.device import pick_device
        pick_device("cpu", deterministic={deterministic})
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(32, 32, 3)
        layer(torch.randn(4, 32, 64, 64)).square().mean().backward()
        print(hashlib.sha256(layer.weight.grad.numpy().tobytes()).hexdigest())
    """
    chosen = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
    without = {name: value for name, value in os.environ.items() if name not in chosen}
    result = subprocess.run([sys.executable, "-c", code], env=without | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_cpu_with_avx512_computes_the_same_bytes_as_one_without():
    if not torch.cpu.get_capabilities().get("avx512_f"):
        pytest.skip("this CPU has no AVX-512")
    without = gradients(False, ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2")
    assert gradients(True) == without
    assert gradients(False) != without
