"""Figures over several seeds in Markdown."""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev


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
