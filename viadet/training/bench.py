"""The network with its loss, as effdet's bench: box loss by IoU, inputs of several sizes, torch.compile."""

import math

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viadet.augmentation.objects import IGNORED
from viadet.network.anchors import flat_outputs
from viadet.network.build import NetworkSpec, build_network
from viadet.network.effdet_parts import (
    Anchors,
    DetBenchTrain,
    ResampleFeatureMap,
    decode_box_outputs,
    new_focal_loss,
    one_hot,
)
from viadet.project.errors import UserError
from viadet.training.labels import BatchLabeler

BOX_WEIGHT = 2.0  # of the box loss against the class loss, as in ATSS (Zhang et al. 2020)
MAX_GROWTH = math.log(1000 / 16)  # of an anchor into a box, as in torchvision: keeps `exp` finite
SMALLEST = 1e-7  # added to what is divided by, as in torchvision


class CompleteIoULoss(nn.Module):
    """effdet's class loss, and the complete IoU loss of the boxes (Zheng et al. 2020) of all anchors with an object.

    effdet's own box loss (Huber) treats the four codes of a box apart from each other, and those of small errors alike;
    this one grows with what AP at high IoUs counts.
    """

    def __init__(self, bench: DetBenchTrain) -> None:
        """Take the anchors of effdet's bench, and the constants of its class loss."""
        super().__init__()
        self.anchors, self.num_classes = bench.anchors, bench.num_classes
        self.alpha, self.gamma = bench.config.alpha, bench.config.gamma

    def forward(
        self,
        class_out: list[torch.Tensor],
        box_out: list[torch.Tensor],
        class_targets: list[torch.Tensor],
        box_targets: list[torch.Tensor],
        num_positives: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Compute loss, class loss and box loss as effdet's `DetectionLoss` does.

        Args:
            class_out: by level, [B, 9 * K, H, W].
            box_out: by level, [B, 9 * 4, H, W].
            class_targets: by level, [B, H, W, 9]; below 0: no object.
            box_targets: by level, codes [B, H, W, 9 * 4].
            num_positives: anchors with an object, by image [B].
        """
        logits, codes = flat_outputs(class_out, box_out)
        classes = torch.cat([level.flatten(1) for level in class_targets], 1)
        true_codes = torch.cat([level.flatten(1).unflatten(1, (-1, 4)) for level in box_targets], 1)
        normaliser = num_positives.sum() + 1
        of_class = one_hot(classes, self.num_classes)
        class_losses = new_focal_loss(logits.float(), of_class, self.alpha, self.gamma, normaliser, label_smoothing=0.0)
        class_loss = (class_losses * (classes != IGNORED)[..., None]).sum()

        has_object = (classes >= 0).flatten()
        anchors_yxyx = self.anchors.boxes.repeat(len(classes), 1)
        rows = [codes.float().flatten(0, 1), true_codes.flatten(0, 1), anchors_yxyx, has_object]
        if has_object.device.type == "cpu":  # a GPU would have to wait for their number
            rows = [values[has_object] for values in rows]
        box_loss = sum_of_box_losses(*rows) / normaliser
        return class_loss + BOX_WEIGHT * box_loss, class_loss, box_loss


def sum_of_box_losses(
    codes: torch.Tensor, true_codes: torch.Tensor, anchors_yxyx: torch.Tensor, has_object: torch.Tensor
) -> torch.Tensor:
    """Add up the complete IoU losses of the anchors that have an object.

    Args:
        codes: [N, 4], what the network gives.
        true_codes: [N, 4].
        anchors_yxyx: [N, 4].
        has_object: bool [N]; the other anchors have no part in the sum, nor a gradient.
    """
    # masked before decoding, too: the gradient of what is masked afterwards could be 0 times infinity
    codes = torch.where(has_object[:, None], codes.clamp(max=MAX_GROWTH), 0.0)
    boxes_xyxy, true_boxes_xyxy = (
        decode_box_outputs(values, anchors_yxyx, output_xyxy=True) for values in (codes, true_codes)
    )
    return torch.where(has_object, complete_iou_losses(boxes_xyxy, true_boxes_xyxy), 0.0).sum()


def complete_iou_losses(boxes_xyxy: torch.Tensor, true_boxes_xyxy: torch.Tensor) -> torch.Tensor:
    """Compute the complete IoU loss (Zheng et al. 2020) of each of some boxes [N, 4] with its true one, [N].

    As torchvision's `complete_box_iou_loss`, which picks the boxes that overlap, so that a GPU waits for their number.
    """
    left, top, right, bottom = boxes_xyxy.unbind(1)
    true_left, true_top, true_right, true_bottom = true_boxes_xyxy.unbind(1)
    width, height, true_width, true_height = right - left, bottom - top, true_right - true_left, true_bottom - true_top
    shared_width = (torch.minimum(right, true_right) - torch.maximum(left, true_left)).clamp(min=0)
    shared_height = (torch.minimum(bottom, true_bottom) - torch.maximum(top, true_top)).clamp(min=0)
    intersection = shared_width * shared_height
    union = width * height + true_width * true_height - intersection
    iou = intersection / (union + SMALLEST)

    hull_width = torch.maximum(right, true_right) - torch.minimum(left, true_left)
    hull_height = torch.maximum(bottom, true_bottom) - torch.minimum(top, true_top)
    diagonal = hull_width.square() + hull_height.square() + SMALLEST  # squared, as the distance of the centres
    twice_across, twice_down = left + right - true_left - true_right, top + bottom - true_top - true_bottom
    distance = twice_across.square() / 4 + twice_down.square() / 4
    shape = (4 / math.pi**2) * (torch.atan(true_width / true_height) - torch.atan(width / height)).square()
    with torch.no_grad():
        weight = shape / (1 - iou + shape + SMALLEST)
    return 1 - iou + distance / diagonal + weight * shape


def make_bench(network: nn.Module, box_loss: str) -> DetBenchTrain:
    """Put a network together with its loss; `box_loss` is ciou, or huber for effdet's own."""
    bench = DetBenchTrain(network, create_labeler=False)
    bench.anchor_labeler = BatchLabeler(bench.anchors)
    if box_loss == "ciou":
        bench.loss_fn = CompleteIoULoss(bench)
    return bench


def set_input_size(bench: nn.Module, spec: NetworkSpec, input_wh: tuple[int, int]) -> None:
    """Have a network with its loss take inputs of `input_wh` px from now on.

    effdet fixes two things by the input's size, none of them a weight: the anchors, and how the neck goes from one
    level to the next; in an input of one cell, it has nothing to enlarge or to halve.

    Args:
        bench: effdet's DetBenchTrain, or DistributedDataParallel around it.
        spec: what the network is.
        input_wh: px.
    """
    bench = bench.module if isinstance(bench, DistributedDataParallel) else bench
    if bench.anchors.image_size == input_wh[::-1]:
        return
    with torch.random.fork_rng(devices=[]):  # the weights of this network are not used
        sized = build_network(spec._replace(input_wh=input_wh))
    sized_modules = dict(sized.named_modules())
    resamples = {name: module for name, module in bench.model.named_modules() if isinstance(module, ResampleFeatureMap)}
    for name, resample in resamples.items():
        for step in ("downsample", "upsample"):
            if hasattr(resample, step):
                delattr(resample, step)
            if hasattr(sized_modules[name], step):
                resample.add_module(step, getattr(sized_modules[name], step))
    bench.anchors = Anchors.from_config(sized.config).to(bench.anchors.boxes.device)
    bench.anchor_labeler = BatchLabeler(bench.anchors)
    for module in bench.modules():
        if isinstance(module, CompleteIoULoss):
            module.anchors = bench.anchors


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Have torch.compile translate a network in place at its first use; parameters and their names stay.

    Raises:
        UserError: torch.compile does not work here; most often there is no compiler.
    """
    try:
        torch.compile(_times_two)(torch.ones(8, device=device))
    except Exception as error:  # each backend has its own, from a missing compiler to a missing header
        reason = " ".join(str(error).partition("\n\n")[0].split())[:200]  # torch's advice on debugging follows
        raise UserError(
            f"train.compile is true, but torch.compile fails on this machine ({reason}); install a C++ compiler "
            "(g++ or clang; on CUDA also Triton), or set train.compile to false"
        ) from error
    network.compile(dynamic=False)  # with dynamic shapes, tracing a second size of inputs takes minutes


def _times_two(values: torch.Tensor) -> torch.Tensor:
    return 2 * values
