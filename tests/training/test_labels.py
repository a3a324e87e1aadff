"""The labels of anchors: effdet's to the bit, objects to ignore, and the same operations for any objects."""

import pytest
import torch
from effdet.anchors import AnchorLabeler
from projects import spec_of
from torchvision.ops import box_iou

from viadet.augmentation.objects import IGNORED
from viadet.network.build import build_network
from viadet.training import labels as labels_module
from viadet.training.bench import make_bench

BALLOONS_YXYX = [[10.0, 20.0, 60.0, 90.0], [70.0, 30.0, 120.0, 70.0]]


@pytest.fixture(scope="module")
def bench():
    """A bench for inputs of 128 x 192 px: rows and columns are not as many."""
    return make_bench(build_network(spec_of([192, 128], ["balloon", "kite"])), "ciou")


def label_anchors(bench, boxes_yxyx, labels):
    """Class targets [anchors] of one image, and how many anchors have an object."""
    classes, _, count = bench.anchor_labeler.batch_label_anchors(torch.tensor([boxes_yxyx]), torch.tensor([labels]))
    return torch.cat([level[0].flatten() for level in classes]), int(count)


def test_anchors_that_an_ignored_object_would_have_are_ignored_and_no_others(bench):
    alone, _ = label_anchors(bench, BALLOONS_YXYX[:1], [1.0])
    both, count = label_anchors(bench, BALLOONS_YXYX, [1.0, 2.0])
    ignoring, alone_count = label_anchors(bench, BALLOONS_YXYX, [1.0, float(IGNORED)])
    assert torch.equal(ignoring == 0, alone == 0)
    assert alone_count == int((alone >= 0).sum()) < count
    assert (ignoring[both == 1] == IGNORED).all()
    reached = box_iou(torch.tensor(BALLOONS_YXYX[1:]), bench.anchors.boxes)[0] >= 0.5
    assert torch.equal(ignoring == IGNORED, reached & (alone != 0))


def test_an_ignored_object_that_no_anchor_fits_has_all_the_anchors_that_fit_as_well_as_the_best(bench):
    labels, count = label_anchors(bench, [[40.0, 40.0, 42.0, 42.0]], [float(IGNORED)])
    ious = box_iou(torch.tensor([[40.0, 40.0, 42.0, 42.0]]), bench.anchors.boxes)[0]
    assert count == 0
    assert torch.equal(labels == IGNORED, ious > 0.99 * ious.max())
    assert int((labels == IGNORED).sum()) > 3


def random_batch(generator, images, most):
    """Boxes [B, most, 4] as yxyx and labels [B, most] of some objects an image, some of them equal, and padding."""
    corners = torch.rand(images, most, 2, 2, generator=generator) * torch.tensor([150.0, 210.0]) - 10
    boxes_yxyx = torch.cat([corners.amin(2), corners.amax(2)], 2)
    if most > 1:
        boxes_yxyx[:, 1] = boxes_yxyx[:, 0]
    labels = torch.randint(1, 3, (images, most), generator=generator).float()
    counts = torch.randint(most + 1, (images, 1), generator=generator)
    is_padding = torch.arange(most) >= counts
    return boxes_yxyx.masked_fill(is_padding[..., None], -1.0), labels.masked_fill(is_padding, -1.0)


def flat(levels):
    return torch.cat([level.flatten(1) for level in levels], 1)


def test_without_ignored_objects_the_labels_are_effdets_to_the_bit(bench, monkeypatch):
    generator, effdets = torch.Generator().manual_seed(0), AnchorLabeler(bench.anchors, 2)
    for number in range(14):
        # every second batch is labelled image by image, as one of many objects is
        monkeypatch.setattr(labels_module, "MAX_PAIRS", 1 if number % 2 else 2**25)
        boxes_yxyx, labels = random_batch(generator, images=3, most=1 + number % 7)
        ours = bench.anchor_labeler.batch_label_anchors(boxes_yxyx, labels)
        theirs = effdets.batch_label_anchors(boxes_yxyx, labels)
        assert torch.equal(flat(ours[0]), flat(theirs[0]))
        assert torch.equal(flat(ours[1]), flat(theirs[1]))
        assert torch.equal(ours[2], theirs[2])
        assert [level.shape for level in ours[0] + ours[1]] == [level.shape for level in theirs[0] + theirs[1]]


def test_padding_changes_no_label(bench):
    boxes_yxyx, labels = random_batch(torch.Generator().manual_seed(1), images=2, most=4)
    labels[0, 0] = IGNORED
    wide_yxyx = torch.nn.functional.pad(boxes_yxyx, (0, 0, 0, 28), value=-1.0)
    plain = bench.anchor_labeler.batch_label_anchors(boxes_yxyx, labels)
    wide = bench.anchor_labeler.batch_label_anchors(wide_yxyx, torch.nn.functional.pad(labels, (0, 28), value=-1.0))
    assert torch.equal(flat(plain[0]), flat(wide[0]))
    assert torch.equal(flat(plain[1]), flat(wide[1]))
    assert torch.equal(plain[2], wide[2])
    assert (flat(plain[0]) == IGNORED).any()
