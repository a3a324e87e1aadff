"""What is used of effdet, imported without its warning: it must not become a filter of the program that imports us."""

import warnings

with warnings.catch_warnings():
    # it scripts two functions when it is imported, which torch calls deprecated: nothing that a user could fix
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    from effdet import DetBenchTrain, EfficientDet
    from effdet.anchors import Anchors, clip_boxes_xyxy, decode_box_outputs
    from effdet.config import get_efficientdet_config
    from effdet.config.model_config import efficientdet_model_param_dict
    from effdet.efficientdet import FpnCombine, ResampleFeatureMap
    from effdet.loss import new_focal_loss, one_hot
    from effdet.object_detection.box_coder import FasterRcnnBoxCoder
    from effdet.object_detection.box_list import BoxList

__all__ = [
    "Anchors",
    "BoxList",
    "DetBenchTrain",
    "EfficientDet",
    "FasterRcnnBoxCoder",
    "FpnCombine",
    "ResampleFeatureMap",
    "clip_boxes_xyxy",
    "decode_box_outputs",
    "efficientdet_model_param_dict",
    "get_efficientdet_config",
    "new_focal_loss",
    "one_hot",
]
