"""Random views, mosaics and pasted objects: boxes against the pixels that are visible."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from viadet.augmentation.augment import augment, mosaic, object_mask, place_view, random_view, visible_span
from viadet.augmentation.copy_paste import CutOut, CutOuts, copy_paste, paste, random_cut_out
from viadet.augmentation.objects import IGNORED, Object, Outlines, Scene, hide, label_in_sample, visible_box_xyxy
from viadet.images.pixels import blank_canvas, resize
from viadet.images.polygons import polygon_mask
from viadet.project.params import AugmentParams

GREY = (128, 128, 128)
RED = torch.tensor([255, 0, 0], dtype=torch.uint8)


def params(**changes):
    defaults = {
        "scale": [1.0, 1.0],
        "flip": 0.0,
        "colour": 0.0,
        "channels": 0.0,
        "copy_paste": 0,
        "cluster": 0.0,
        "mosaic": 0.0,
        "plain_epochs": 0,
    }
    return AugmentParams(**(defaults | changes))


def rectangle(x0, y0, x1, y1):
    return torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=torch.float32)


def mask_of(polygon, width, height):
    return torch.from_numpy(polygon_mask(polygon.numpy(), width, height))


def whole_mask(object_, width, height):
    """The visible pixels of an object in all of a canvas."""
    whole, (left, top) = np.zeros((height, width), bool), object_.corner_xy
    whole[top : top + object_.mask.shape[0], left : left + object_.mask.shape[1]] = object_.mask
    return whole


def square(side):
    """An opaque white cut-out."""
    white = torch.full((3, side, side), 255, dtype=torch.uint8)
    return CutOut(white, white[0], 1)


def cut_outs_of(scenes):
    outlines = [
        Outlines((scene.image.shape[2], scene.image.shape[1]), scene.polygons, scene.labels) for scene in scenes
    ]
    return CutOuts(scenes, outlines)


@pytest.fixture
def scene():
    """A red rectangle, x 40..80 and y 30..60, on a black photograph of 200 x 100 px."""
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    image[:, 30:60, 40:80] = RED.view(3, 1, 1)
    return Scene(image, [rectangle(40, 30, 80, 60)], [1])


def red_extent_xyxy(image):
    red = (image[0] > 180) & (image[1] < 90)
    columns, rows = red.any(0).nonzero(), red.any(1).nonzero()
    return [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1]


@pytest.mark.parametrize("seed", range(12))
def test_a_box_is_the_extent_of_the_visible_pixels_in_any_view(scene, seed):
    torch.manual_seed(seed)
    before = scene.image.clone(), scene.polygons[0].clone()
    sample = augment([scene], 0, [], params(scale=[0.5, 3.0], flip=0.5), (128, 96), GREY)
    assert sample.image.shape == (3, 96, 128)
    if len(sample.boxes_xyxy):
        # edges are blurred by resizing: one px of tolerance
        np.testing.assert_allclose(sample.boxes_xyxy[0], red_extent_xyxy(sample.image), atol=1.01)
    assert torch.equal(before[0], scene.image)
    assert torch.equal(before[1], scene.polygons[0])


def test_most_views_keep_the_object(scene):
    torch.manual_seed(0)
    kept = [len(augment([scene], 0, [], params(scale=[0.5, 3.0]), (128, 128), GREY).labels) for _ in range(40)]
    assert 20 < sum(kept) < 40


def test_a_mirrored_view_mirrors_the_box(scene):
    torch.manual_seed(0)
    view, mirrored_view = (blank_canvas((200, 200), GREY) for _ in range(2))
    [polygon] = random_view(scene, params(), view)
    torch.manual_seed(0)
    [mirrored] = random_view(scene, params(flip=1.0), mirrored_view)
    assert torch.equal(view.flip(2), mirrored_view)
    # x of 40 and 80 become 200 - 40 = 160 and 200 - 80 = 120
    assert mirrored[:, 0].tolist() == [160, 120, 120, 160]
    assert torch.equal(polygon[:, 1], mirrored[:, 1])


def test_pixels_beside_the_photograph_have_the_fill_colour(scene):
    torch.manual_seed(0)
    view = blank_canvas((200, 200), GREY)
    random_view(scene, params(scale=[0.5, 0.5], flip=0.5), view)
    assert (view == 128).all(0).sum() == 200 * 200 - 100 * 50


@settings(max_examples=200, deadline=None)
@given(side=st.integers(1, 3000), scale=st.floats(0.02, 8), room=st.integers(1, 1000), share=st.floats(0, 1))
def test_what_is_scaled_of_a_photograph_covers_the_canvas(side, scale, room, share):
    scaled_side = max(1, round(side * scale))
    offset = round(min(0, scaled_side - room) + share * abs(scaled_side - room))
    span = visible_span(side, scaled_side, offset, room)
    assert 0 <= span.start < span.stop <= side
    assert span.scaled_start <= max(0, offset)
    assert span.scaled_stop >= min(scaled_side, offset + room)
    px = max(1, side / scaled_side)  # of the photograph
    assert span.stop - span.start <= room * side / scaled_side + 6 * px + 2
    for place, scaled_place in ((span.start, span.scaled_start), (span.stop, span.scaled_stop)):
        assert abs(place - scaled_place * side / scaled_side) <= 0.5001  # px of the photograph


@pytest.mark.parametrize("photograph_wh", [(150, 100), (1200, 800)])
@pytest.mark.parametrize("seed", range(6))
def test_a_view_shows_what_the_whole_photograph_scaled_would(photograph_wh, seed):
    """Enlarged four times, or reduced to half; others move by half a px at most, see the next tests."""
    width, height = photograph_wh
    torch.manual_seed(seed)
    image = torch.randint(256, (3, height, width), dtype=torch.uint8)
    view = blank_canvas((300, 200), GREY)
    [outline] = random_view(Scene(image, [rectangle(0, 0, width, height)], [1]), params(scale=[2.0, 2.0]), view)
    left, top = (-outline[0]).int().tolist()
    assert torch.equal(view, resize(image, (600, 400))[:, top : top + 200, left : left + 300])


@pytest.mark.parametrize("seed", range(12))
def test_a_view_and_its_polygons_are_cut_at_the_same_place(seed):
    ramp = (torch.arange(120.0) + 0.5) * 2
    image = torch.stack([ramp.expand(120, 120), ramp[:, None].expand(120, 120), torch.zeros(120, 120)]).to(torch.uint8)
    view = blank_canvas((97, 61), GREY)
    torch.manual_seed(seed)
    [outline] = random_view(Scene(image, [rectangle(0, 0, 120, 120)], [1]), params(scale=[0.5, 4.0]), view)
    for axis, channel in ((0, view[0, 30]), (1, view[1, :, 48])):
        near, far = float(outline[0, axis]), float(outline[2, axis])
        places = (torch.arange(len(channel)) + 0.5 - near) / (far - near)  # in the photograph, of its side
        inside = (places > 0.02) & (places < 0.98) & (view[2, 30, 48] == 0)
        np.testing.assert_allclose(channel[inside].float() / 2, places[inside] * 120, atol=0.8)


def test_a_cut_out_contains_only_the_object(scene):
    (cut_out,) = cut_outs_of([scene])
    inside = cut_out.alpha > 0
    assert inside.sum() == 40 * 30
    assert (cut_out.image[:, inside] == RED.view(3, 1)).all()


def test_objects_at_the_edge_and_thin_ones_are_not_cut_out():
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    polygons = [rectangle(0, 10, 30, 40), rectangle(50, 70, 90, 100), rectangle(50, 10, 55, 60)]
    assert list(cut_outs_of([Scene(image, polygons, [1, 1, 1])])) == []


def test_a_pasted_object_replaces_its_pixels_and_no_others():
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    pasted = paste(image, CutOut(torch.full((3, 20, 30), 255, dtype=torch.uint8), square(30).alpha[:20], 7), (70, 30))
    assert (pasted.label, pasted.area) == (7, 600)
    assert visible_box_xyxy(pasted) == (55, 20, 80, 40)
    mask = torch.from_numpy(whole_mask(pasted, 80, 60))
    assert (image[:, mask] == 255).all()
    assert (image[:, ~mask] == 0).all()


@pytest.mark.parametrize("centre_xy", [(-40, 30), (120, 30), (40, -25), (40, 90)])
def test_nothing_is_pasted_beyond_the_image(centre_xy):
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    assert visible_box_xyxy(paste(image, square(30), centre_xy)) is None
    assert not image.any()


def object_of(mask, area, bounds_xyxy=(0, 0, 80, 60)):
    return Object(1, (0, 0), mask.numpy().copy(), area, bounds_xyxy)


def label_of(mask, area, bounds_xyxy=(0, 0, 80, 60)):
    object_ = object_of(mask, area, bounds_xyxy)
    return label_in_sample(object_, visible_box_xyxy(object_))


def test_boxes_under_a_pasted_object_shrink_to_what_is_visible():
    # An object at x 10..50 of which a pasted one covers x 30..60: x 10..30 is left.
    below = object_of(mask_of(rectangle(10, 10, 50, 40), 80, 60), 1200, (10, 10, 50, 40))
    hide(below, object_of(mask_of(rectangle(30, 0, 60, 60), 80, 60), 1800))
    assert visible_box_xyxy(below) == (10, 10, 30, 40)


POINT = st.tuples(st.floats(-60, 140, width=32), st.floats(-60, 120, width=32))


@settings(max_examples=300, deadline=None)
@given(outlines=st.lists(st.lists(POINT, min_size=3, max_size=8), min_size=1, max_size=5))
def test_masks_around_objects_are_those_of_the_whole_canvas(outlines):
    """Of polygons of any form, inside, beyond or across the edges, each over those before."""
    below, whole = [], []
    for number, outline in enumerate(outlines):
        points = np.array(outline, np.float32)
        corner_xy, mask = object_mask(points, 80, 60)
        expected = polygon_mask(points, 80, 60)
        above = Object(number, corner_xy, mask, 1.0, (0.0, 0.0, 80.0, 60.0))
        if min(np.ptp(points, 0)) > 1:  # of thinner ones, all pixels that they touch
            np.testing.assert_array_equal(whole_mask(above, 80, 60), expected)
        else:
            expected = whole_mask(above, 80, 60)
        for object_, visible in zip(below, whole, strict=True):
            hide(object_, above)
            visible &= ~expected
        below.append(above)
        whole.append(expected)
    for object_, visible in zip(below, whole, strict=True):
        np.testing.assert_array_equal(whole_mask(object_, 80, 60), visible)
        rows, columns = visible.nonzero()
        box_xyxy = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None
        assert visible_box_xyxy(object_) == box_xyxy


def test_an_object_of_which_little_is_visible_is_ignored():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:20, 10:33] = True  # 230 px
    assert label_of(mask, 1150) == 1  # 230 / 1150 = 0.2
    assert label_of(mask, 1160) == IGNORED
    assert visible_box_xyxy(object_of(mask, 1160)) == (10, 10, 33, 20)
    assert visible_box_xyxy(object_of(mask & False, 1000)) is None


def test_an_object_under_3_px_is_ignored():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:13, 10:30] = True
    assert label_of(mask, 60) == 1
    assert label_of(mask, 58, (10, 10.1, 30, 13)) == IGNORED


def test_hundreds_of_objects_take_the_memory_of_their_own_pixels():
    polygons = [rectangle(x, y, x + 30, y + 30) for x in range(0, 640, 40) for y in range(0, 640, 40)]
    scene = Scene(torch.zeros(3, 640, 640, dtype=torch.uint8), polygons, [1] * len(polygons))
    view = blank_canvas((640, 640), GREY)
    tracemalloc.start()
    try:
        objects = place_view(view, (0, 0, 640, 640), scene, params())
        objects += copy_paste(view, objects, cut_outs_of([scene]), params(copy_paste=60))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(objects) > 256
    assert sum(object_.mask.size for object_ in objects) < 2 * 640 * 640
    assert most < 10 * 640 * 640  # bytes; whole masks would take more than 256 times the canvas


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(st.tuples(*[st.floats(0, 199)] * 2, *[st.floats(0.2, 60)] * 2), min_size=1, max_size=6),
    seed=st.integers(0, 10**6),
)
def test_every_object_in_a_sample_is_learnt_or_ignored_never_background(boxes, seed):
    """Red rectangles, some thinner than a pixel: all that is red in a sample lies in the box of some object."""
    polygons = [rectangle(x, y, x + width, y + height) for x, y, width, height in boxes]
    red = torch.zeros(200, 260, dtype=torch.bool)
    for polygon in polygons:
        (left, top), mask = object_mask(polygon.numpy(), 260, 200)
        red[top : top + mask.shape[0], left : left + mask.shape[1]] |= torch.from_numpy(mask)
    scene = Scene(red * RED.view(3, 1, 1), polygons, [1] * len(polygons))
    torch.manual_seed(seed)
    sample = augment([scene], 0, [], params(scale=[0.1, 2.0], flip=0.5), (128, 96), (0, 0, 0))
    covered = torch.zeros(96, 128, dtype=torch.bool)
    for box_xyxy, label in zip(sample.boxes_xyxy.tolist(), sample.labels.tolist(), strict=True):
        x0, y0 = (math.floor(start) for start in box_xyxy[:2])
        x1, y1 = (math.ceil(end) for end in box_xyxy[2:])
        covered[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = True  # resizing smears an object by a pixel or two
        if label != IGNORED:
            assert min(box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]) >= 3
    covered[[0, -1]] = covered[:, [0, -1]] = True  # also one that ends just beyond the edge
    assert not ((sample.image[0] > 60) & ~covered).any()


@pytest.mark.parametrize("seed", range(8))
def test_boxes_of_pasted_ellipses_fit_their_visible_part(seed):
    image = Image.new("RGB", (160, 160))
    ImageDraw.Draw(image).ellipse((20, 30, 120, 110), fill=(255, 0, 0))
    angles = torch.linspace(0, 2 * torch.pi, 65)[:-1]
    outline = torch.stack([70.5 + 50 * angles.cos(), 70.5 + 40 * angles.sin()], 1)
    objects = cut_outs_of([Scene(torch.from_numpy(np.array(image)).permute(2, 0, 1), [outline], [3])])
    empty = Scene(torch.zeros(3, 128, 128, dtype=torch.uint8), [], [])
    torch.manual_seed(seed)
    sample = augment([empty], 0, objects, params(copy_paste=1), (128, 128), (0, 0, 0))
    if not len(sample.labels):
        assert int((sample.image.sum(0) > 60).sum()) < 3000  # nothing pasted, or little of it visible
        return
    assert sample.labels.tolist() == [3]
    visible = sample.image.sum(0) > 60
    columns, rows = visible.any(0).nonzero(), visible.any(1).nonzero()
    extent = [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1]
    np.testing.assert_allclose(sample.boxes_xyxy[0], extent, atol=2.01)  # the soft edge counts half


def test_more_pastes_give_more_boxes(scene):
    cut_outs = cut_outs_of([scene._replace(labels=[2])])
    torch.manual_seed(0)
    counts = [len(augment([scene], 0, cut_outs, params(copy_paste=5), (128, 128), GREY).labels) for _ in range(20)]
    assert max(counts) > 3
    assert sum(counts) / 20 > 1.5


COLOURS = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]], dtype=torch.uint8)


def discs():
    """Scenes with one disc each on black; each label has its colour, so that its visible pixels can be counted."""
    angles = torch.linspace(0, 2 * torch.pi, 97)[:-1]
    outline = torch.stack([100 + 60 * angles.cos(), 75 + 60 * angles.sin()], 1)
    mask = mask_of(outline, 200, 150)
    return [Scene(mask * colour.view(3, 1, 1), [outline], [label]) for label, colour in enumerate(COLOURS, start=1)]


def extent_of(image, label):
    """Corners and count of the pixels whose colour is nearest to a label's, among all labels and the background."""
    distances = (image[None].int() - torch.cat([COLOURS, torch.zeros(1, 3)]).int().view(-1, 3, 1, 1)).abs().sum(1)
    visible = distances.argmin(0) == label - 1
    if not visible.any():
        return None, 0
    columns, rows = visible.any(0).nonzero(), visible.any(1).nonzero()
    return [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1], int(visible.sum())


