"""What is reported of the measurements: means by method and level, a summary, the curves of the drawn method."""

from typing import Any

import numpy as np

from viadet.explanation.cams import BASELINE
from viadet.explanation.explained_boxes import KINDS
from viadet.explanation.measurements import Measurements
from viadet.explanation.perturbation import BOX_CENTRE, CURVES, FRACTIONS
from viadet.explanation.randomisation import Randomisation

LOCALISATION = ("pointing_box", "pointing_polygon", "energy_box", "energy_polygon")
PARTS = ("heads", "neck", "backbone")
# `dvc plots` needs the same columns in every run.
PERTURBATION_COLUMNS = ["percent", "deletion", "insertion", "random_deletion", "random_insertion"]
RANDOMISATION_COLUMNS = ["step", "rank_correlation"]


def metrics_of(
    boxes: list[tuple[str, str]], measurements: Measurements, randomisation: Randomisation, level_names: list[str]
) -> dict[str, Any]:
    """Count what was explained and average what was measured; None where there is nothing to average.

    Args:
        boxes: kind and level of each explained box.
        measurements: of all detections.
        randomisation: of the detections that went through it.
        level_names: of the neck's levels.
    """
    measurements = {**measurements, **randomisation.untrained}

    def averages(method: str, level: str, names: tuple[str, ...]) -> dict[str, float | None]:
        return {name: mean(measurements.get((method, level, name), [])) for name in names}

    metrics = {kind: sum(box_kind == kind for box_kind, _ in boxes) for kind in KINDS}
    made_at = [level for kind, level in boxes if kind != "missed"]
    metrics |= {"detections": len(made_at), "made_at": {name: made_at.count(name) for name in level_names}}
    metrics["chance"] = averages("chance", "own", ("box", "polygon"))
    last_step = {part: index for index, (part, _) in enumerate(randomisation.steps)}
    for method, correlations in randomisation.correlations.items():
        levels = ("own", "sum", "untrained", *level_names)
        metrics[method] = {level: averages(method, level, LOCALISATION) for level in levels}
        metrics[method] |= _mean_curves(measurements, method)
        metrics[method]["randomised"] = {part: rounded(correlations[last_step[part]]) for part in PARTS}
    metrics[BOX_CENTRE] = _mean_curves(measurements, BOX_CENTRE)
    return metrics


def _mean_curves(measurements: Measurements, method: str) -> dict[str, float | None]:
    """Average deletion and insertion over all fractions and detections."""
    return {
        curve: mean([share for fraction in FRACTIONS for share in measurements.get((method, curve, fraction), [])])
        for curve in CURVES
    }


def summary_of(metrics: dict[str, Any], method: str) -> dict[str, float | None]:
    """Pick what tells two runs apart, flat: the counts, and the drawn method at the level that made the box."""
    summary = {f"explained_{kind}": metrics[kind] for kind in KINDS}
    summary["CAM_energy_polygon"] = metrics[method]["own"]["energy_polygon"]
    return summary | {f"CAM_{curve}": metrics[method][curve] for curve in CURVES}


def perturbation_rows(measurements: Measurements, method: str) -> list[dict[str, float]]:
    """Average a method's deletion and insertion by fraction, beside RandomCAM's.

    Returns:
        Rows of PERTURBATION_COLUMNS; none without a detection that was measured.
    """
    curves = {"deletion": (method, "deletion"), "insertion": (method, "insertion")}
    curves |= {"random_deletion": (BASELINE, "deletion"), "random_insertion": (BASELINE, "insertion")}
    return [
        {"percent": 100 * fraction} | {column: mean(measurements[*curve, fraction]) for column, curve in curves.items()}
        for fraction in FRACTIONS
        if measurements.get((method, "deletion", fraction))
    ]


def randomisation_rows(randomisation: Randomisation, method: str) -> list[dict[str, float]]:
    """List a method's rank correlation after each step of randomisation, and 1 before the first.

    Returns:
        Rows of RANDOMISATION_COLUMNS; none without a detection that was checked.
    """
    rows = [
        {"step": step, "rank_correlation": rounded(value)}
        for step, value in enumerate(randomisation.correlations[method], start=1)
        if value is not None
    ]
    return [{"step": 0, "rank_correlation": 1.0}, *rows] if rows else []


def mean(values: list[float]) -> float | None:
    """Average to three decimals; None if there are no values."""
    return rounded(float(np.mean(values))) if values else None


def rounded(value: float | None) -> float | None:
    """Round to three decimals."""
    return None if value is None else round(value, 3)
