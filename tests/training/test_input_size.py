"""One network trained with inputs of several sizes."""

import pytest
import torch
from effdet import DetBenchTrain
from projects import spec_of

from viadet.network.build import build_network
from viadet.training.input_size import set_input_size
from viadet.training.loss import CompleteIoULoss


def bench_of(size, ciou=False):
    torch.manual_seed(0)
    bench = DetBenchTrain(build_network(spec_of(size)))
    if ciou:
        bench.loss_fn = CompleteIoULoss(bench)
    return bench.eval()


@pytest.mark.parametrize("ciou", [False, True])
def test_a_network_set_to_another_size_is_the_one_built_for_it(ciou):
    spec = spec_of([256, 128])
    bench, expected = bench_of(384, ciou), bench_of([256, 128], ciou)
    torch.manual_seed(1)
    random_state = torch.get_rng_state()
    set_input_size(bench, spec, spec.input_wh)
    assert torch.equal(torch.get_rng_state(), random_state)
    images = torch.randn(2, 3, 128, 256)
    targets = {"bbox": torch.tensor([[[10.0, 20, 70, 100]]] * 2), "cls": torch.ones(2, 1)}
    targets |= {"img_scale": torch.ones(2), "img_size": torch.tensor([[256, 128]] * 2)}
    outputs, expected_outputs = bench(images, targets), expected(images, targets)
    assert all(torch.equal(outputs[name], values) for name, values in expected_outputs.items())

    set_input_size(bench, spec_of(384), (384, 384))
    assert torch.equal(bench.anchors.boxes, bench_of(384).anchors.boxes)
    with torch.no_grad():
        level_outputs, built = (each.model(torch.randn(1, 3, 384, 384))[0] for each in (bench, bench_of(384)))
    assert [level.shape for level in level_outputs] == [level.shape for level in built]
