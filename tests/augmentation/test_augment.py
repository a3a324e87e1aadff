"""Random views, mosaics and pasted objects: boxes against the pixels that are visible."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from viadet.augmentation.augment import augment, mosaic, object_mask, random_view
from viadet.augmentation.copy_paste import CutOut, CutOuts, copy_paste, paste, random_cut_out
from viadet.augmentation.objects import IGNORED, Object, Scene, label_in_sample, visible_box_xyxy
from viadet.images.pixels import blank_canvas
from viadet.images.polygons import polygon_mask
from viadet.project.params import AugmentParams

GREY = (128, 128, 128)
CANVAS = blank_canvas((200, 200), GREY)
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


def cut_outs_of(scenes):
    return CutOuts(scenes, [((scene.image.shape[2], scene.image.shape[1]), scene.polygons) for scene in scenes])


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
    view = random_view(scene, params(), CANVAS)
    torch.manual_seed(0)
    mirrored = random_view(scene, params(flip=1.0), CANVAS)
    assert torch.equal(view.image.flip(2), mirrored.image)
    # x of 40 and 80 become 200 - 40 = 160 and 200 - 80 = 120
    assert mirrored.polygons[0][:, 0].tolist() == [160, 120, 120, 160]
    assert torch.equal(view.polygons[0][:, 1], mirrored.polygons[0][:, 1])


def test_pixels_beside_the_photograph_have_the_fill_colour(scene):
    torch.manual_seed(0)
    view = random_view(scene, params(scale=[0.5, 0.5]), CANVAS)
    assert (view.image == 128).all(0).sum() == 200 * 200 - 100 * 50


def test_a_cut_out_contains_only_the_object(scene):
    (cut_out,) = cut_outs_of([scene])
    rgb, alpha = cut_out.rgba[:3], cut_out.rgba[3] > 0
    assert alpha.sum() == 40 * 30
    assert (rgb[:, alpha] == RED.view(3, 1)).all()


def test_objects_at_the_edge_and_thin_ones_are_not_cut_out():
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    polygons = [rectangle(0, 10, 30, 40), rectangle(50, 70, 90, 100), rectangle(50, 10, 55, 60)]
    assert list(cut_outs_of([Scene(image, polygons, [1, 1, 1])])) == []


def test_a_pasted_object_replaces_its_pixels_and_no_others():
    torch.manual_seed(1)
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    rgba = torch.full((4, 20, 30), 255, dtype=torch.uint8)
    pasted, mask, area = paste(image, rgba, (40, 30))
    assert area == 600
    assert (pasted[:, mask] == 255).all()
    assert (pasted[:, ~mask] == 0).all()
    assert not image.any()


def test_boxes_under_a_pasted_object_shrink_to_what_is_visible():
    # An object at x 10..50 of which a pasted one covers x 30..60: x 10..30 is left.
    below = mask_of(rectangle(10, 10, 50, 40), 80, 60)
    above = mask_of(rectangle(30, 0, 60, 60), 80, 60)
    assert visible_box_xyxy(Object(1, below & ~above, 1200, (10, 10, 50, 40))) == (10, 10, 30, 40)


def label_of(mask, area, bounds_xyxy=(0, 0, 80, 60)):
    object_ = Object(1, mask, area, bounds_xyxy)
    return label_in_sample(object_, visible_box_xyxy(object_))


def test_an_object_of_which_little_is_visible_is_ignored():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:20, 10:33] = True  # 230 px
    assert label_of(mask, 1150) == 1  # 230 / 1150 = 0.2
    assert label_of(mask, 1160) == IGNORED
    assert visible_box_xyxy(Object(1, mask, 1160, (0, 0, 80, 60))) == (10, 10, 33, 20)
    assert visible_box_xyxy(Object(1, mask & False, 1000, (0, 0, 80, 60))) is None


def test_an_object_under_3_px_is_ignored():
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:13, 10:30] = True
    assert label_of(mask, 60) == 1
    assert label_of(mask, 58, (10, 10.1, 30, 13)) == IGNORED


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
        red |= torch.from_numpy(object_mask(polygon.numpy(), 260, 200))
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
    (cut_out,) = cut_outs_of([scene])
    torch.manual_seed(0)
    counts = [
        len(augment([scene], 0, [CutOut(cut_out.rgba, 2)], params(copy_paste=5), (128, 128), GREY).labels)
        for _ in range(20)
    ]
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
        assert int(object_.mask.sum()) == pytest.approx(count, abs=0.1 * count + 12)  # edges are blurred by resizing
        if box_xyxy is not None:
            np.testing.assert_allclose(box_xyxy, extent, atol=1.6)


@pytest.fixture
def uncoloured(monkeypatch):
    """The discs as cut-outs that keep their colours when pasted."""
    monkeypatch.setattr("torchvision.transforms.v2.ColorJitter", lambda **_: lambda rgb: rgb)
    return cut_outs_of(discs())


@pytest.mark.parametrize("seed", range(30))
def test_boxes_of_objects_pasted_over_each_other_are_the_extent_of_their_visible_pixels(seed, uncoloured):
    torch.manual_seed(seed)
    empty = torch.zeros(3, 160, 192, dtype=torch.uint8)
    image, pasted = copy_paste(empty, [], uncoloured, params(copy_paste=6, cluster=0.7))
    labels = [object_.label for object_ in pasted]
    for object_ in pasted:
        if labels.count(object_.label) == 1 and (box_xyxy := visible_box_xyxy(object_)) is not None:
            extent, count = extent_of(image, object_.label)
            # Where the soft edges of two objects mix, a few px look like a third one.
            assert int(object_.mask.sum()) == pytest.approx(count, abs=0.1 * count + 60)
            if count > 400:
                np.testing.assert_allclose(box_xyxy, extent, atol=3.01)


def test_pasted_objects_are_scaled_cut_off_at_edges_and_cover_each_other():
    objects = cut_outs_of(discs())
    torch.manual_seed(0)
    empty = torch.zeros(3, 160, 192, dtype=torch.uint8)
    areas, hidden, cut_off = [], 0, 0
    for _ in range(60):
        _, pasted = copy_paste(empty, [], objects, params(copy_paste=6, cluster=0.5))
        areas += [object_.area for object_ in pasted]
        hidden += sum(label_of(o.mask, o.area) == IGNORED for o in pasted if o.mask.any())
        cut_off += sum(bool(object_.mask[:, 0].any() or object_.mask[:, -1].any()) for object_ in pasted)
    assert max(areas) > 20 * min(areas)
    assert hidden > 5
    assert cut_off > 10


def test_a_pasted_object_is_turned_by_a_random_angle_of_up_to_20_degrees():
    rgba = torch.full((4, 6, 60), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    heights = [random_cut_out(rgba, 1000.0, 0.5).shape[1] / 1.5 for _ in range(30)]
    assert min(heights) < 9
    # sin(20°) * 60 + cos(20°) * 6 = 26 px
    assert 22 < max(heights) < 28


def test_objects_in_a_cluster_touch():
    torch.manual_seed(0)
    objects = cut_outs_of(discs())
    empty = torch.zeros(3, 400, 400, dtype=torch.uint8)

    def distances(cluster):
        apart = []
        for _ in range(60):
            _, pasted = copy_paste(empty, [], objects, params(copy_paste=2, cluster=cluster))
            centres = [object_.mask.nonzero().float().mean(0) for object_ in pasted if object_.mask.any()]
            if len(centres) == 2:
                radii = sum((object_.area / torch.pi) ** 0.5 for object_ in pasted)
                apart.append(float((centres[0] - centres[1]).norm()) / radii)
        return apart

    assert max(distances(1.0)) < 1.3
    assert sum(distance > 1.3 for distance in distances(0.0)) > 10


def test_a_pasted_object_is_enlarged_by_half_at_most():
    rgba = torch.full((4, 20, 20), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    assert max(max(random_cut_out(rgba, 300.0, 0.5).shape[1:]) for _ in range(20)) <= 1.5 * 29  # 29 px: when turned
    assert max(max(random_cut_out(rgba, 10.0, 0.5).shape[1:]) for _ in range(20)) == 10


def test_pasted_objects_keep_their_hue_unless_channels_are_permuted(scene):
    cut_outs, empty = cut_outs_of([scene]), torch.zeros(3, 100, 200, dtype=torch.uint8)
    torch.manual_seed(0)
    pasted = {
        share: [copy_paste(empty, [], cut_outs, params(copy_paste=3, channels=share))[0] for _ in range(20)]
        for share in (0.0, 0.5)
    }
    strongest = {
        share: {int(image.amax((1, 2)).argmax()) for image in images if image.any()} for share, images in pasted.items()
    }
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
