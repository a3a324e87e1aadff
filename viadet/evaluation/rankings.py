"""AP of a subset of an evaluation's images, from the ranking of all detections."""

from typing import NamedTuple

import numpy as np
from pycocotools.cocoeval import COCOeval

RECALLS = np.linspace(0.0, 1.0, 101)  # COCOeval's, to the bit: equal recalls must compare equal


class Ranking(NamedTuple):
    """The detections of one category in all images, best first, in COCOeval's order."""

    image_indices: np.ndarray  # int [N], into `evaluation.params.imgIds`
    hits: np.ndarray  # bool [10, N]: true positives at each IoU
    object_counts: np.ndarray  # int [images]


def rank_detections(evaluation: COCOeval, lost_id: int | None = None) -> list[Ranking]:
    """Rank the detections of each category that has entries; no object of this project's data sets is a crowd.

    Args:
        evaluation: from `run_cocoeval`.
        lost_id: of an annotation whose matches count as none; None: of none.
    """
    image_index = {image_id: index for index, image_id in enumerate(evaluation.params.imgIds)}
    entries_of: dict[int, list[dict]] = {category_id: [] for category_id in evaluation.params.catIds}
    for entry in evaluation.evalImgs:
        entries_of[entry["category_id"]].append(entry)
    rankings = []
    for entries in filter(None, entries_of.values()):
        indices = np.array([image_index[entry["image_id"]] for entry in entries])
        object_counts = np.zeros(len(image_index), int)
        object_counts[indices] = [len(entry["gtIds"]) for entry in entries]
        scores = np.concatenate([entry["dtScores"] for entry in entries])
        matches = np.concatenate([entry["dtMatches"] for entry in entries], axis=1)
        order = np.argsort(-scores, kind="stable")
        image_indices = np.repeat(indices, [len(entry["dtScores"]) for entry in entries])[order]
        rankings.append(Ranking(image_indices, ((matches != 0) & (matches != (lost_id or 0)))[:, order], object_counts))
    return rankings


def ap_of_images(rankings: list[Ranking], image_counts: np.ndarray) -> float:
    """Compute AP of some images, as COCOeval would of these alone; tied scores keep the order of all images.

    Args:
        rankings: from `rank_detections`.
        image_counts: int [images], how often each counts.

    Returns:
        AP at IoU 0.50 to 0.95, mean over categories; -1 if the images have no objects, as in COCOeval.
    """
    precisions = []
    for ranking in rankings:
        object_count = int(ranking.object_counts @ image_counts)
        if not object_count:
            continue
        counts = image_counts[ranking.image_indices]
        ranks = np.cumsum(counts)
        for hits in map(np.flatnonzero, ranking.hits):
            true_positives = np.cumsum(counts[hits])
            precision = true_positives / (ranks[hits] + np.spacing(1))  # COCOeval's guard against 0 / 0
            precisions.append(interpolate(precision, true_positives / object_count))
    if not precisions:
        return -1.0
    by_category = np.array(precisions).reshape(-1, len(rankings[0].hits), len(RECALLS))
    return float(by_category.transpose(1, 2, 0).flatten().mean())  # in COCOeval's order of summing


def ap_by_image(rankings: list[Ranking], image_count: int) -> list[float]:
    """Compute AP of each image alone; -1 for images without objects."""
    alone: list[list[Ranking]] = [[] for _ in range(image_count)]
    for ranking in rankings:
        order = np.argsort(ranking.image_indices, kind="stable")
        starts = np.searchsorted(ranking.image_indices[order], np.arange(image_count + 1))
        for index in np.flatnonzero(ranking.object_counts).tolist():
            chosen = order[starts[index] : starts[index + 1]]
            indices, object_counts = np.zeros(len(chosen), int), ranking.object_counts[index : index + 1]
            alone[index].append(Ranking(indices, ranking.hits[:, chosen], object_counts))
    return [ap_of_images(image_rankings, np.ones(1, int)) for image_rankings in alone]


def interpolate(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Read precision, made monotonic, at COCO's 101 recalls.

    Args:
        precision: at each true positive, best score first, [N].
        recall: likewise.

    Returns:
        Precision [101]; 0 at recalls that are not reached.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(recall, RECALLS)]
