"""Deletion and insertion, on a network whose answer is known."""

import numpy as np
import pytest
import torch
from torch import nn

from viadet.explanation.maps import inside_box
from viadet.explanation.perturbation import FRACTIONS, centre_map, deletion_insertion
from viadet.explanation.targets import ForwardPass, Target
from viadet.network.anchors import flat_outputs

FIRST_ANCHOR = Target(torch.tensor([0]), 1, 0, "score")


class SeesASquare(nn.Module):
    """One cell with nine anchors, whose logit is the brightness of the square from (8, 4) to (12, 8)."""

    def forward(self, images):
        brightness = images[:, :, 4:8, 8:12].mean((1, 2, 3))
        return [brightness.view(-1, 1, 1, 1).expand(-1, 9, 1, 1)], [torch.zeros(len(images), 36, 1, 1)]


@pytest.fixture(scope="module")
def bright_pass():
    """The forward pass of a bright image of 20 x 20 px."""
    batch = torch.full((1, 3, 20, 20), 4.0)
    logits, codes = flat_outputs(*SeesASquare()(batch))
    return ForwardPass(batch, [], [], logits[0], codes[0])


def square_map(height=20, width=20):
    heat = np.zeros((height, width), dtype=np.float32)
    heat[4:8, 8:12] = 1
    return heat


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def test_deletion_and_insertion_take_and_show_the_pixels_that_the_map_ranks_highest(bright_pass):
    deletion, insertion = deletion_insertion(SeesASquare(), bright_pass, square_map(), FIRST_ANCHOR)
    # 2, 5, 10, 20, 40 % of 400 px: 8 of the square's 16 px, then all of them
    assert deletion == pytest.approx([sigmoid(4 * share) / sigmoid(4) for share in (0.5, 0, 0, 0, 0)])
    assert insertion == pytest.approx([sigmoid(4 * share) / sigmoid(4) for share in (0.5, 1, 1, 1, 1)])


def test_a_map_that_points_elsewhere_takes_nothing_away(bright_pass):
    deletion, insertion = deletion_insertion(SeesASquare(), bright_pass, -square_map(), FIRST_ANCHOR)
    assert deletion == pytest.approx([1] * len(FRACTIONS))
    assert insertion == pytest.approx([0.5 / sigmoid(4)] * len(FRACTIONS))


def test_pixels_count_within_the_photograph_and_the_letterbox_stays(bright_pass):
    """A photograph of 20 x 10 px in an input of 20 x 20: 5 % are 10 px of it."""
    batches = []

    class RecordsItsInputs(SeesASquare):
        def forward(self, images):
            batches.append(images.clone())
            return super().forward(images)

    deletion_insertion(RecordsItsInputs(), bright_pass, square_map(10, 20), FIRST_ANCHOR)
    images = torch.cat(batches)
    removed = (images[: len(FRACTIONS), 0] == 0).sum((1, 2)).tolist()
    assert removed == [4, 10, 20, 40, 80]
    assert (images[:, :, 10:] == 4).all()
    shown = (images[len(FRACTIONS) :, 0, :10] != 0).sum((1, 2)).tolist()
    assert shown == removed


def test_a_map_made_from_the_box_alone_ranks_its_middle_first_and_all_of_it_before_the_rest():
    box_xyxy = np.array([4, 2, 10, 5])
    heat = centre_map((10, 20), box_xyxy)
    inside = inside_box((10, 20), box_xyxy)
    assert heat[inside].min() >= heat[~inside].max()
    assert heat.argmax() in (3 * 20 + 6, 3 * 20 + 7)
