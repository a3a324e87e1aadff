"""Average precision (AP) from a table of matches: of some images, of each alone, and how far AP may vary by chance."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from viadet.evaluation.matches import IOUS, Matches

RECALLS = np.linspace(0.0, 1.0, 101)  # COCOeval's, to the bit: equal recalls must compare equal
PERCENTILES = (2.5, 97.5)  # 95 % of the samples lie between them


def precision_at_recalls(
    true_positives: NDArray[np.int64], ranks: NDArray[np.int64], object_count: int
) -> NDArray[np.float64]:
    """Read precision, made monotonic, at COCO's 101 recalls; their mean is AP. COCOeval gives the same to the bit.

    Args:
        true_positives: at each hit, best score first, how many hits there are up to it, [H].
        ranks: at each hit, how many detections there are up to it, [H].
        object_count: at least 1.

    Returns:
        [101]; 0 at recalls that are not reached.
    """
    precision = true_positives / (ranks + np.spacing(1))  # COCOeval's guard against 0 / 0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(envelope, 0.0)[np.searchsorted(true_positives / object_count, RECALLS)]


def average_precision(is_hit: NDArray[np.bool_], object_count: int) -> float:
    """Compute AP of one category at one IoU.

    Args:
        is_hit: which detections are true positives, best score first, [N].
        object_count: at least 1.
    """
    ranks = np.flatnonzero(is_hit) + 1
    return float(precision_at_recalls(np.arange(1, len(ranks) + 1), ranks, object_count).mean())


class Ranking(NamedTuple):
    """The detections of one category, best first; those of equal scores in the order of the images."""

    images: NDArray[np.int64]  # [N], index of each one's image
    is_hit: NDArray[np.bool_]  # [10, N]
    object_counts: NDArray[np.int64]  # [images]


def rank_detections(matches: Matches, lost_id: int | None = None) -> list[Ranking]:
    """Rank the detections of each category.

    Args:
        matches: of all images.
        lost_id: of an annotation whose matches count as none; None: of none.
    """
    rankings = []
    for category in range(len(matches.category_ids)):
        rows = matches.rows[matches.rows["category"] == category]
        rows = rows[np.argsort(-rows["score"], kind="stable")]
        is_hit = (rows["hits"] != 0) & (rows["hits"] != (lost_id or 0))
        rankings.append(Ranking(rows["image"], is_hit.T, matches.object_counts[:, category]))
    return rankings


def ap_of_images(rankings: list[Ranking], image_counts: NDArray[np.int64]) -> float:
    """Compute AP of some images, as COCOeval would of these alone; tied scores keep the order of all images.

    Args:
        rankings: from `rank_detections`.
        image_counts: [images], how often each counts.

    Returns:
        AP at IoU 0.50 to 0.95, mean over categories; -1 if the images have no objects, as in COCOeval.
    """
    precisions = []
    for ranking in rankings:
        object_count = int(ranking.object_counts @ image_counts)
        if not object_count:
            continue
        counts = image_counts[ranking.images]
        ranks = np.cumsum(counts)
        for hits in map(np.flatnonzero, ranking.is_hit):
            precisions.append(precision_at_recalls(np.cumsum(counts[hits]), ranks[hits], object_count))
    if not precisions:
        return -1.0
    by_category = np.array(precisions).reshape(-1, len(IOUS), len(RECALLS))
    return float(by_category.transpose(1, 2, 0).flatten().mean())  # in COCOeval's order of summing


def ap_of_all(matches: Matches, lost_id: int | None = None) -> float:
    """Compute AP of all images; `lost_id` as for `rank_detections`."""
    return ap_of_images(rank_detections(matches, lost_id), np.ones(len(matches.image_ids), int))


def ap_by_image(matches: Matches) -> list[float]:
    """Compute AP of each image alone; -1 for images without objects."""
    alone: list[list[Ranking]] = [[] for _ in matches.image_ids]
    for ranking in rank_detections(matches):
        order = np.argsort(ranking.images, kind="stable")
        starts = np.searchsorted(ranking.images[order], np.arange(len(alone) + 1))
        for index in np.flatnonzero(ranking.object_counts).tolist():
            chosen = order[starts[index] : starts[index + 1]]
            object_counts = ranking.object_counts[index : index + 1]
            alone[index].append(Ranking(np.zeros(len(chosen), int), ranking.is_hit[:, chosen], object_counts))
    return [ap_of_images(rankings, np.ones(1, int)) for rankings in alone]


def ap_interval(matches: Matches, samples: int, seed: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of AP over the choice of images (percentile bootstrap, Efron 1979).

    It says nothing about the spread between trainings. Samples without any object are left out.

    Args:
        matches: of all images.
        samples: number of samples; each draws as many images as there are, with replacement.
        seed: of the draws.

    Returns:
        Lower and upper bound; -1 for both if no image has an object.
    """
    image_count, rankings = len(matches.image_ids), rank_detections(matches)
    draws = np.random.default_rng(seed).integers(image_count, size=(samples, image_count))
    aps = [ap_of_images(rankings, np.bincount(images, minlength=image_count)) for images in draws]
    aps = [ap for ap in aps if ap >= 0]
    low, high = np.percentile(aps, PERCENTILES) if aps else (-1.0, -1.0)
    return float(low), float(high)
