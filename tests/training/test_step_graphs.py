"""What makes a step fit for a CUDA graph, as far as it shows without a GPU."""

import pytest
import torch
from projects import spec_of
from torch.utils._python_dispatch import TorchDispatchMode

from viadet.network.build import build_network
from viadet.training.bench import make_bench
from viadet.training.step_graphs import with_room

OBJECT_YXYX = [10.0, 20.0, 60.0, 90.0]


class Operations(TorchDispatchMode):
    """Lists the names of all operations within its block."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.names.append(str(function))
        return function(*arguments, **(options or {}))


def targets_of(counts, device="cpu"):
    """Targets of images with so many objects each."""
    boxes_yxyx, labels = torch.full((len(counts), max(counts), 4), -1.0), torch.full((len(counts), max(counts)), -1.0)
    for image, count in enumerate(counts):
        boxes_yxyx[image, :count] = torch.tensor(OBJECT_YXYX)
        labels[image, :count] = 1.0
    return {"bbox": boxes_yxyx.to(device), "cls": labels.to(device)}


@pytest.mark.parametrize("name", ["tf_efficientdet_lite0", "tf_efficientdet_d0"])
@pytest.mark.parametrize("box_loss", ["ciou", "huber"])
def test_a_step_reads_nothing_from_the_device_and_does_the_same_for_any_number_of_objects(name, box_loss):
    """A meta tensor has no values, so that reading one, or a shape that depends on one, is an error."""
    operations = []
    bench = make_bench(build_network(spec_of(128, name=name)), box_loss).train().to("meta")
    with torch.device("meta"):
        for counts in ([3, 0], [40, 1]):
            with Operations() as listed:
                bench(torch.zeros(2, 3, 128, 128), with_room(targets_of(counts, "meta")))["loss"].backward()
            operations.append(listed.names)
            bench.zero_grad(set_to_none=True)
    assert len(operations[0]) > 1000
    assert operations[0] == operations[1]


@pytest.mark.parametrize(("boxes", "room"), [(1, 32), (32, 32), (33, 64), (200, 256)])
def test_targets_get_room_for_a_power_of_two_of_boxes(boxes, room):
    targets = targets_of([boxes, 1])
    wide = with_room(targets)
    assert wide["bbox"].shape == (2, room, 4)
    assert torch.equal(wide["bbox"][:, :boxes], targets["bbox"])
    assert torch.equal(wide["cls"][:, :boxes], targets["cls"])
    assert (wide["cls"][:, boxes:] == -1).all()
