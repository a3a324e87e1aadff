"""The names of the metrics that more than one file uses; those of AP are mmdetection's."""

AP = "bbox_mAP"  # mean over IoU 0.50 to 0.95
AP_50 = "bbox_mAP_50"
AP_75 = "bbox_mAP_75"
AP_NAMES = (AP, AP_50, AP_75, "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")  # COCOeval's first six figures
EVALUATE_PATH = "metrics/evaluate.json"  # the figures that experiments are compared by
