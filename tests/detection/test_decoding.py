"""Anchors, decoding, and boxes on their way through a mirrored or letterboxed view and back."""

import pytest
import torch
from effdet import DetBenchPredict
from projects import spec_of
from torchvision.ops import box_iou

from viadet.annotations.coco import boxes_xyxy_of
from viadet.detection import decoding
from viadet.detection.decoding import MIN_SCORE, best_candidates, candidates_for, decode, mirror_boxes_xyxy, vote
from viadet.detection.sized_network import SizedNetwork
from viadet.images.letterbox import letterbox_of
from viadet.network.anchors import anchors_of, flat_outputs
from viadet.network.build import build_network

CPU = torch.device("cpu")
WHOLE_INPUT = letterbox_of(256, 256, (256, 256))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(spec_of(256, ["balloon", "kite"])).eval()


def middle_of_p5(levels):
    return int((levels == 2).nonzero()[9 * (8 * 4 + 4)])


def test_decoding_agrees_with_effdet_where_no_boxes_vote(network, monkeypatch):
    monkeypatch.setattr(decoding, "VOTE_IOU", 1.0)  # effdet's boxes stay as they are
    torch.manual_seed(0)
    images = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = DetBenchPredict(network)(images)
        logits, codes = flat_outputs(*network(images))
    anchors = anchors_of(network, CPU)
    for row in range(2):
        ours = decode(logits[row], codes[row], *anchors, WHOLE_INPUT)
        theirs = expected[row][expected[row][:, 4] > 0]
        # effdet does not clip without sizes, so boxes that reach outside suppress each other differently: compare best
        inside = theirs[((theirs[:, :2] >= 0) & (theirs[:, 2:4] <= 256)).all(1)]
        agreed = 0
        for *box_xyxy, score, label in inside.numpy():
            same = (ours.labels == int(label)) & (abs(ours.boxes_xyxy - box_xyxy).max(1) < 1e-3)
            agreed += bool((same & (abs(ours.scores - score) < 1e-5)).any())
        assert len(inside) >= 5
        assert agreed / len(inside) > 0.8


def test_a_detection_has_the_index_and_the_level_of_its_anchor(network):
    anchors_yxyx, levels = anchors_of(network, CPU)
    # 256 px: 32², 16², 8², 4², 2² cells with nine anchors each
    assert levels.bincount().tolist() == [9 * side**2 for side in (32, 16, 8, 4, 2)]
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    chosen = middle_of_p5(levels)
    logits[chosen, 1] = 3.0
    detections = decode(logits, codes, anchors_yxyx, levels, WHOLE_INPUT).above(0.5)
    assert detections.anchors.tolist() == [chosen]
    assert detections.labels.tolist() == [2]
    assert detections.levels.tolist() == [2]
    # with codes of zero the box is the anchor itself
    assert detections.boxes_xyxy[0] == pytest.approx(anchors_yxyx[chosen][[1, 0, 3, 2]].clamp(0, 256).numpy())


def test_overlapping_boxes_of_one_class_are_suppressed_and_those_of_two_are_not(network):
    anchors_yxyx, levels = anchors_of(network, CPU)
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    middle = middle_of_p5(levels)
    overlap = box_iou(anchors_yxyx[middle][None], anchors_yxyx)[0]
    overlap[middle] = 0
    logits[middle, 0], logits[middle, 1], logits[overlap.argmax(), 0] = 3.0, 2.0, 1.0
    assert 0.5 < overlap.max() < 1
    assert decode(logits, codes, anchors_yxyx, levels, WHOLE_INPUT).above(0.5).labels.tolist() == [1, 2]


def test_a_kept_box_is_averaged_with_nearly_equal_ones_of_its_class():
    candidates_xyxy = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11], [0, 0, 10, 12], [0, 0, 10, 20], [50, 0, 60, 10]])
    scores = torch.tensor([0.6, 0.2, 0.5, 0.9, 0.3])
    labels = torch.tensor([1, 1, 2, 1, 1])  # the third would be near enough, the fourth is not
    voted_xyxy = vote(candidates_xyxy, scores, labels, candidates_xyxy[[0, 4]], labels[[0, 4]])
    assert voted_xyxy.flatten().tolist() == pytest.approx([0, 0, 10, 10.25, 50, 0, 60, 10])


def test_nms_gets_effdets_number_of_boxes_and_never_more_than_it_can_compare():
    assert [candidates_for(count) for count in (10, 100, 300, 1000, 10_000)] == [5000, 5000, 15_000, 50_000, 50_000]


def sorted_candidates(scores, count):
    """All scores sorted first: what `best_candidates` gives in less time."""
    scores, order = scores.sort(descending=True, stable=True)
    return order[:count][scores[:count] >= MIN_SCORE]


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])  # few different scores: ties, also at the last candidate
@pytest.mark.parametrize("highest", [0.0009, 0.0015, 1.0])  # none, some and nearly all reach the least score
@pytest.mark.parametrize("length", [0, 1, 49, 50, 51, 2000])
def test_candidates_are_the_first_of_all_scores_sorted(levels, highest, length):
    generator = torch.Generator().manual_seed(length)
    for _ in range(20):
        scores = torch.randint(1, levels + 1, (length,), generator=generator) / levels * highest
        scores[::7] = MIN_SCORE  # just enough
        assert best_candidates(scores, 50).tolist() == sorted_candidates(scores, 50).tolist()
        scores = torch.rand(length, generator=generator) * highest
        assert best_candidates(scores, 50).tolist() == sorted_candidates(scores, 50).tolist()


