"""Measure time and memory of convert, training's loader and evaluate on many images.

Run     python tests/measure_scale.py [IMAGES ...] (1250 2500 5000 in each split); prints a table

The images are the rendered sample's 160, linked under as many names as it takes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from projects import run_module, write_params

PARAMS = {"train.device": "cpu", "train.epochs": 1, "train.warmup_epochs": 0}
EPOCH = """
import torch
from pathlib import Path
from viadet.augmentation.training_set import TrainingSet
from viadet.project.params import read_recipe
from viadet.training.loader import make_loader
recipe = read_recipe()
images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), recipe.train, (256, 256), (0, 0, 0))
loader = make_loader(images, recipe.train, torch.device("cpu"), first_epoch=0)
print(sum(len(batch) for batch, _ in loader), "samples")
"""
MODEL = """
import torch
from pathlib import Path
from viadet.network.build import build_network, make_spec
from viadet.network.weights import save_network
from viadet.project.params import read_recipe
torch.manual_seed(0)
recipe = read_recipe()
spec = make_spec(recipe.model, ["balloon"])
network = build_network(spec)
torch.nn.init.constant_(network.class_net.predict.conv_pw.bias, 0.0)  # as many detections as there can be
Path("data/model").mkdir()
save_network(network, spec, Path("data/model"))
"""
STEPS = {
    "convert, both splits": ["-m", "stages.convert"],
    "decoding, and an epoch of training's loader": ["-c", EPOCH],
    "evaluate, 100 detections an image": ["-m", "stages.evaluate"],
}


def multiply(folder: Path, images: int) -> None:
    """Link a split's images, with their annotations, until there are enough."""
    path = next(folder.glob("*.json"))
    entries = list(json.loads(path.read_text(encoding="utf-8")).values())
    many = {}
    for number in range(images):
        entry = entries[number % len(entries)]
        name = f"{number:05d}_{entry['filename']}"
        (folder / name).hardlink_to(folder / entry["filename"])
        many[name] = entry | {"filename": name}
    path.write_text(json.dumps(many), encoding="utf-8")


def measured(command: list[str]) -> str:
    """Run a command; seconds, and the most MiB that it and its workers had to themselves, and mapped from files."""
    started = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    own = mapped = 0
    while process.poll() is None:
        anonymous, files = [], []
        for one in [process, *process.children(recursive=True)]:
            try:
                status = dict(
                    line.split(":", 1)
                    for line in Path(f"/proc/{one.pid}/status").read_text(encoding="utf-8").splitlines()
                )
                anonymous.append(int(status["RssAnon"].split()[0]))
                files.append(int(status["RssFile"].split()[0]))
            except (OSError, KeyError):  # it has just ended
                continue
        own, mapped = max(own, sum(anonymous)), max(mapped, max(files, default=0))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.stderr.read().decode())
    return f"{time.perf_counter() - started:.0f} | {own / 1024:.0f} | {mapped / 1024:.0f}"


def main() -> None:
    """Measure each step at each number of images."""
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    print("| images | step | seconds | memory of its own [MiB] | mapped from files [MiB] |\n|---|---|---|---|---|")
    for images in map(int, sys.argv[1:] or ("1250", "2500", "5000")):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            os.chdir(folder)
            write_params(PARAMS)
            result = run_module("fetch")
            if result.returncode:
                sys.exit(result.stderr)
            for split in ("train", "val"):
                multiply(Path("data/raw", split), images)
            subprocess.run([sys.executable, "-c", MODEL], check=True)
            for name, arguments in STEPS.items():
                print(f"| {images} | {name} | {measured([sys.executable, *arguments])} |", flush=True)
            os.chdir("/")


if __name__ == "__main__":
    main()
