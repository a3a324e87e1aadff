"""The network with its loss: boxes compared by complete IoU, inputs of several sizes, torch.compile."""

import shutil

import pytest
import torch
from effdet.anchors import decode_box_outputs
from projects import spec_of
from torch import nn
from torchvision.ops import complete_box_iou_loss

from viadet.augmentation.objects import IGNORED
from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import build_network
from viadet.project.errors import UserError
from viadet.training.bench import (
    BOX_WEIGHT,
    CompleteIoULoss,
    compile_network,
    complete_iou_losses,
    make_bench,
    set_input_size,
    sum_of_box_losses,
)

CPU = torch.device("cpu")

BALLOONS_YXYX = [[10.0, 20.0, 60.0, 90.0], [70.0, 30.0, 120.0, 70.0]]
PADDING = [-1.0, -1.0, -1.0, -1.0]


@pytest.fixture(scope="module")
def bench():
    torch.manual_seed(0)
    return make_bench(build_network(spec_of(128, ["balloon", "kite"])), "huber").train()


@pytest.fixture(scope="module")
def targets(bench):
    """Labels of anchors for two images, the second without objects: class and box targets, number of positives."""
    boxes_yxyx = torch.tensor([BALLOONS_YXYX, [PADDING, PADDING]])
    return bench.anchor_labeler.batch_label_anchors(boxes_yxyx, torch.tensor([[1.0, 2.0], [-1.0, -1.0]]))


@pytest.fixture
def outputs(bench):
    torch.manual_seed(1)
    return bench.model(torch.randn(2, 3, 128, 128))


def like_targets(box_targets):
    """Outputs of the box head that hit the targets exactly."""
    return [level.permute(0, 3, 1, 2).contiguous() for level in box_targets]


def test_exact_boxes_have_no_loss_and_the_class_loss_is_effdets(bench, targets, outputs):
    _, box_targets, _ = targets
    loss, class_loss, box_loss = CompleteIoULoss(bench)(outputs[0], like_targets(box_targets), *targets)
    assert float(box_loss.detach()) == pytest.approx(0, abs=1e-5)
    expected = bench.loss_fn(outputs[0], like_targets(box_targets), *targets)[1]
    torch.testing.assert_close(class_loss, expected)
    torch.testing.assert_close(loss, class_loss + BOX_WEIGHT * box_loss)


def test_each_anchor_with_an_object_is_compared_with_its_box(bench, targets, outputs):
    class_targets, _, num_positives = targets
    _, _, box_loss = CompleteIoULoss(bench)(*outputs, *targets)
    labels = torch.cat([level.reshape(2, -1) for level in class_targets], 1)[0]
    anchors_yxyx, _ = anchors_of(bench.model, torch.device("cpu"))
    codes = flat_outputs(*outputs)[1][0]
    expected = 0.0
    for label, (top, left, bottom, right) in enumerate(BALLOONS_YXYX):
        anchors = (labels == label).nonzero().flatten()
        assert len(anchors)
        boxes_xyxy = decode_box_outputs(codes[anchors], anchors_yxyx[anchors], output_xyxy=True)
        balloons_xyxy = torch.tensor([[left, top, right, bottom]]).expand(len(anchors), 4)
        expected += float(complete_box_iou_loss(boxes_xyxy, balloons_xyxy, reduction="sum").detach())
    assert float(box_loss.detach()) == pytest.approx(expected / (float(num_positives.sum()) + 1), rel=1e-4)


def test_only_anchors_with_an_object_have_a_gradient_and_it_is_finite_for_any_code(bench, targets, outputs):
    class_targets = targets[0]
    box_out = [torch.full_like(level, 200.0).requires_grad_() for level in outputs[1]]  # exp(200) is infinite
    loss, _, _ = CompleteIoULoss(bench)([level.detach() for level in outputs[0]], box_out, *targets)
    loss.backward()
    assert torch.isfinite(loss)
    for level, labels in zip(box_out, class_targets, strict=True):
        gradient = level.grad.permute(0, 2, 3, 1).reshape(*labels.shape, 4)
        assert torch.isfinite(gradient).all()
        assert not gradient[labels < 0].any()


