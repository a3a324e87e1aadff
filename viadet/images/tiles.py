"""Cutting large photographs into overlapping tiles, which show small objects at a larger scale.

Slicing-aided inference (Akyon et al. 2022, SAHI) with a grid that has the photograph's own proportions.
"""

from typing import NamedTuple

OVERLAP = 0.25  # of a tile's side, shared with its neighbour: smaller objects are whole in one of them


class Tile(NamedTuple):
    """A part of a photograph, whole px of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, px."""
        return self.right - self.left, self.bottom - self.top


def zoom_of(tiles: int) -> float:
    """Tell how much larger `tiles` x `tiles` tiles show what is in a photograph; 0 and 1 stand for the whole one."""
    return max(1, tiles) * (1 - OVERLAP) + OVERLAP


def tiles_of(size_wh: tuple[int, int], tiles: int) -> list[Tile]:
    """Cut a photograph of this size, px, into `tiles` x `tiles` tiles, row by row; 0 and 1 stand for the whole one."""
    columns, rows = (spans_of(side, tiles) for side in size_wh)
    return [Tile(left, top, right, bottom) for top, bottom in rows for left, right in columns]


def spans_of(side: int, tiles: int) -> list[tuple[int, int]]:
    """Divide a side of a photograph, px, into overlapping spans of nearly the same length, at least 1 px each."""
    length = side / zoom_of(tiles)
    starts = [number * length * (1 - OVERLAP) for number in range(max(1, tiles))]
    whole = [(min(side - 1, round(start)), round(start + length)) for start in starts]
    return [(start, min(side, max(start + 1, stop))) for start, stop in whole]