@pytest.mark.parametrize("seed", range(20))
def test_boxes_in_a_mosaic_are_the_extent_of_the_visible_pixels(seed):
    torch.manual_seed(seed)
    scenes = discs()
    image, objects = mosaic(scenes[:4], params(scale=[0.5, 2.0], flip=0.5), (192, 160), (0, 0, 0))
    assert image.shape == (3, 160, 192)
    assert sorted(object_.label for object_ in objects) == [1, 2, 3, 4]
    for object_ in objects:
        box_xyxy, (extent, count) = visible_box_xyxy(object_), extent_of(image, object_.label)
        assert np.count_nonzero(object_.mask) == pytest.approx(
            count, abs=0.1 * count + 12
        )  # edges are blurred by resizing
        if box_xyxy is not None:
            np.testing.assert_allclose(box_xyxy, extent, atol=1.6)


@pytest.fixture
def uncoloured(monkeypatch):
    """The discs as cut-outs that keep their colours when pasted."""
    monkeypatch.setattr("viadet.augmentation.copy_paste.random_jitter", lambda hue: [])
    cut_outs = cut_outs_of(discs())
    cut_outs.classes = [list(range(len(cut_outs)))]  # their labels are only colours: chosen as of one class
    return cut_outs


@pytest.mark.parametrize("seed", range(30))
def test_boxes_of_objects_pasted_over_each_other_are_the_extent_of_their_visible_pixels(seed, uncoloured):
    torch.manual_seed(seed)
    image = torch.zeros(3, 160, 192, dtype=torch.uint8)
    pasted = copy_paste(image, [], uncoloured, params(copy_paste=6, cluster=0.7))
    labels = [object_.label for object_ in pasted]
    for object_ in pasted:
        if labels.count(object_.label) == 1 and (box_xyxy := visible_box_xyxy(object_)) is not None:
            extent, count = extent_of(image, object_.label)
            # Where the soft edges of two objects mix, a few px look like a third one.
            assert np.count_nonzero(object_.mask) == pytest.approx(count, abs=0.1 * count + 60)
            if count > 400:
                np.testing.assert_allclose(box_xyxy, extent, atol=3.01)


