"""The main figures of an evaluation."""

from collections.abc import Mapping
from pathlib import Path

from viadet.detection.detections import Detections
from viadet.evaluation.average_precision import ap_interval, ap_of_all
from viadet.evaluation.coco_metrics import CocoMetrics, evaluate_coco
from viadet.evaluation.curves import DECIMALS
from viadet.evaluation.matches import Matches, precision_recall_f1
from viadet.project.errors import UserError
from viadet.project.files import read_json
from viadet.project.metric_names import AP, AP_NAMES
from viadet.project.params import EvaluateParams

MAIN_FIGURES = (*AP_NAMES, "f1", f"views_{AP}", f"test_{AP}")


def summarise(metrics: CocoMetrics, params: EvaluateParams, seed: int) -> dict[str, float]:
    """Gather COCO metrics, precision, recall, F1 and, with bootstrap samples, AP's confidence interval.

    Args:
        metrics: of all images.
        params: score threshold of precision, recall and F1; number of samples, 0: no interval.
        seed: of the samples.
    """
    matches = metrics.matches
    figures = metrics.stats | {f"{AP}_ids_from_0": map_with_ids_from_0(matches)}
    figures |= precision_recall_f1(list(matches.above(params.score_threshold).counts_by_image().values()))
    if params.bootstrap:
        low, high = ap_interval(matches, params.bootstrap, seed)
        figures |= {f"{AP}_low": low, f"{AP}_high": high}
    return {name: round(value, DECIMALS) for name, value in figures.items()}


def map_with_ids_from_0(matches: Matches) -> float:
    """AP as reported by those who number annotations from 0, so that COCOeval takes the first match for a miss."""
    return round(ap_of_all(matches, lost_id=1), 4)


def ap_figures(prefix: str, coco: dict, detections: Mapping[int, Detections], max_detections: int) -> dict[str, float]:
    """Compute AP and its parts, named with a prefix, of other detections than the plain ones."""
    stats = evaluate_coco(coco, detections, max_detections).stats
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
