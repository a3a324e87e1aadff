"""What only a CUDA GPU can show, for `pytest -m cuda`; without the mark, the same code runs tiny on the CPU."""

import csv
import importlib
import math
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from projects import SMALL, read, write_params

from stages import convert, fetch, train
from viadet.network.weights import WEIGHTS_NAME
from viadet.training import trainer

STAGES = ("visualise", "train", "evaluate", "feature_maps", "grad_cam")
LARGER = {  # for a GPU: the sample's own size, a few epochs
    "fetch.rendered.train_images": 64,
    "fetch.rendered.val_images": 16,
    "fetch.rendered.image_size": 256,
    "model.image_size": 256,
    "train.epochs": 4,
    "train.threads": "auto",
}
LOSS_TOLERANCE = 0.01  # relative, of an epoch's mean loss in float32: only the order of sums differs
MAX_GIB = 24  # of the memory of an RTX 4090
OUTPUTS = (train.MODEL_DIR / WEIGHTS_NAME, train.METRICS_PATH, train.PLOTS_DIR / "loss.csv")

pytestmark = pytest.mark.xdist_group("cuda")


def prepare(device: str, recipe: str = "sample", **changes: object) -> None:
    """Write the params for a device, then fetch and convert."""
    sizes = LARGER if device == "cuda" else {}
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    write_params(SMALL | sizes | {"train.device": device} | changes, recipe)
    if not fetch.RAW_DIR.exists():
        fetch.main()
        convert.main()


def losses() -> list[float]:
    with (train.PLOTS_DIR / "loss.csv").open(encoding="utf-8") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_losses_are_those_of_the_cpu(project, device, measured):
    prepare(device, train__precision="fp32")
    train.main()
    on_device = losses()
    prepare(device, train__precision="fp32", train__device="cpu")
    train.main()
    differences = [abs(ours / cpus - 1) for ours, cpus in zip(on_device, losses(), strict=True)]
    measured("largest relative difference of an epoch's loss to the CPU's, float32", f"{max(differences):.2e}")
    assert differences[0] < LOSS_TOLERANCE
    prepare(device)
    train.main()
    mixed = abs(losses()[0] / on_device[0] - 1)
    measured("the same of the first epoch in mixed precision, to float32", f"{mixed:.2e}")
    assert mixed < 10 * LOSS_TOLERANCE


def test_deterministic_training_gives_the_same_bytes_twice(project, device, measured):
    rates = {}
    for deterministic in (False, True):
        prepare(device, train__deterministic=deterministic)
        train.main()  # the first time, libraries are loaded and algorithms chosen
        first = [path.read_bytes() for path in OUTPUTS]
        train.main()
        same = [path.read_bytes() for path in OUTPUTS] == first
        rates[deterministic] = read("metrics/timing.json")["images_per_second"]
        measured(f"deterministic: {deterministic}", f"{rates[deterministic]} images/s, same bytes twice: {same}")
    assert same
    measured("cost of deterministic", f"{rates[False] / rates[True] - 1:+.0%} of the time")


def test_a_step_in_one_graph_is_the_step_started_kernel_by_kernel(project, device, measured, monkeypatch, capsys):
    results = {}
    for kind in ("graph", "kernels"):
        prepare(device, train__small_share=0.5)  # two sizes of inputs
        train.main()
        assert "can't capture" not in capsys.readouterr().out
        results[kind] = losses(), OUTPUTS[0].read_bytes(), read("metrics/timing.json")["images_per_second"]
        monkeypatch.setattr(trainer, "StepGraphs", lambda backward, network: None)
    (graph_losses, graph_bytes, graph_rate), (losses_by_kernel, kernel_bytes, kernel_rate) = results.values()
    measured(
        "steps in one graph", f"{graph_rate / kernel_rate:.2f} times as fast, same bytes: {graph_bytes == kernel_bytes}"
    )
    assert graph_losses == pytest.approx(losses_by_kernel, rel=LOSS_TOLERANCE)