def test_anchors_without_an_object_change_neither_the_box_loss_nor_its_gradients(bench, targets):
    """On a CPU those with an object are picked; a GPU, which would wait for their number, computes all."""
    class_targets, box_targets, _ = targets
    has_object = torch.cat([level.reshape(2, -1) for level in class_targets], 1)[0] >= 0
    true_codes = torch.cat([level.reshape(2, -1, 4) for level in box_targets], 1)[0]
    codes = torch.randn(true_codes.shape, generator=torch.Generator().manual_seed(0))
    codes[~has_object] = 1e30  # whatever the network gives there
    sums, gradients = [], []
    for picked in (torch.ones_like(has_object), has_object):
        given = codes.clone().requires_grad_()
        rows = (values[picked] for values in (given, true_codes, bench.anchors.boxes, has_object))
        sums.append(sum_of_box_losses(*rows))
        sums[-1].backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*sums, rtol=1e-6, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)
    assert gradients[0][has_object].any(1).all()
    assert not gradients[0][~has_object].any()


def test_the_complete_iou_is_torchvisions(bench):
    torch.manual_seed(0)
    corners = torch.rand(2, 500, 2, 2).mul(100).sort(2).values + torch.tensor([[0.0], [0.01]])
    boxes_xyxy, true_boxes_xyxy = corners.flatten(2).unbind()
    ours, theirs = boxes_xyxy.clone().requires_grad_(), boxes_xyxy.clone().requires_grad_()
    losses = complete_iou_losses(ours, true_boxes_xyxy)
    expected = complete_box_iou_loss(theirs, true_boxes_xyxy, reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    losses.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_a_batch_without_objects_has_no_box_loss(bench, outputs):
    nothing = bench.anchor_labeler.batch_label_anchors(torch.tensor([[PADDING]] * 2), torch.full((2, 1), -1.0))
    loss, class_loss, box_loss = CompleteIoULoss(bench)(*outputs, *nothing)
    loss.backward()
    assert float(box_loss.detach()) == 0
    assert float(class_loss.detach()) > 0


def test_an_ignored_object_has_no_part_in_the_loss(bench, outputs):
    targets = bench.anchor_labeler.batch_label_anchors(
        torch.tensor([BALLOONS_YXYX, [PADDING, PADDING]]), torch.tensor([[1.0, float(IGNORED)], [-1.0, -1.0]])
    )
    for loss_fn in (CompleteIoULoss(bench), bench.loss_fn):
        class_out = [level.detach().requires_grad_() for level in outputs[0]]
        box_out = [level.detach().requires_grad_() for level in outputs[1]]
        loss_fn(class_out, box_out, *targets)[0].backward()
        for level, labels in zip(class_out, targets[0], strict=True):
            gradient = level.grad.permute(0, 2, 3, 1).reshape(*labels.shape, 2)
            assert not gradient[labels == IGNORED].any()
            assert gradient[labels != IGNORED].all()
        for level, labels in zip(box_out, targets[0], strict=True):
            assert not level.grad.permute(0, 2, 3, 1).reshape(*labels.shape, 4)[labels == IGNORED].any()
    assert sum(int((labels == IGNORED).sum()) for labels in targets[0]) > 0


def bench_of(size, ciou=False):
    torch.manual_seed(0)
    return make_bench(build_network(spec_of(size)), "ciou" if ciou else "huber").eval()


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


@pytest.mark.slow
def test_a_network_whose_last_levels_have_one_cell_changes_its_size_and_back():
    """Those of d7x are one and the same in an input of 128 px, so that there is nothing to enlarge or halve."""
    spec = spec_of(256, name="tf_efficientdet_d7x")
    with torch.device("meta"):  # sizes only
        bench = make_bench(build_network(spec), "ciou")
        for side in (128, 256):
            set_input_size(bench, spec, (side, side))
            logits, _ = flat_outputs(*bench.model(torch.zeros(2, 3, side, side)))
            assert logits.shape[1] == len(bench.anchors.boxes)


@pytest.fixture
def no_compiled_code(tmp_path, monkeypatch):
    """Without what takes longer to compile than a small network: a header, and a check of the CPU's instructions."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    with config.patch({"cpp_cache_precompile_headers": False, "cpp.simdlen": 1}):
        yield


@pytest.mark.slow
def test_without_a_compiler_one_line_says_what_to_install(no_compiled_code):
    from torch._inductor import config

    message = r"^train\.compile is true, but torch\.compile fails .*compiler.*; install a C\+\+ compiler"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(UserError, match=message) as error:
        compile_network(nn.Linear(2, 2), CPU)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler here")
def test_a_compiled_network_computes_the_same_and_keeps_the_names_of_its_weights(no_compiled_code):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU()).eval()
    images, names = torch.rand(1, 3, 8, 8), list(network.state_dict())
    expected = network(images)
    compile_network(network, CPU)
    torch.testing.assert_close(network(images), expected)
    assert list(network.state_dict()) == names
