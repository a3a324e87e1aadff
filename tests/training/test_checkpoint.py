"""States on disk: kept, read back, and recognised by their training's key."""

import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from projects import REPOSITORY

from viadet.training.checkpoint import Checkpoints, newest_state, save_state


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    (tmp_path / "epoch_00001.pt").write_bytes(pickle.dumps(Evil()))
    assert newest_state(tmp_path, "key") is None
    assert not (tmp_path / "evil").exists()


def test_the_two_newest_states_are_kept_and_read_back(tmp_path):
    for epoch in (1, 2, 3):
        save_state(tmp_path, {"values": torch.arange(epoch), "name": "x"}, epoch, "key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_00002.pt", "epoch_00003.pt"]
    state = newest_state(tmp_path, "key")
    assert (state["epoch"], state["name"], state["values"].tolist()) == (3, "x", [0, 1, 2])
    assert newest_state(tmp_path, "other key") is None
    assert newest_state(tmp_path / "absent", "key") is None


def test_saving_takes_at_most_a_twentieth_of_the_time_but_the_last_epoch_is_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, "key")
    checkpoints.save_if_due(dict, 1, is_last=False)
    checkpoints.saving_seconds = 3600.0  # as if it had taken an hour
    checkpoints.save_if_due(dict, 2, is_last=False)
    assert checkpoints.newest()["epoch"] == 1
    checkpoints.save_if_due(dict, 3, is_last=True)
    assert checkpoints.newest()["epoch"] == 3
    assert checkpoints.newest_path() == tmp_path / "key/epoch_00003.pt"


def test_a_finished_training_leaves_the_checkpoints_of_others_and_tells_their_newest(tmp_path):
    mine, other = (Checkpoints(tmp_path / "checkpoint", key) for key in ("mine", "other"))
    for epoch in (1, 2):
        other.save_if_due(dict, epoch, is_last=True)
    mine.save_if_due(dict, 1, is_last=True)
    assert mine.others() == [tmp_path / "checkpoint/other/epoch_00002.pt"]
    mine.remove()
    assert other.newest()["epoch"] == 2
    assert mine.newest() is None
    other.remove()
    assert not (tmp_path / "checkpoint").exists()


KEYS = """
import os, sys
from pathlib import Path
import viadet.augmentation.augment
from viadet.training.checkpoint import training_key

opened = set()
sys.addaudithook(lambda event, arguments: opened.add(str(arguments[0])) if event == "open" else None)

def key(settings):
    opened.clear()
    return training_key(settings, [Path("data/raw")])

image, hashes = Path("data/raw/a.jpg"), Path("data/hashes.json")
print(key({}), key({"lr": 1}))
assert str(image) not in opened  # its hash is known
times = image.stat().st_atime_ns, image.stat().st_mtime_ns
Path("data/other.jpg").write_bytes(b"PIXELS")
os.utime("data/other.jpg", ns=times)
os.replace("data/other.jpg", image)  # without DVC, of the same size and time
print(key({}))
image.write_bytes(b"pixels")
print(key({}))
assert str(image) in opened
hashes.write_text(hashes.read_text()[:20])
print(key({}))
with Path("viadet/augmentation/augment.py").open("a") as file:
    file.write("# changed\\n")
print(key({}))
"""


def keys_in(folder: Path) -> list[str]:
    shutil.copytree(REPOSITORY / "viadet", folder / "viadet")
    (folder / "data/raw").mkdir(parents=True)
    (folder / "data/raw/a.jpg").write_bytes(b"pixels")
    environment = {**os.environ, "PYTHONPATH": "", "PYTHONHASHSEED": str(random.randrange(1000))}
    command = [sys.executable, "-c", KEYS]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment)
    return result.stdout.split()


def test_a_training_is_known_by_params_code_and_data_and_not_by_its_folder(tmp_path):
    keys = keys_in(tmp_path / "one")
    assert keys == keys_in(tmp_path / "two")
    first, other_params, other_data, same_data, damaged_hashes, other_code = keys
    assert first == same_data == damaged_hashes
    assert len({first, other_params, other_data, other_code}) == 4
