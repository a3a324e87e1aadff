"""One network and one photograph, shared by the tests of this folder, which leave both as they are."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from viadet.detection.detector import Detector
from viadet.detection.settings import DetectSettings
from viadet.detection.sized_network import SizedNetwork
from viadet.explanation.explained_boxes import explain_image, single_image_sets
from viadet.explanation.targets import Target, run_forward
from viadet.images.pixels import read_image
from viadet.network.anchors import flat_outputs
from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import read_recipe

CPU = torch.device("cpu")
NUMBER = 1  # of the validation image; the first one shows no balloon


@pytest.fixture(scope="session")
def sized(untrained_model):
    return SizedNetwork(*load_network(untrained_model, CPU, (128, 128)))


@pytest.fixture(scope="session")
def network(sized):
    return sized.network


class ClassLogits(nn.Module):
    """The detector as grad-cam expects it: one tensor of class logits, [B, A, K]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return flat_outputs(*self.network(images))[0]


@pytest.fixture(scope="session")
def class_logits(network):
    return ClassLogits(network)


@pytest.fixture(scope="session")
def spec(sized):
    return sized.spec


@pytest.fixture(scope="session")
def recipe(finished_sample):
    return read_recipe(finished_sample / "params.yaml")


@pytest.fixture(scope="session")
def coco(finished_sample):
    """The validation images."""
    return read_json(finished_sample / "data/coco/val.json")


@pytest.fixture(scope="session")
def image_dir(finished_sample):
    return finished_sample / "data/raw"


@pytest.fixture(scope="session")
def input_image(image_dir, coco, sized):
    return sized.letterbox(read_image(image_dir / coco["images"][NUMBER]["file_name"]))


@pytest.fixture(scope="session")
def forward_pass(sized, input_image):
    return run_forward(sized.network, sized.normalise(input_image.canvas[None]))


@pytest.fixture(scope="session")
def target_at(sized):
    """Makes a target at the middle of a level's anchors."""

    def make(level, output="score"):
        anchors = (sized.levels == level).nonzero().flatten()
        return Target(anchors[[len(anchors) // 2]], 1, level, output)

    return make


@pytest.fixture(scope="session")
def detections(sized, forward_pass, input_image):
    """Everything that the network detects in the photograph; it is untrained, scores are about 0.5 everywhere."""
    logits, codes = forward_pass.logits.detach(), forward_pass.codes.detach()
    return sized.decode(logits, codes, input_image.letterbox)


@pytest.fixture(scope="session")
def threshold_of(detections):
    """Gives the score threshold that so many detections of the photograph reach."""
    between = [float(high + low) / 2 for high, low in pairwise(detections.scores)]
    return lambda count: between[count - 1]


@pytest.fixture(scope="session")
def annotated_coco(coco, detections):
    """The validation images with one annotation more, along the box of the photograph's best detection."""
    entry = coco["images"][NUMBER]
    (bbox,) = detections.best(1).rounded()[0].tolist()
    ((x0, y0, x1, y1),) = detections.best(1).boxes_xyxy.tolist()
    annotation = {
        "id": 1 + max(annotation["id"] for annotation in coco["annotations"]),
        "image_id": entry["id"],
        "category_id": 1,
        "bbox": bbox,
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
    }
    return {**coco, "annotations": [*coco["annotations"], annotation]}


@pytest.fixture(scope="session")
def explain(network, spec, image_dir, recipe):
    """Explains the photograph with annotations of `coco`."""

    def explain(coco, max_detections=100, **changes):
        params = recipe.grad_cam.model_copy(update=changes)
        detector = Detector(network, spec, DetectSettings(spec.input_wh, 0.4, max_detections, None))
        return explain_image(detector, image_dir, single_image_sets(coco)[NUMBER], params, seed=0)

    return explain


@pytest.fixture(scope="session")
def explained_image(explain, annotated_coco, threshold_of):
    """The photograph with six detections, the first of them right."""
    return explain(annotated_coco, score_threshold=threshold_of(6))
