"""AP of a subset of an evaluation's images, and a confidence interval of AP by the bootstrap (Efron 1979)."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.cocoeval import COCOeval

PERCENTILES = (2.5, 97.5)  # 95 % of the samples lie between them


def ap_of_images(evaluation: COCOeval, image_indices: np.ndarray) -> float:
    """Compute AP of some images; an image that is listed twice counts twice. The evaluation is left unchanged.

    Args:
        evaluation: of all images, accumulated.
        image_indices: int [N], indices into `evaluation.params.imgIds`.

    Returns:
        AP at IoU 0.50 to 0.95, mean over categories; -1 if the images have no objects, as in COCOeval.
    """
    params = copy.copy(evaluation.params)
    # COCOeval stores matches by category, box size and image; the first box size is "all".
    matches = np.array(evaluation.evalImgs, dtype=object).reshape(len(params.catIds), -1, len(params.imgIds))
    params.imgIds = list(range(len(image_indices)))
    params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], params.maxDets[-1:]
    subset = copy.copy(evaluation)
    subset.evalImgs, subset._paramsEval = matches[:, 0, image_indices].flatten().tolist(), params
    with contextlib.redirect_stdout(io.StringIO()):
        subset.accumulate(params)
    precision = subset.eval["precision"]
    return float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0


def ap_interval(evaluation: COCOeval, samples: int, seed: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of AP over the choice of images (percentile bootstrap).

    It says nothing about the spread between trainings. Samples without any object are left out.

    Args:
        evaluation: of all images, accumulated.
        samples: number of samples; each draws as many images as there are, with replacement.
        seed: of the draws.

    Returns:
        Lower and upper bound; -1 for both if no image has an object.
    """
    image_count = len(evaluation.params.imgIds)
    draws = np.random.default_rng(seed).integers(image_count, size=(samples, image_count))
    aps = [ap for image_indices in draws if (ap := ap_of_images(evaluation, image_indices)) >= 0]
    low, high = np.percentile(aps, PERCENTILES) if aps else (-1.0, -1.0)
    return float(low), float(high)
