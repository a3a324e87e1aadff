"""What makes CUDA wait in a training step: operations whose result, or its size, the CPU needs to know.

They are counted on the CPU, so that no GPU is needed.
"""

from collections import Counter

import pytest
import torch
from projects import spec_of
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from viadet.network.build import build_network
from viadet.project.params import read_recipe
from viadet.training.checkpoint import Checkpoints
from viadet.training.history import History
from viadet.training.loop import train_epoch
from viadet.training.schedule import make_schedule
from viadet.training.state import set_up

ATEN = torch.ops.aten
READING = (ATEN._local_scalar_dense, ATEN.nonzero, ATEN.masked_select, ATEN.equal, ATEN._unique2)
IMAGES = 2
BATCHES = 3


class DeviceReads(TorchDispatchMode):
    """Counts operations that read from the device, in C++ and in the backward pass too."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        operation = function.overloadpacket
        masks = arguments[1] if operation in (ATEN.index, ATEN.index_put, ATEN.index_put_) else ()
        if operation in READING or any(mask is not None and mask.dtype == torch.bool for mask in masks):
            self.counts[str(operation).removeprefix("aten.")] += 1
        return function(*arguments, **(options or {}))


class Lists(TorchFunctionMode):
    """Counts tensors that are turned into lists; the other mode does not see these."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.count += getattr(function, "__name__", "") == "tolist"
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("box_loss", ["ciou", "huber"])
def test_a_step_reads_only_what_labels_and_box_loss_need_and_the_check(project, box_loss):
    # SGD: AdamW counts its steps in tensors on the CPU, or on CUDA, where it is fused, on the device without reading
    changes = {"optimizer": "sgd", "box_loss": box_loss, "batch_size": IMAGES, "frozen_stages": 2}
    params = read_recipe().train.model_copy(update=changes)
    schedule = make_schedule(BATCHES * IMAGES, params)
    training = set_up(build_network(spec_of(128)), spec_of(128), params, torch.device("cpu"), schedule)
    boxes_yxyx = torch.tensor([[[10.0, 20.0, 60.0, 90.0]], [[-1.0] * 4]])
    images = torch.zeros(IMAGES, 3, 128, 128, dtype=torch.uint8)
    batch = images, {"bbox": boxes_yxyx, "cls": torch.tensor([[1.0], [-1.0]])}
    with DeviceReads() as reads, Lists() as lists:
        train_epoch(training, [batch] * BATCHES, 1, History(), Checkpoints(project, "key"), tqdm(disable=True))
    # effdet's labels: boxes and labels of each image by a mask
    expected = Counter({"index": 2 * IMAGES * BATCHES})
    if box_loss == "ciou":  # which anchors have an object; torchvision's loss: which boxes overlap, and their gradients
        expected += Counter({"nonzero": BATCHES, "index": 5 * BATCHES, "index_put": 4 * BATCHES, "index_put_": BATCHES})
    assert reads.counts == expected
    assert lists.count == BATCHES + 1  # a check a step, on CUDA one in CHECK_EVERY steps; the epoch's mean losses
