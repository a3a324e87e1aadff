"""Detecting in any number of files, with and without worker processes."""

import os
import subprocess
import sys
from itertools import islice

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import viadet
from viadet.inference.worker_pool import worker_pool, workers_for
from viadet.project.errors import UserError

SIZES_WH = [(40 + 3 * number, 64) for number in range(20)]
DAMAGED = (0, 9, 19)

# Prints the process id of a worker, and waits for its input to end.
COMMAND = """
import os, sys
from viadet.inference.worker_pool import worker_pool
if __name__ == "__main__":
    with worker_pool(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def detector(untrained_model):
    return viadet.load(untrained_model, "cpu")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Twenty images, the first, a middle and the last one damaged."""
    folder = tmp_path_factory.mktemp("images")
    for number, size_wh in enumerate(SIZES_WH):
        Image.effect_mandelbrot(size_wh, (-2, -1.5, 1, 1.5), 20 + number).save(folder / f"{number:02}.png")
    for number in DAMAGED:
        (folder / f"{number:02}.png").write_bytes(b"\x89PNG")
    return sorted(folder.iterdir())


def detected(detector, paths, workers):
    with worker_pool(workers) as pool:
        return list(detector.detect_ahead(paths, detector.views, pool))


def test_results_come_in_order_and_a_damaged_image_is_an_error_in_its_place(detector, paths):
    found = detected(detector, paths, 0)
    for number, (path, image) in enumerate(zip(paths, found, strict=True)):
        if number in DAMAGED:
            assert isinstance(image, UserError)
            assert str(image).startswith(f"{path} can't be read as an image")
        else:
            assert image.size_wh == SIZES_WH[number]
            assert len(detector.merge(image)) > 0


@pytest.mark.slow
def test_worker_processes_give_the_same(untrained_model, other_model, paths):
    detector = viadet.load([untrained_model, other_model], "cpu")
    in_threads, in_processes = (detected(detector, paths, workers) for workers in (0, 2))
    for number, (one, other) in enumerate(zip(in_threads, in_processes, strict=True)):
        if number in DAMAGED:
            assert str(one) == str(other)
        else:
            assert one.size_wh == other.size_wh
            assert list(one.by_view) == list(other.by_view) == detector.plain
            assert detector.merge(one).rows() == detector.merge(other).rows()


def test_the_image_comes_back_reduced_to_be_drawn(detector, tmp_path):
    """So that nothing is decoded twice."""
    sizes_wh = [(300, 150), (40, 50)]
    for number, size_wh in enumerate(sizes_wh):
        Image.linear_gradient("L").resize(size_wh).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.iterdir())
    with worker_pool(0) as pool:
        large, small = detector.detect_ahead(paths, detector.views, pool, shown_side=100)
    assert (large.size_wh, small.size_wh) == tuple(sizes_wh)
    assert (large.shown.shape, small.shown.shape) == ((3, 50, 100), (3, 50, 40))
    assert np.array_equal(small.shown.transpose(1, 2, 0), np.asarray(Image.open(paths[1]).convert("RGB")))
    assert np.abs(large.shown[0, :, 50].astype(int) - np.linspace(0, 255, 50)).max() < 4


def test_only_a_few_images_are_decoded_ahead(detector, paths):
    """Memory stays bounded: a reader of results that stops also stops the decoding."""
    submitted = []
    with worker_pool(0) as pool:
        submit = pool.submit
        pool.submit = lambda *task: submitted.append(task) or submit(*task)
        results = detector.detect_ahead(paths * 50, detector.views, pool)
        assert len(list(islice(results, 8))) == 8
        assert len(submitted) <= 3 * detector.batch_size  # of 1000: two batches more than were read
        results.close()


def test_no_images_and_only_damaged_ones_end(detector, paths):
    assert detected(detector, [], 0) == []
    [image] = detected(detector, [paths[0]], 0)
    assert isinstance(image, UserError)


def test_few_images_need_no_processes_and_many_no_more_than_the_cores(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [workers_for(images, cpu) for images in (0, 16, 17, 1000)] == [0, 0, 1, 1]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(33)), raising=False)
    assert [workers_for(images, cuda) for images in (0, 16, 17, 100, 1000)] == [0, 0, 1, 6, 32]


@pytest.mark.slow
def test_a_worker_process_ends_with_a_killed_command(tmp_path):
    (tmp_path / "command.py").write_text(COMMAND, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "command.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
        worker.wait(timeout=20)
