"""The rendered sample as it is written: files, sizes, polygons that fit the balloons."""

import json

import numpy as np
import pytest
from PIL import Image

from viadet.sample.render import write_rendered_split

SIZE = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A split of 60 images; nobody changes it."""
    folder = tmp_path_factory.mktemp("rendered")
    write_rendered_split(folder, 60, SIZE, (0, 0))
    return folder


def entries(folder):
    return list(json.loads((folder / "via_region_data.json").read_text(encoding="utf-8")).values())


def regions(entry):
    return list(entry["regions"].values()) if isinstance(entry["regions"], dict) else entry["regions"]


def outlines(folder):
    for entry in entries(folder):
        for region in regions(entry):
            shape = region["shape_attributes"]
            yield entry["filename"], np.array([shape["all_points_x"], shape["all_points_y"]]).T


def test_equal_seeds_give_equal_files_and_other_seeds_do_not(tmp_path):
    for name, seed in (("a", (0, 0)), ("b", (0, 0)), ("c", (0, 1)), ("d", (1, 0))):
        (tmp_path / name).mkdir()
        write_rendered_split(tmp_path / name, 3, 128, seed)
    files = {name: [p.read_bytes() for p in sorted((tmp_path / name).iterdir())] for name in "abcd"}
    assert files["a"] == files["b"]
    assert files["a"] != files["c"]
    assert files["a"] != files["d"]


def test_an_image_does_not_depend_on_how_many_there_are(folder, tmp_path):
    write_rendered_split(tmp_path, 2, SIZE, (0, 0))
    for name in ("0000.jpg", "0001.jpg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_images_have_the_requested_size_and_polygons_lie_inside(folder):
    sizes = {}
    for path in folder.glob("*.jpg"):
        with Image.open(path) as image:
            sizes[path.name] = image.size
    assert len(sizes) == 60
    assert all(max(size) == SIZE for size in sizes.values())
    assert len({size[0] > size[1] for size in sizes.values()}) == 2  # landscape and portrait
    for name, outline in outlines(folder):
        assert (outline >= 0).all()
        assert (outline <= sizes[name]).all()
        assert len(outline) >= 3


def test_balloons_come_in_all_sizes_and_some_images_have_none(folder):
    areas = np.array([np.prod(np.ptp(outline, axis=0)) for _, outline in outlines(folder)])
    assert (areas < 32**2).mean() > 0.05
    assert ((areas >= 32**2) & (areas < 96**2)).mean() > 0.25
    assert (areas >= 96**2).mean() > 0.15
    counts = [len(regions(entry)) for entry in entries(folder)]
    assert 0 < counts.count(0) < 20
    assert max(counts) >= 5


def test_regions_are_written_in_both_forms_of_via(folder):
    assert {type(entry["regions"]) for entry in entries(folder)} == {dict, list}


def test_polygons_follow_the_edges_of_balloons(folder):
    """Balloons are bright and backgrounds mostly are not, so colours differ across each outline."""
    differences = []
    for name, outline in outlines(folder):
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("RGB")).astype(float)
        centre = outline.mean(0)
        size = np.ptp(outline, axis=0).min()
        if size < 20:
            continue

        def colour(points, pixels=pixels):
            x, y = np.clip(points.round().astype(int).T, 0, np.array(pixels.shape[1::-1])[:, None] - 1)
            return pixels[y, x]

        inner = centre + (outline - centre) * (1 - 5 / size)
        outer = centre + (outline - centre) * (1 + 5 / size)
        differences.append(np.median(np.abs(colour(inner) - colour(outer)).sum(1)))
    assert len(differences) > 60
    assert np.median(differences) > 60
    assert np.quantile(differences, 0.1) > 20
