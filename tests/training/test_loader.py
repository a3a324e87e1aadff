"""Worker processes: `spawn`, as on Windows and macOS, serves as well as `fork`."""

import signal
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import psutil
import pytest
import torch
from projects import SMALL, spec_of, write_params

from stages import train
from viadet.augmentation.training_set import TrainingSet
from viadet.network.weights import WEIGHTS_NAME
from viadet.project.params import read_recipe
from viadet.training import loader

CPU = torch.device("cpu")


def training_set() -> TrainingSet:
    spec = spec_of(128)
    return TrainingSet(
        train.COCO_DIR / "train.json", train.IMAGE_DIR, read_recipe().train, spec.input_wh, spec.fill_rgb
    )


def trained_bytes(workers: int) -> list[bytes]:
    write_params(SMALL | {"train.workers": workers})
    train.main()
    return [path.read_bytes() for path in (train.MODEL_DIR / WEIGHTS_NAME, train.PLOTS_DIR / "loss.csv")]


@pytest.mark.slow
def test_spawned_workers_give_the_same_bytes_as_none(sample, monkeypatch):
    alone = trained_bytes(workers=0)
    monkeypatch.setattr(loader, "START_METHOD", "spawn")
    assert trained_bytes(workers=2) == alone


def test_a_worker_gets_no_images_and_no_tensors(sample):
    images = training_set()
    pixels = sum(scene.image.numel() for scene in images.scenes)
    pickled = bytes(ForkingPickler.dumps(images))
    assert len(pickled) < 0.1 * pixels
    assert b"rebuild_tensor" not in pickled  # each would take a file descriptor, of which macOS allows 256


@pytest.mark.parametrize("method", [pytest.param("fork", marks=pytest.mark.needs("fork")), "spawn"])
@pytest.mark.slow
def test_no_worker_outlives_an_interrupt(sample, monkeypatch, method):
    monkeypatch.setattr(loader, "START_METHOD", method)
    params = read_recipe().train.model_copy(update={"workers": 2})
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(KeyboardInterrupt):
        batches = iter(loader.make_loader(training_set(), params, CPU, first_epoch=0))
        next(batches)
        workers = set(psutil.Process().children(recursive=True)) - before
        assert len(workers) >= 2
        raise KeyboardInterrupt
    del batches
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert [process for process in alive if "resource_tracker" not in " ".join(process.cmdline())] == []


@pytest.mark.needs("posix")
def test_workers_leave_an_interrupt_to_the_training(sample):
    params = read_recipe().train.model_copy(update={"workers": 2, "batch_size": 1})
    before = set(psutil.Process().children(recursive=True))
    batches = iter(loader.make_loader(training_set(), params, CPU, first_epoch=0))
    first = [next(batches), next(batches)]  # one of each worker: both have started
    for worker in set(psutil.Process().children(recursive=True)) - before:
        worker.send_signal(signal.SIGINT)
    assert len([*first, *batches]) == 6 * params.epochs


def test_the_file_of_decoded_images_goes_with_the_training_set(sample):
    images = training_set()
    path = images.scenes.path
    assert path.parent.samefile("data")
    assert path.stat().st_size == sum(scene.image.numel() for scene in images.scenes)
    del images
    assert not path.exists()


def test_the_file_of_decoded_images_of_a_killed_training_is_removed(sample, monkeypatch):
    from viadet.augmentation import scenes

    monkeypatch.setattr(scenes, "STORE_NUMBERS", iter([1]))
    left = Path("data/.decoded_images_train_1.tmp")
    left.write_bytes(b"left")
    images = training_set()
    assert images.scenes.path == left.absolute()
    assert left.stat().st_size == sum(scene.image.numel() for scene in images.scenes)
    del images
    assert not left.exists()


def test_an_error_while_images_are_decoded_leaves_no_file(sample):
    last = max(Path("data/raw/train").glob("*.jpg"))
    last.write_bytes(b"damaged")
    with pytest.raises(Exception, match="can't be read as an image") as error:
        training_set()
    assert error.tb
    assert list(Path("data").glob(".decoded_images*")) == []
