"""The network as both export formats contain it: from a letterboxed batch to the best anchors' boxes, before NMS."""

import torch
from effdet import EfficientDet
from effdet.anchors import decode_box_outputs
from torch import nn

from viadet.network.boxes import CANDIDATES_PER_DETECTION, MAX_DETECTIONS, anchors_of
from viadet.network.build import NetworkSpec

CANDIDATES = CANDIDATES_PER_DETECTION * MAX_DETECTIONS  # as in `viadet.network.boxes.decode`


class CandidateNetwork(nn.Module):
    """Normalising, network, and decoding of the best candidates for a batch of any size.

    It does what `prepare_images`, `flat_outputs` and `decode` do for one image after the other, without Python code
    that depends on the data.
    """

    def __init__(self, network: EfficientDet, spec: NetworkSpec) -> None:
        """Put the parts together; `network` was built from `spec`, both for one size of the input."""
        super().__init__()
        self.network = network
        self.num_classes = len(spec.categories)
        anchors_yxyx, _ = anchors_of(network, torch.device("cpu"))
        self.candidates = min(CANDIDATES, len(anchors_yxyx) * self.num_classes)  # of an image
        self.register_buffer("anchors_yxyx", anchors_yxyx)
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(spec.std).view(3, 1, 1))

    def forward(self, canvas: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Detect candidates.

        Args:
            canvas: uint8 [B, 3, H, W], letterboxed images.

        Returns:
            Boxes, float32 [B, N, 4] as xyxy px of the input, not yet clipped; scores, float32 [B, N], best first;
            labels, int64 [B, N], from 1.
        """
        class_out, box_out = self.network((canvas.float() - self.mean) / self.std)
        # flatten and unflatten: a reshape to len(images) rows would fix the batch's size in the exported file
        logits = torch.cat([level.permute(0, 2, 3, 1).flatten(1) for level in class_out], 1)
        codes = torch.cat([level.permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)) for level in box_out], 1)
        best, places = logits.topk(self.candidates)
        anchors = places // self.num_classes
        best_codes = codes.gather(1, anchors.unsqueeze(2).expand(-1, -1, 4))
        boxes_xyxy = decode_box_outputs(
            best_codes.flatten(0, 1), self.anchors_yxyx[anchors.flatten()], output_xyxy=True
        ).unflatten(0, places.shape)
        return boxes_xyxy, best.sigmoid(), places % self.num_classes + 1
