"""What GPUs of Macs refuse, by a stand-in on the CPU: tensors of float64 or complex numbers, and late copies."""

from pathlib import Path

import pytest
import torch
from projects import spec_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from viadet.augmentation.training_set import TrainingSet, collate
from viadet.detection.detector import Detector
from viadet.explanation.cams import CHANNEL_METHODS, EIGEN_METHODS, GRAD_CAM_METHODS, class_activation_maps
from viadet.explanation.explained_boxes import explain_image, single_image_sets
from viadet.images.pixels import read_image
from viadet.network.build import build_network, prepare_images
from viadet.network.weights import load_network
from viadet.project.files import read_json
from viadet.project.params import read_recipe
from viadet.training.checkpoint import Checkpoints
from viadet.training.trainer import Trainer

CPU = torch.device("cpu")
REFUSED = (torch.float64, torch.complex64, torch.complex128)


class LikeMps(TorchDispatchMode):
    """Refuse each operation on tensors of types that MPS lacks."""

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for value in tree_leaves((arguments, options, result)):
            if isinstance(value, torch.Tensor) and value.dtype in REFUSED:
                raise TypeError(f"{function}: the MPS framework doesn't support {value.dtype}")
        return result


def test_the_stand_in_refuses_float64_and_complex_numbers():
    with LikeMps():
        torch.ones(2).sqrt()
        for refused in (lambda: torch.ones(2).double(), lambda: torch.fft.rfft(torch.ones(4))):
            with pytest.raises(TypeError, match="the MPS framework doesn't support"):
                refused()


@pytest.mark.parametrize("changes", [{"box_loss": "ciou", "optimizer": "adamw"}, {"box_loss": "huber"}])
def test_training_steps_need_nothing_that_mps_lacks(sample, changes):
    params = read_recipe().train.model_copy(update=changes)
    spec = spec_of(128)
    images = TrainingSet(Path("data/coco/train.json"), Path("data/raw"), params, spec.input_wh, spec.fill_rgb)
    batch, targets = collate([images[(0, number)] for number in range(2)])  # samples and anchors are made on the CPU
    trainer = Trainer(build_network(spec), spec, images, params, CPU, Checkpoints(Path("data/checkpoint"), "key"))
    with LikeMps():
        for step in (1, 2):
            losses = trainer.backward(batch, targets, ends_step=True)
            trainer.clip_gradients()
            trainer.take_step()
            trainer.average.update(step)
    assert torch.isfinite(losses).all()


def test_detecting_and_explaining_need_nothing_that_mps_lacks(model):
    detector = Detector(*load_network(Path("data/model"), CPU, (128, 128)))
    sized = detector.plain_network
    coco = read_json(Path("data/coco/val.json"))
    params = read_recipe().grad_cam
    methods = [
        method for method in (*GRAD_CAM_METHODS, *EIGEN_METHODS, *CHANNEL_METHODS) if method != "ScoreCAM"
    ]  # as AblationCAM
    image_dir, image_coco = Path("data/raw"), single_image_sets(coco)[0]
    photograph = read_image(image_dir / coco["images"][0]["file_name"])
    inputs = [sized.letterbox(photograph)]
    with LikeMps():
        (detections,) = sized.detect(inputs)
        assert len(detections.scores) > 0
        image = explain_image(detector, image_dir, image_coco, params, seed=0)
        for method in methods:
            maps = class_activation_maps(
                method, sized.network, image.forward_pass, image.boxes[:1], own_level_only=True
            )
            assert len(maps) == len(image.boxes[:1]) == 1


def test_images_are_copied_at_once_unless_memory_is_pinned_for_cuda(monkeypatch):
    options, copy = [], torch.Tensor.to

    def recorded(tensor, *arguments, **keywords):
        options.append(keywords.get("non_blocking", False))
        return copy(tensor, *arguments, **keywords)

    monkeypatch.setattr(torch.Tensor, "to", recorded)
    prepare_images(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), spec_of(128), CPU)
    assert not any(options)
