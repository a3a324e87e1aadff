"""Means of what was measured of maps, by method and level."""

from pathlib import Path
from typing import Any

import numpy as np

from viadet.explanation.explained import KINDS
from viadet.explanation.faithfulness import BOX_CENTRE, FRACTIONS, Key
from viadet.project.files import write_csv

BASELINE = "RandomCAM"
MEASURES = ("pointing_box", "pointing_polygon", "energy_box", "energy_polygon")
PARTS = ("heads", "neck", "backbone")


def metrics_of(
    boxes: list[tuple[str, str]],
    values: dict[Key, list[float]],
    steps: list[tuple[str, str]],
    correlations: dict[str, list[float]],
    names: list[str],
) -> dict[str, Any]:
    """Count what was explained and average by method; None where there is nothing to average.

    Args:
        boxes: kind and level of each.
        values: by method, level and measure, a value each detection.
        steps: the part and path that each step made random.
        correlations: by method, a step each.
        names: of the levels.
    """
    last_of = {part: index for index, (part, _) in enumerate(steps)}

    def mean_curve(method: str, curve: str) -> float | None:
        return mean([share for fraction in FRACTIONS for share in values[method, curve, fraction]])

    metrics = {kind: sum(box[0] == kind for box in boxes) for kind in KINDS}
    found = [level for kind, level in boxes if kind != "missed"]
    metrics |= {"detections": len(found), "made_at": {name: found.count(name) for name in names}}
    metrics["chance"] = {where: mean(values["chance", "own", where]) for where in ("box", "polygon")}
    for method, by_step in correlations.items():
        levels = ("own", "sum", "untrained", *names)
        metrics[method] = {level: {name: mean(values[method, level, name]) for name in MEASURES} for level in levels}
        metrics[method] |= {curve: mean_curve(method, curve) for curve in ("deletion", "insertion")}
        metrics[method]["randomised"] = {part: rounded(by_step[last_of[part]]) for part in PARTS}
    metrics[BOX_CENTRE] = {curve: mean_curve(BOX_CENTRE, curve) for curve in ("deletion", "insertion")}
    return metrics


def summary_of(metrics: dict, method: str) -> dict[str, float | None]:
    """Pick what tells two runs apart, flat: the drawn method at the level that made the box, beside RandomCAM."""
    summary = {f"explained_{kind}": metrics[kind] for kind in KINDS}
    for prefix, name in (("CAM", method), (BASELINE, BASELINE)):
        summary |= {f"{prefix}_{measure}": metrics[name]["own"][measure] for measure in MEASURES}
        summary |= {f"{prefix}_{curve}": metrics[name][curve] for curve in ("deletion", "insertion")}
    summary["CAM_random_heads"] = metrics[method]["randomised"]["heads"]
    return summary


def write_curves(
    folder: Path,
    values: dict[Key, list[float]],
    steps: list[tuple[str, str]],
    correlations: dict[str, list[float]],
    method: str,
) -> None:
    """Write the curves of the drawn method for `dvc plots`, which wants the same fields in every run."""
    curves = {"deletion": (method, "deletion"), "insertion": (method, "insertion")}
    curves |= {"random_deletion": (BASELINE, "deletion"), "random_insertion": (BASELINE, "insertion")}
    rows = [
        {"percent": 100 * fraction} | {name: mean(values[*curve, fraction]) for name, curve in curves.items()}
        for fraction in FRACTIONS
        if values[method, "deletion", fraction]
    ]
    write_csv(folder / "perturbation.csv", rows, ["percent", *curves])
    rows = [
        {"step": step, "rank_correlation": rounded(value)}
        for step, value in enumerate(correlations[method], start=1)
        if value is not None
    ]
    start = [{"step": 0, "rank_correlation": 1.0}] if rows else []
    write_csv(folder / "randomisation.csv", start + rows, ["step", "rank_correlation"])


def mean(values: list[float]) -> float | None:
    """Average to three decimals; None where there is nothing to average."""
    return rounded(float(np.mean(values))) if values else None


def rounded(value: float | None) -> float | None:
    """Round to three decimals."""
    return None if value is None else round(value, 3)
