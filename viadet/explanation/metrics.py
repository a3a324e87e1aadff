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

    Boxes are given as kind and level.
    """
    measurements = {**measurements, **randomisation.untrained}

    def averages(method: str, level: str, names: tuple[str, ...]) -> dict[str, float | None]:
        return {name: _mean(measurements.get((method, level, name))) for name in names}

    def mean_curves(method: str) -> dict[str, float | None]:
        return {curve: _mean(measurements.get((method, curve))) for curve in CURVES}

    metrics = {kind: sum(box_kind == kind for box_kind, _ in boxes) for kind in KINDS}
    made_at = [level for kind, level in boxes if kind != "missed"]
    metrics |= {"detections": len(made_at), "made_at": {name: made_at.count(name) for name in level_names}}
    metrics["chance"] = averages("chance", "own", ("box", "polygon"))
    last_step = {part: index for index, (part, _) in enumerate(randomisation.steps)}
    for method, correlations in randomisation.correlations.items():
        levels = ("own", "sum", "untrained", *level_names)
        metrics[method] = {level: averages(method, level, LOCALISATION) for level in levels} | mean_curves(method)
        metrics[method]["randomised"] = {
            part: round(correlations[last_step[part]], 3) if correlations else None for part in PARTS
        }
    metrics[BOX_CENTRE] = mean_curves(BOX_CENTRE)
    return metrics


def _mean(values: list | None) -> float | None:
    """Average to three decimals, over all fractions and detections; None if there are no values."""
    return round(float(np.mean(values)), 3) if values else None


def summary_of(metrics: dict[str, Any], method: str) -> dict[str, float | None]:
    """Pick what tells two runs apart, flat: the counts, and the drawn method at the level that made the box."""
    summary = {f"explained_{kind}": metrics[kind] for kind in KINDS}
    summary["CAM_energy_polygon"] = metrics[method]["own"]["energy_polygon"]
    return summary | {f"CAM_{curve}": metrics[method][curve] for curve in CURVES}


def mean_curve(measurements: Measurements, method: str, curve: str) -> list[float]:
    """Average deletion or insertion over detections, by FRACTIONS; empty without a detection that was measured."""
    shares = measurements.get((method, curve))
    return [round(share, 3) for share in np.mean(shares, axis=0).tolist()] if shares else []


def perturbation_rows(measurements: Measurements, method: str) -> list[dict[str, float]]:
    """List a method's deletion and insertion by fraction, beside RandomCAM's, in rows of PERTURBATION_COLUMNS."""
    curves = [mean_curve(measurements, shown, curve) for shown in (method, BASELINE) for curve in CURVES]
    percents = [100 * fraction for fraction in FRACTIONS]
    return [dict(zip(PERTURBATION_COLUMNS, row, strict=True)) for row in zip(percents, *curves, strict=False)]


def randomisation_rows(randomisation: Randomisation, method: str) -> list[dict[str, float]]:
    """List a method's rank correlation after each step, and 1 before the first, in rows of RANDOMISATION_COLUMNS."""
    correlations = randomisation.correlations[method]
    steps = enumerate([1.0, *correlations]) if correlations else ()
    return [{"step": step, "rank_correlation": round(value, 3)} for step, value in steps]