def test_a_batch_is_decoded_as_each_of_its_images(network):
    sized = SizedNetwork(network, spec_of(256, ["balloon", "kite"]))
    images = torch.randint(0, 256, (3, 3, 200, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs = [sized.letterbox(image) for image in images]
    with torch.inference_mode():
        outputs = flat_outputs(*network(sized.normalise(torch.stack([entry.canvas for entry in inputs]))))
    for mirrored in (False, True):
        together = sized.detect(inputs, 20, mirrored)
        for entry, logits, codes, found in zip(inputs, *outputs, together, strict=True):
            alone = sized.decode(logits, codes, entry.letterbox, 20, mirrored)
            assert len(found) == 20
            for name in ("boxes_xyxy", "scores", "labels", "anchors", "levels"):
                assert (getattr(found, name) == getattr(alone, name)).all()


def test_votes_are_the_same_for_any_number_of_detections():
    torch.manual_seed(0)
    corners_xy = torch.rand(250, 2).repeat(2, 1) * 20
    candidates_xyxy = torch.cat([corners_xy, corners_xy + 8 + torch.rand(500, 2)], 1)
    scores, labels = torch.rand(500), torch.ones(500, dtype=torch.int64)
    together = vote(candidates_xyxy, scores, labels, candidates_xyxy, labels)
    alone = [vote(candidates_xyxy, scores, labels, candidates_xyxy[[row]], labels[[row]]) for row in range(500)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert (together != candidates_xyxy).any()
    assert vote(candidates_xyxy, scores, labels, candidates_xyxy[:0], labels[:0]).shape == (0, 4)


def test_boxes_are_clipped_to_the_photograph_and_return_to_its_px(network):
    anchors_yxyx, levels = anchors_of(network, CPU)
    letterbox = letterbox_of(400, 200, (256, 256))
    logits, codes = torch.full((len(levels), 2), -9.0), torch.zeros(len(levels), 4)
    logits[-9:, 0] = 3.0  # P7's last cell, far below the photograph of 256 x 128 px: its boxes reach into it
    detections = decode(logits, codes, anchors_yxyx, levels, letterbox)
    assert len(detections)
    assert (detections.boxes_xyxy >= 0).all()
    assert (detections.boxes_xyxy <= [400, 200, 400, 200]).all()


def test_anchor_scale_is_the_side_of_the_smallest_anchor_in_strides():
    anchors_yxyx, levels = anchors_of(build_network(spec_of(256)._replace(anchor_scale=2.0)), CPU)
    sides = (anchors_yxyx[:, 2:] - anchors_yxyx[:, :2]).prod(1).sqrt()
    for level in range(5):
        assert float(sides[levels == level].min()) == pytest.approx(2.0 * 2 ** (3 + level), rel=0.02)


def test_anchors_cover_an_input_that_is_not_square():
    anchors_yxyx, levels = anchors_of(build_network(spec_of([256, 160])), CPU)
    centres_yx = ((anchors_yxyx[:, :2] + anchors_yxyx[:, 2:]) / 2)[levels == 0]
    assert len(centres_yx) == 20 * 32 * 9  # cells of 8 px
    assert centres_yx.amin(0).tolist() == [4, 4]
    assert centres_yx.amax(0).tolist() == [156, 252]


def test_boxes_mirrored_twice_are_unchanged():
    boxes_xyxy = torch.tensor([[3.0, 5.0, 20.0, 9.0], [0.0, 0.0, 64.0, 48.0]])
    mirrored = mirror_boxes_xyxy(boxes_xyxy, 64)
    assert mirrored.tolist() == [[44, 5, 61, 9], [0, 0, 64, 48]]
    assert torch.equal(mirror_boxes_xyxy(mirrored, 64), boxes_xyxy)


@pytest.mark.parametrize("size_wh", [(400, 200), (200, 400), (301, 299)])
@pytest.mark.parametrize("input_wh", [(128, 128), (256, 128), (128, 256)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_return_from_an_input_of_any_size_to_the_photograph(size_wh, input_wh, mirrored):
    """Codes of zero make the anchor itself the box."""
    letterbox = letterbox_of(*size_wh, input_wh)
    box_xyxy = torch.tensor([[10.0, 20.0, 110.0, 170.0]])
    in_input_xyxy = box_xyxy * torch.tensor(letterbox.scale_xy * 2)
    if mirrored:
        in_input_xyxy = mirror_boxes_xyxy(in_input_xyxy, letterbox.width)
    anchors_yxyx, zeros = in_input_xyxy[:, [1, 0, 3, 2]], torch.zeros(1, 4)
    detections = decode(torch.ones(1, 1), zeros, anchors_yxyx, torch.zeros(1, dtype=int), letterbox, mirrored=mirrored)
    assert detections.boxes_xyxy == pytest.approx(box_xyxy.numpy(), abs=1e-3)
    back_xyxy = letterbox.to_input(box_xyxy.numpy())
    assert back_xyxy == pytest.approx((box_xyxy * torch.tensor(letterbox.scale_xy * 2)).numpy())


def test_coco_boxes_become_corners():
    assert boxes_xyxy_of([{"bbox": [10, 20, 30, 40]}]).tolist() == [[10, 20, 40, 60]]
    assert boxes_xyxy_of([]).shape == (0, 4)
