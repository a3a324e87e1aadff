"""A confidence interval of AP by the bootstrap (Efron 1979)."""

import numpy as np
from pycocotools.cocoeval import COCOeval

from viadet.evaluation.rankings import ap_of_images, rank_detections

PERCENTILES = (2.5, 97.5)  # 95 % of the samples lie between them


def ap_interval(evaluation: COCOeval, samples: int, seed: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of AP over the choice of images (percentile bootstrap).

    It says nothing about the spread between trainings. Samples without any object are left out.

    Args:
        evaluation: from `run_cocoeval`, of all images.
        samples: number of samples; each draws as many images as there are, with replacement.
        seed: of the draws.

    Returns:
        Lower and upper bound; -1 for both if no image has an object.
    """
    image_count, rankings = len(evaluation.params.imgIds), rank_detections(evaluation)
    draws = np.random.default_rng(seed).integers(image_count, size=(samples, image_count))
    image_counts = (np.bincount(indices, minlength=image_count) for indices in draws)
    aps = [ap for counts in image_counts if (ap := ap_of_images(rankings, counts)) >= 0]
    low, high = np.percentile(aps, PERCENTILES) if aps else (-1.0, -1.0)
    return float(low), float(high)