def test_every_stage_runs(project, device, measured):
    prepare(device, evaluate__score_threshold=0.0)
    for name in STAGES:
        started = time.perf_counter()
        importlib.import_module(f"stages.{name}").main()
        measured(
            f"stage {name}, {'64 + 16' if device == 'cuda' else '6 + 3'} images",
            f"{time.perf_counter() - started:.1f} s",
        )
    assert math.isfinite(read("metrics/train.json")["loss"])
    assert (read("metrics/timing.json")["device"].startswith("cpu")) == (device == "cpu")
    assert len(list(Path("plots/grad_cam/images").iterdir())) > 0


def test_a_training_of_balloon_gpu_fits(project, device, measured):
    rendered = {"train_images": 32, "val_images": 4, "image_size": 1024, "seed": 0}
    own = {"train.device": "cuda", "train.epochs": 3, "train.validate_every": 3, "train.augment.plain_epochs": 0}
    tiny = SMALL | {"model.name": "tf_efficientdet_lite0"}
    changes = {"fetch.source": "rendered", "fetch.manifest": None, "fetch.rendered": rendered, "model.init": "random"}
    write_params(changes | (own if device == "cuda" else tiny), "balloon_gpu")
    fetch.main()
    convert.main()
    train.main()
    assert math.isfinite(read("metrics/train.json")["loss"])
    if device == "cuda":
        peak = torch.cuda.max_memory_reserved() / 2**30
        measured("peak memory of balloon_gpu", f"{peak:.1f} GiB")
        assert peak < MAX_GIB


def test_a_process_for_each_gpu_has_the_losses_of_one(project, device, measured):
    if device == "cpu":
        pytest.skip("tests/training/test_processes.py runs this on a CPU")
    if torch.cuda.device_count() < 2:
        pytest.skip("torch sees a single GPU")
    prepare(device, train__precision="fp32")
    train.main()
    single, rate = losses(), read("metrics/timing.json")["images_per_second"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, "-m", "stages.train"], check=True)
    differences = [abs(ours / theirs - 1) for ours, theirs in zip(losses(), single, strict=True)]
    measured("largest relative difference of an epoch's loss in two processes to one", f"{max(differences):.2e}")
    measured("rate of two GPUs", f"{read('metrics/timing.json')['images_per_second'] / rate:.2f} times that of one")
    assert differences[0] < LOSS_TOLERANCE


def test_a_compiled_network_has_the_losses_of_the_other(project, device, measured):
    if device == "cpu":
        pytest.skip("minutes on a CPU; tests/training/test_bench.py compiles a small network")
    runs = {}
    for compiled in (False, True):
        prepare(device, train__precision="fp32", train__compile=compiled)
        train.main()
        runs[compiled] = losses(), read("metrics/timing.json")["images_per_second"]
    measured("rate with train.compile, first step included", f"{runs[True][1] / runs[False][1]:.2f} times that without")
    assert abs(runs[True][0][0] / runs[False][0][0] - 1) < LOSS_TOLERANCE


def kill_with_workers(process: subprocess.Popen) -> None:
    workers = psutil.Process(process.pid).children(recursive=True)
    for each in (process, *workers):
        each.kill()
    process.wait()


def test_a_killed_training_continues_to_the_same_bytes(project, device, measured):
    if device == "cpu":
        pytest.skip("tests/training/test_resume.py runs this on a CPU")
    prepare(device, train__epochs=12, train__validate_every=4)
    train.main()
    undisturbed = [path.read_bytes() for path in OUTPUTS]
    for path in OUTPUTS:
        path.unlink()
    with Path("log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, "-m", "stages.train"], stdout=log, stderr=log)
        while not list(Path("data/checkpoint").glob("*/epoch_*.pt")):
            assert process.poll() is None, Path("log").read_text(encoding="utf-8")
            time.sleep(0.001)
        kill_with_workers(process)
    train.main()
    same = [path.read_bytes() for path in OUTPUTS] == undisturbed
    measured("killed and resumed: the same bytes", same)
    assert same