def test_pasted_objects_are_scaled_cut_off_at_edges_and_cover_each_other():
    objects = cut_outs_of(discs())
    torch.manual_seed(0)
    empty = torch.zeros(3, 160, 192, dtype=torch.uint8)
    areas, hidden, cut_off = [], 0, 0
    for _ in range(60):
        pasted = copy_paste(empty, [], objects, params(copy_paste=6, cluster=0.5))
        areas += [object_.area for object_ in pasted]
        visible = [(object_, box) for object_ in pasted if (box := visible_box_xyxy(object_)) is not None]
        hidden += sum(label_in_sample(object_, box_xyxy) == IGNORED for object_, box_xyxy in visible)
        cut_off += sum(box_xyxy[0] == 0 or box_xyxy[2] == 192 for _, box_xyxy in visible)
    assert max(areas) > 20 * min(areas)
    assert hidden > 5
    assert cut_off > 10


def test_a_pasted_object_is_turned_by_a_random_angle_of_up_to_20_degrees():
    bar = CutOut(torch.full((3, 6, 60), 255, dtype=torch.uint8), torch.full((6, 60), 255, dtype=torch.uint8), 1)
    torch.manual_seed(0)
    heights = [random_cut_out(bar, 1000.0).alpha.shape[0] / 1.5 for _ in range(30)]
    assert min(heights) < 9
    # sin(20°) * 60 + cos(20°) * 6 = 26 px
    assert 22 < max(heights) <= 28


