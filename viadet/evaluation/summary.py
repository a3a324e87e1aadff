"""The main figures of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pycocotools.cocoeval import COCOeval

from viadet.evaluation.bootstrap import ap_interval
from viadet.evaluation.coco_metrics import coco_stats, run_cocoeval
from viadet.evaluation.curves import DECIMALS
from viadet.evaluation.matching import MatchCounts, precision_recall_f1
from viadet.evaluation.rankings import ap_of_images, rank_detections
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.project.metric_names import AP, AP_NAMES

MAIN_FIGURES = (*AP_NAMES, "f1", f"views_{AP}", f"test_{AP}")


def summarise(evaluation: COCOeval, counts: dict[int, MatchCounts], bootstrap: int, seed: int) -> dict[str, float]:
    """Compute COCO metrics, precision, recall, F1 and, with bootstrap samples, AP's confidence interval.

    Args:
        evaluation: from `run_cocoeval`.
        counts: by image id, from `count_matches`.
        bootstrap: number of samples; 0: no interval.
        seed: of the samples.
    """
    metrics = coco_stats(evaluation)
    metrics[f"{AP}_ids_from_0"] = map_with_ids_from_0(evaluation)
    metrics |= precision_recall_f1(list(counts.values()))
    if bootstrap:
        low, high = ap_interval(evaluation, bootstrap, seed)
        metrics |= {f"{AP}_low": low, f"{AP}_high": high}
    return {name: round(value, DECIMALS) for name, value in metrics.items()}


def map_with_ids_from_0(evaluation: COCOeval) -> float:
    """AP as reported by those who number annotations from 0, so that COCOeval takes the first match for a miss."""
    lowest = min((id_ for entry in evaluation.evalImgs for id_ in entry["gtIds"]), default=None)
    return round(ap_of_images(rank_detections(evaluation, lowest), np.ones(len(evaluation.params.imgIds), int)), 4)


def ap_figures(prefix: str, coco: dict, results: Sequence[dict], max_detections: int) -> dict[str, float]:
    """Compute AP and its parts, named with a prefix, of other detections than the plain ones."""
    stats = coco_stats(run_cocoeval(coco, results, max_detections))
    return {f"{prefix}_{name}": round(value, DECIMALS) for name, value in stats.items() if "mAP" in name}


def read_test_split(path: Path) -> dict:
    """Read the COCO annotations of the split test.

    Raises:
        UserError: the data set has no such split.
    """
    if not path.exists():
        raise UserError(
            "evaluate.test_set is true, but no images are kept for a test; set it to false, or put images into a "
            "folder named test, or set convert.split.test"
        )
    return read_json(path)


def main_figures(metrics: dict[str, float]) -> dict[str, float]:
    """Pick the few figures that experiments are compared by; `dvc exp show` has a column for each."""
    return {name: metrics[name] for name in MAIN_FIGURES if name in metrics}
