"""AP of some of an evaluation's images: of one alone, or of images drawn at random (the bootstrap, Efron 1979)."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.cocoeval import COCOeval

PERCENTILES = (2.5, 97.5)  # between them lie 95 % of the samples


def ap_of_images(evaluation: COCOeval, images: np.ndarray) -> float:
    """AP of the named images, each as often as it is named; the evaluation stays as it is.

    Args:
        evaluation: of all images.
        images: indices into `evaluation.params.imgIds`.

    Returns:
        AP at IoU 0.50 to 0.95, mean over categories; -1 where the images hold no objects, as in COCOeval.
    """
    params = copy.copy(evaluation.params)
    # COCOeval keeps its matches by category, box size and image; the first size is that of all boxes.
    matches = np.array(evaluation.evalImgs, dtype=object).reshape(len(params.catIds), -1, len(params.imgIds))
    params.imgIds = list(range(len(images)))
    params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], params.maxDets[-1:]
    part = copy.copy(evaluation)
    part.evalImgs, part._paramsEval = matches[:, 0, images].flatten().tolist(), params
    with contextlib.redirect_stdout(io.StringIO()):
        part.accumulate(params)
    precision = part.eval["precision"]
    return float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0


def ap_interval(evaluation: COCOeval, samples: int, seed: int) -> tuple[float, float]:
    """Confidence interval (95 %) of AP over images: how much it depends on which images happened to be taken.

    It tells nothing of the spread between trainings. Samples without any object are left out.

    Args:
        evaluation: of all images.
        samples: how often as many images are drawn, with replacement.
        seed: of the draws.
    """
    count = len(evaluation.params.imgIds)
    draws = np.random.default_rng(seed).integers(count, size=(samples, count))
    aps = [ap for images in draws if (ap := ap_of_images(evaluation, images)) >= 0]
    low, high = np.percentile(aps, PERCENTILES) if aps else (-1.0, -1.0)
    return float(low), float(high)