def test_objects_in_a_cluster_touch():
    torch.manual_seed(0)
    objects = cut_outs_of(discs())
    empty = torch.zeros(3, 400, 400, dtype=torch.uint8)

    def distances(cluster):
        apart = []
        for _ in range(60):
            pasted = copy_paste(empty, [], objects, params(copy_paste=2, cluster=cluster))
            masks = [torch.from_numpy(whole_mask(object_, 400, 400)) for object_ in pasted if object_.mask.any()]
            centres = [mask.nonzero().float().mean(0) for mask in masks]
            if len(centres) == 2:
                radii = sum((object_.area / torch.pi) ** 0.5 for object_ in pasted)
                apart.append(float((centres[0] - centres[1]).norm()) / radii)
        return apart

    assert max(distances(1.0)) < 1.3
    assert sum(distance > 1.3 for distance in distances(0.0)) > 10


def test_a_pasted_object_is_enlarged_by_half_at_most():
    torch.manual_seed(0)
    sides = [max(random_cut_out(square(20), 300.0).alpha.shape) for _ in range(20)]
    assert max(sides) <= 1.5 * 29  # 29 px: when turned
    sides = [max(random_cut_out(square(20), 10.0).alpha.shape) for _ in range(20)]
    assert 10 <= max(sides) <= 12  # the room around what was turned is whole px


