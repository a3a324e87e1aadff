"""What an exported file says about itself."""

from importlib.metadata import version

from viadet.network.boxes import MAX_DETECTIONS, NMS_IOU, VOTE_IOU
from viadet.network.build import NetworkSpec


def export_metadata(spec: NetworkSpec, threshold: float) -> dict[str, object]:
    """Describe an exported detector; label 1 is the first of the categories."""
    return {
        "categories": spec.categories,
        "input_wh": list(spec.input_wh),
        "score_threshold": threshold,
        "max_detections": MAX_DETECTIONS,
        "nms_iou": NMS_IOU,
        "vote_iou": VOTE_IOU,
        "network": spec.name,
        "viadet_version": version("via-efficientdet"),
    }
