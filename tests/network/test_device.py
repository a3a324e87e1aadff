"""Choosing the device; the same bytes on CPUs of different kinds."""

import os
import subprocess
import sys

import pytest
import torch
from projects import repository_params

from viadet.network.device import (
    agrees_with_cpu,
    default_workers,
    describe_device,
    pick_device,
    pick_precision,
    train_device,
)
from viadet.project.errors import UserError
from viadet.project.params import TrainParams

CPU = torch.device("cpu")


def test_cuda_without_a_gpu_is_an_error():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=r"^device is cuda, but torch sees no CUDA GPU here"):
        pick_device("cuda")
    assert pick_device("auto").type in ("cpu", "mps")


def test_an_error_of_the_device_in_params_names_the_param(monkeypatch):
    params = repository_params()["sample"]["train"] | {"device": "cuda"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^train\.device is cuda, but torch sees no CUDA GPU here"):
        train_device(TrainParams.model_validate(params))


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


@pytest.mark.parametrize(
    ("cores", "gpus", "processes", "workers"),
    [
        (2, 1, 1, 1),
        (1, 1, 1, 1),
        (17, 1, 1, 16),
        (64, 1, 1, 63),
        (64, 8, 8, 7),
        (64, 8, 1, 7),
        (64, 1, 4, 15),
        (6, 8, 8, 1),
    ],
)
def test_workers_are_a_gpus_share_of_the_cores_that_the_process_may_use(monkeypatch, cores, gpus, processes, workers):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)  # of the machine
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert default_workers(torch.device("cuda"), processes) == workers
    assert default_workers(CPU, processes) == 1
    monkeypatch.delattr(os, "sched_getaffinity")  # Windows and macOS
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_workers(torch.device("cuda"), processes) == workers


def gradients(deterministic: bool, threads: tuple = ("auto",), cores: int = 0, **environment: str) -> list[str]:
    """Hash a layer's gradients for some numbers of threads, in a new process: torch chooses its CPU code only once."""
    code = f"""if True:
        import hashlib, os
        if {cores}:
            os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:{cores}])
        import torch
        from viadet.network.device import pick_device
        for threads in {threads!r}:
            pick_device("cpu", deterministic={deterministic}, threads=threads)
            torch.manual_seed(0)
            layers = torch.nn.Sequential(torch.nn.Conv2d(32, 64, 3), torch.nn.BatchNorm2d(64))
            images = torch.randn(4, 32, 64, 64).to(memory_format=torch.channels_last)
            layers.to(memory_format=torch.channels_last)(images).pow(3).mean().backward()
            turned = torch.randn(5000, 3) @ torch.randn(3, 2)  # by MKL, as torchvision turns images
            computed = [turned.exp(), *(parameter.grad for parameter in layers.parameters())]
            print(hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in computed)).hexdigest())
    """
    chosen = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    without = {name: value for name, value in os.environ.items() if name not in chosen}
    environment["OMP_WAIT_POLICY"] = "passive"  # more threads than cores would spend their time waiting
    result = subprocess.run([sys.executable, "-c", code], env=without | environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.slow
def test_a_cpu_with_avx512_computes_the_same_bytes_as_one_without():
    if not torch.cpu.get_capabilities().get("avx512_f"):
        pytest.skip("this CPU has no AVX-512")
    without = gradients(False, (2,), ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_CBWR="COMPATIBLE")
    assert gradients(True, (2,)) == without
    assert gradients(False, (2,)) != without
    natively = gradients(True, ("auto",), OMP_NUM_THREADS="2")  # whose bytes are those of one machine anyway
    assert natively == gradients(True, ("auto",), OMP_NUM_THREADS="2") != without


def test_precision_is_chosen_by_device_and_param(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # no AMX
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [pick_precision(name, cpu) for name in ("auto", "fp32", "bf16", "fp16")] == [
        torch.float32,
        torch.float32,
        torch.bfloat16,
        torch.float16,
    ]
    assert pick_precision("fp32", cuda) == torch.float32
    for has_bf16, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, it=has_bf16: it)
        assert pick_precision("auto", cuda) == expected


@pytest.mark.parametrize(
    ("capabilities", "environment", "expected"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, {}, torch.float32),
        ({"avx512_bf16": True, "amx_bf16": False}, {}, torch.bfloat16),
        ({"avx512_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "avx512_core"}, torch.float32),
        ({"amx_bf16": True}, {}, torch.bfloat16),
        ({"amx_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "avx512_core_amx"}, torch.bfloat16),
        ({"amx_bf16": True}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, torch.float32),  # as `pick_device` sets it
        ({"neon": True}, {}, torch.float32),
    ],
)
def test_a_cpu_trains_in_bfloat16_if_it_has_instructions_for_it_and_may(
    monkeypatch, capabilities, environment, expected
):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert pick_precision("auto", CPU) == expected
    assert pick_precision("fp32", CPU) == torch.float32


@pytest.mark.slow
@pytest.mark.needs("affinity")
def test_a_number_of_threads_gives_its_bytes_on_any_number_of_cores():
    one, two, four, again = gradients(True, (1, 2, 4, 2))
    assert len({one, two, four}) == 3  # else this test shows nothing
    assert again == two
    assert gradients(True, (2,), cores=1, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1") == [two]
    assert gradients(True, (2,), OMP_NUM_THREADS="4", MKL_NUM_THREADS="4") == [two]


def test_threads_are_set_unless_torch_chooses():
    before = torch.get_num_threads()
    try:
        pick_device("cpu", threads=3)
        assert describe_device(CPU) == "cpu, 3 threads"
        pick_device("cpu", threads="auto")
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def mac(monkeypatch):
    """A stand-in for a Mac: what is moved to `mps` is multiplied by `error[0]` and stays on the CPU."""
    error, move = [1.0], torch.Tensor.to

    def move_to_mps(tensor, *args, **kwargs):
        if args and args[0] == torch.device("mps"):
            return move(tensor * error[0], CPU, *args[1:], **kwargs)
        return move(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", move_to_mps)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return error


@pytest.mark.parametrize(("error", "chosen"), [(1.0, "mps"), (1.000001, "mps"), (1.01, "cpu"), (float("nan"), "cpu")])
def test_a_mac_is_chosen_only_if_it_computes_what_the_cpu_does(mac, error, chosen):
    mac[0] = error
    state = torch.get_rng_state()
    assert pick_device("auto").type == chosen
    assert pick_device("mps").type == "mps"
    assert torch.equal(torch.get_rng_state(), state)


def test_a_device_without_the_operations_disagrees_with_the_cpu():
    assert agrees_with_cpu(CPU)
    assert not agrees_with_cpu(torch.device("meta"))


def test_mps_without_a_mac_is_an_error():
    if torch.backends.mps.is_available():
        pytest.skip("this is a Mac")
    with pytest.raises(UserError, match=r"^device is mps, but torch sees no GPU of a Mac here"):
        pick_device("mps")