@pytest.mark.parametrize("side", [20.0, 60.0, 130.0])
def test_a_turned_disc_keeps_its_place_and_is_as_large_as_asked_for(side):
    [disc] = [cut_out for cut_out in cut_outs_of(discs()) if cut_out.label == 1]
    for seed in range(8):
        torch.manual_seed(seed)
        alpha = random_cut_out(disc, side).alpha
        torch.manual_seed(seed)
        torch.rand(())
        angle = math.radians(40 * float(torch.rand(())) - 20)
        box_side = disc.alpha.shape[0] * (math.cos(angle) + abs(math.sin(angle)))
        rows, columns = (alpha > 127).nonzero().float().T
        assert 2 * ((alpha > 127).sum() / torch.pi) ** 0.5 == pytest.approx(120 * side / box_side, abs=0.7)
        np.testing.assert_allclose((rows.mean() + 0.5, columns.mean() + 0.5), np.array(alpha.shape) / 2, atol=0.6)


def test_pasted_objects_keep_their_hue_unless_channels_are_permuted(scene):
    cut_outs = cut_outs_of([scene])
    torch.manual_seed(0)
    strongest = {}
    for share in (0.0, 0.5):
        images = torch.zeros(20, 3, 100, 200, dtype=torch.uint8)
        for image in images:
            copy_paste(image, [], cut_outs, params(copy_paste=3, channels=share))
        strongest[share] = {int(image.amax((1, 2)).argmax()) for image in images if image.any()}
    assert strongest == {0.0: {0}, 0.5: {0, 1, 2}}


def colours_of(**changes):
    """The mean colour of a red image after 40 changes."""
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    image[0] = 200
    scene = Scene(image, [], [])
    torch.manual_seed(0)
    samples = [augment([scene], 0, [], params(**changes), (4, 4), GREY).image for _ in range(40)]
    return torch.stack([sample.float().mean((1, 2)) for sample in samples])


def test_changed_colours_leave_red_red_and_permuted_channels_do_not():
    coloured, permuted = colours_of(colour=1.0), colours_of(channels=0.5)
    assert len(coloured.unique(dim=0)) > 10
    assert (coloured.argmax(1) == 0).all()
    assert set(permuted.argmax(1).tolist()) == {0, 1, 2}
    assert ((permuted == 200).sum(1) == 1).all()
