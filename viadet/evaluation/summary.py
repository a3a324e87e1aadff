"""The main figures of an evaluation."""

from pycocotools.cocoeval import COCOeval

from viadet.evaluation.bootstrap import ap_interval
from viadet.evaluation.coco_metrics import coco_stats, map_with_ids_from_0
from viadet.evaluation.matching import MatchCounts, precision_recall_f1


def summarise(
    coco: dict, results: list[dict], evaluation: COCOeval, counts: dict[int, MatchCounts], bootstrap: int, seed: int
) -> dict[str, float]:
    """Compute COCO metrics, precision, recall, F1 and, with bootstrap samples, AP's confidence interval.

    Args:
        coco: ground truth.
        results: detections in COCO results format.
        evaluation: of these, accumulated.
        counts: by image id, from `count_matches`.
        bootstrap: number of samples; 0: no interval.
        seed: of the samples.
    """
    metrics = coco_stats(evaluation)
    metrics["bbox_mAP_ids_from_0"] = map_with_ids_from_0(coco, results, evaluation.params.maxDets[-1])
    metrics |= precision_recall_f1(list(counts.values()))
    if bootstrap:
        low, high = ap_interval(evaluation, bootstrap, seed)
        metrics |= {"bbox_mAP_low": low, "bbox_mAP_high": high}
    return metrics
