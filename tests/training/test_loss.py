"""The loss with boxes compared by complete IoU."""

import pytest
import torch
from effdet import DetBenchTrain
from effdet.anchors import decode_box_outputs
from projects import spec_of
from torchvision.ops import complete_box_iou_loss

from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import build_network
from viadet.training.loss import BOX_WEIGHT, CompleteIoULoss

BALLOONS_YXYX = [[10.0, 20.0, 60.0, 90.0], [70.0, 30.0, 120.0, 70.0]]
PADDING = [-1.0, -1.0, -1.0, -1.0]


@pytest.fixture(scope="module")
def bench():
    torch.manual_seed(0)
    return DetBenchTrain(build_network(spec_of(128, ["balloon", "kite"]))).train()


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


def test_a_batch_without_objects_has_no_box_loss(bench, outputs):
    nothing = bench.anchor_labeler.batch_label_anchors(torch.tensor([[PADDING]] * 2), torch.full((2, 1), -1.0))
    loss, class_loss, box_loss = CompleteIoULoss(bench)(*outputs, *nothing)
    loss.backward()
    assert float(box_loss.detach()) == 0
    assert float(class_loss.detach()) > 0
