"""Means of measurements, with known numbers."""

from viadet.explanation.metrics import (
    PERTURBATION_COLUMNS,
    RANDOMISATION_COLUMNS,
    metrics_of,
    perturbation_rows,
    randomisation_rows,
    summary_of,
)
from viadet.explanation.perturbation import FRACTIONS
from viadet.explanation.randomisation import Randomisation

LEVELS = ["P3", "P4", "P5", "P6", "P7"]
STEPS = [("heads", "heads"), ("neck", "a"), ("neck", "b"), ("backbone", "c")]
BOXES = [("right", "P3"), ("wrong", "P4"), ("missed", "P3")]
CORRELATIONS = {"GradCAM": [0.9, 0.5, 0.3, 0.1234], "RandomCAM": []}
RANDOMISATION = Randomisation(STEPS, CORRELATIONS, {("GradCAM", "untrained", "energy_box"): [0.1, 0.2]})
MEASUREMENTS = {
    ("GradCAM", "own", "energy_box"): [0.2, 0.4],
    ("GradCAM", "deletion"): [[0.5, 0.1, 0.1, 0.0, 0.0], [0.7, 0.1, 0.1, 0.0, 0.0]],
    ("chance", "own", "box"): [0.25],
}


def test_averages_are_by_method_and_level_and_none_without_a_value():
    metrics = metrics_of(BOXES, MEASUREMENTS, RANDOMISATION, LEVELS)
    counts = {kind: metrics[kind] for kind in ("right", "wrong", "missed", "detections")}
    assert counts == {"right": 1, "wrong": 1, "missed": 1, "detections": 2}
    assert metrics["made_at"] == {"P3": 1, "P4": 1, "P5": 0, "P6": 0, "P7": 0}
    assert metrics["chance"] == {"box": 0.25, "polygon": None}
    assert metrics["GradCAM"]["own"]["energy_box"] == 0.3
    assert metrics["GradCAM"]["untrained"]["energy_box"] == 0.15
    assert metrics["GradCAM"]["P7"]["energy_box"] is None
    assert metrics["GradCAM"]["deletion"] == 0.16
    assert metrics["GradCAM"]["insertion"] is None
    assert metrics["GradCAM"]["randomised"] == {"heads": 0.9, "neck": 0.3, "backbone": 0.123}
    assert metrics["RandomCAM"]["randomised"] == {"heads": None, "neck": None, "backbone": None}
    assert metrics["BoxCentre"] == {"deletion": None, "insertion": None}


def test_the_summary_has_the_counts_and_the_drawn_method():
    summary = summary_of(metrics_of(BOXES, MEASUREMENTS, RANDOMISATION, LEVELS), "GradCAM")
    assert summary["explained_missed"] == 1
    assert summary["CAM_deletion"] == 0.16
    assert summary["CAM_insertion"] is None


def test_curves_have_a_row_for_each_fraction_and_step_that_was_measured():
    shares = {
        ("GradCAM", "deletion"): [[0.5, 0.4, 0.3, 0.2, 0.1], [0.7, 0.4, 0.3, 0.2, 0.1]],
        ("GradCAM", "insertion"): [[0.1] * 5],
        ("RandomCAM", "deletion"): [[0.9] * 5],
        ("RandomCAM", "insertion"): [[0.2] * 5],
    }
    rows = perturbation_rows(shares, "GradCAM")
    assert [row["percent"] for row in rows] == [100 * fraction for fraction in FRACTIONS]
    assert rows[0] == dict(zip(PERTURBATION_COLUMNS, [2, 0.6, 0.1, 0.9, 0.2], strict=True))
    assert rows[-1] == dict(zip(PERTURBATION_COLUMNS, [40, 0.1, 0.1, 0.9, 0.2], strict=True))
    assert perturbation_rows({}, "GradCAM") == []
    rows = randomisation_rows(RANDOMISATION, "GradCAM")
    assert [list(row) for row in rows] == [RANDOMISATION_COLUMNS] * 5
    assert [row["rank_correlation"] for row in rows] == [1, 0.9, 0.5, 0.3, 0.123]
    assert randomisation_rows(RANDOMISATION, "RandomCAM") == []
