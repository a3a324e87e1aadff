"""Cutting photographs into overlapping tiles."""

from itertools import pairwise

import pytest

from viadet.images.tiles import OVERLAP, Tile, tiles_of, zoom_of


@pytest.mark.parametrize("tiles", [0, 1])
def test_no_tiles_and_one_are_the_whole_photograph(tiles):
    assert tiles_of((640, 480), tiles) == [Tile(0, 0, 640, 480)] and zoom_of(tiles) == 1


@pytest.mark.parametrize("tiles", range(2, 9))
def test_tiles_cover_a_photograph_overlap_by_a_quarter_and_show_it_larger(tiles):
    side = 4000
    found = tiles_of((side, side), tiles)
    assert len(found) == tiles**2
    length = side / zoom_of(tiles)
    first_row = found[:tiles]
    assert first_row[0].left == 0 and first_row[-1].right == side
    for tile, following in pairwise(first_row):
        assert tile.size_wh[0] == pytest.approx(length, abs=1)
        assert tile.right - following.left == pytest.approx(OVERLAP * length, abs=2)
    assert [tile.top for tile in found[::tiles]] == [tile.left for tile in first_row]


def test_tiles_of_a_photograph_of_few_pixels_have_at_least_one_each():
    for side in range(1, 12):
        for tiles in range(1, 9):
            for tile in tiles_of((side, 1), tiles):
                assert 0 <= tile.left < tile.right <= side and (tile.top, tile.bottom) == (0, 1)
