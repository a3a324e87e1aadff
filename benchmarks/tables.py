"""Figures over several seeds: rows in a CSV file, tables in Markdown."""

import csv
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import mean, stdev


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of finished trainings from a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def standard_error(values: Sequence[float]) -> float:
    """Give the standard error of the mean; 0 of a single value."""
    return stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0


def mean_and_error(values: Sequence[float]) -> str:
    """Format the mean, and its standard error if there are several values."""
    error = f" ± {standard_error(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{error}"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Format a table, whose first line has the heads; lines that are shorter end in empty cells."""
    columns = len(lines[0])
    lines = [lines[0], ["---"] * columns, *([*line, *[""] * (columns - len(line))] for line in lines[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
