import io
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, read, write_params

from stages import grad_cam
from stages.detection.detect import Detections, anchors_of, flat_outputs
from stages.detection.drawing import DETECTION, draw_boxes, new_figure, show_image
from stages.detection.files import read_json
from stages.detection.images import letterbox_image, letterbox_of, read_image
from stages.detection.network import LEVELS, load_network, prepare_images
from stages.detection.params import read_recipe

CPU = torch.device("cpu")
FULL = letterbox_of(128, 128, 128)


@pytest.fixture
def network_and_spec(model):
    return load_network(Path("data/model"), CPU)


def photograph():
    return read_image(Path("data/raw/val") / read_json(Path("data/coco/val.json"))["images"][0]["file_name"])


def normalised(network_and_spec):
    image = letterbox_image(photograph(), 128, network_and_spec[1].fill_rgb)
    return prepare_images(image[None], network_and_spec[1], CPU)


def targets_at(network, *levels):
    """One target a level, at the middle of its anchors."""
    anchor_levels = anchors_of(network, CPU)[1]
    chosen = [(anchor_levels == level).nonzero().flatten() for level in levels]
    return [grad_cam.BoxTarget(anchors[[len(anchors) // 2]], torch.tensor([1])) for anchors in chosen]


def test_the_explained_layers_are_the_necks_outputs(network_and_spec):
    network = network_and_spec[0]
    seen = []
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2])) for layer in grad_cam.neck_levels(network)]
    with torch.inference_mode():
        outputs = network.fpn(list(network.backbone(normalised(network_and_spec))))
    for hook in hooks:
        hook.remove()
    assert len(outputs) == len(seen) == 5
    assert all(torch.equal(output, values) for output, values in zip(outputs, seen, strict=True))


def test_a_box_takes_part_in_its_own_level_and_finer_ones_only(network_and_spec):
    network = network_and_spec[0]
    batch = normalised(network_and_spec).expand(5, -1, -1, -1)
    maps = grad_cam.level_maps(network, batch, targets_at(network, *range(5)), 128, FULL)
    for made_at in range(5):
        for level in range(made_at + 1, 5):
            assert not maps[level][made_at].any(), f"{LEVELS[made_at]} box at {LEVELS[level]}"
    gradients = [maps[level].any() for level in range(5)]
    assert sum(gradients) >= 4  # an untrained network: a map may be negative throughout


def test_gradients_end_at_the_level_that_made_the_box(network_and_spec):
    """The gradients themselves: a map may also be empty because ReLU leaves nothing of it."""
    network = network_and_spec[0]
    seen = []
    hooks = [layer.register_forward_hook(lambda *call: seen.append(call[2])) for layer in grad_cam.neck_levels(network)]
    logits = grad_cam.Logits(network)(normalised(network_and_spec))[0]
    for hook in hooks:
        hook.remove()
    for made_at, target in enumerate(targets_at(network, *range(5))):
        gradients = torch.autograd.grad(target(logits), seen, retain_graph=True, allow_unused=True)
        reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
        assert reached == [level <= made_at for level in range(5)]


def test_titles_tell_no_gradient_from_an_empty_map():
    assert grad_cam.heading(0, 0.4) == "no detection scores 0.4 or more"
    assert (grad_cam.heading(1, 0.4), grad_cam.heading(2, 0.4)) == ("1 detection", "2 detections")
    assert grad_cam.level_title("P4", ["P4", "P3"], has_heat=True) == "P4: 1 of 2 made here"
    assert grad_cam.level_title("P3", ["P4", "P4"], has_heat=True) == "P3: 0 of 2 made here"
    assert grad_cam.level_title("P5", ["P4", "P3"], has_heat=False) == "P5: no gradient"
    assert grad_cam.level_title("P4", ["P5", "P4"], has_heat=False) == "P4: 1 of 2 made here, empty"
    assert grad_cam.level_title("P4", [], has_heat=False) == "P4: 0 of 0 made here"


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("size_wh", [(60, 180), (180, 60)])
def test_titles_keep_clear_of_each_other_and_of_the_edge(network_and_spec, size_wh, threshold):
    network, spec = network_and_spec
    params = read_recipe().grad_cam.model_copy(update={"score_threshold": threshold, "max_boxes": 3})
    image = torch.zeros(3, size_wh[1], size_wh[0], dtype=torch.uint8)
    figure = grad_cam.draw(image, grad_cam.explain(network, spec, image, params, CPU), params)
    figure.savefig(io.BytesIO(), format="png")  # lays the figure out
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert len(titles) == 7
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in titles)
    assert not any(box.overlaps(other) for index, box in enumerate(titles) for other in titles[:index])


def test_labels_of_boxes_at_the_edges_stay_within_the_picture():
    figure, (ax,) = new_figure(1, 1, (3.6, 3.6))
    show_image(ax, torch.zeros(3, 100, 100, dtype=torch.uint8))
    corners = torch.tensor([[0.0, 0, 4, 4], [96, 0, 100, 4], [0, 96, 4, 100], [96, 96, 100, 100]])
    draw_boxes(ax, corners, DETECTION, ["0.93 P5"] * 4)
    figure.savefig(io.BytesIO(), format="png")
    picture = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert picture.x0 - 1 <= box.x0 and box.x1 <= picture.x1 + 1
        assert picture.y0 - 1 <= box.y0 and box.y1 <= picture.y1 + 1


def test_maps_follow_grad_cams_formula(network_and_spec):
    """Against gradients taken by torch alone: relu(sum over channels of mean gradient times activation)."""
    network = network_and_spec[0]
    batch = normalised(network_and_spec)
    (target,) = targets_at(network, 0)
    maps = grad_cam.level_maps(network, batch, [target], 128, FULL)
    levels = [level.detach().requires_grad_() for level in network.fpn(list(network.backbone(batch)))]
    logits, _ = flat_outputs(network.class_net(levels), network.box_net(levels))
    gradient = torch.autograd.grad(target(logits[0]), levels[0])[0]
    coarse = (gradient.mean((2, 3), keepdim=True) * levels[0]).sum(1).relu().detach()
    expected = torch.nn.functional.interpolate(coarse[None], (128, 128), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(maps[0], expected.numpy(), rtol=1e-3, atol=float(expected.max()) * 1e-4)


def test_boxes_in_one_batch_are_explained_as_if_alone(network_and_spec):
    network = network_and_spec[0]
    batch = normalised(network_and_spec)
    targets = targets_at(network, 0, 1, 2)
    together = grad_cam.level_maps(network, batch.expand(3, -1, -1, -1), targets, 128, FULL)
    for row, target in enumerate(targets):
        alone = grad_cam.level_maps(network, batch, [target], 128, FULL)
        for level in range(5):
            np.testing.assert_allclose(together[level][row], alone[level][0], rtol=1e-3, atol=1e-7)


def test_the_network_is_left_as_it_was(network_and_spec):
    network, spec = network_and_spec
    required = [parameter.requires_grad for parameter in network.parameters()]
    grad_cam.explain(network, spec, photograph(), read_recipe().grad_cam, CPU)
    assert [parameter.requires_grad for parameter in network.parameters()] == required
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_are_those_of_the_photograph_without_the_letterbox(network_and_spec):
    network, spec = network_and_spec
    params = read_recipe().grad_cam.model_copy(update={"score_threshold": 0.0, "max_boxes": 3})
    image = torch.randint(0, 255, (3, 60, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    explanation = grad_cam.explain(network, spec, image, params, CPU)
    assert len(explanation.detections.scores) == 3
    assert {heat.shape for heat in [*explanation.by_level, *explanation.own_level]} == {(64, 128)}
    assert all((heat >= 0).all() for heat in explanation.by_level)


def test_grad_cam_draws_each_image_the_same_again_and_measures(model):
    write_params(SMALL | {"grad_cam.score_threshold": 0.0, "grad_cam.max_boxes": 3})
    grad_cam.main()
    first = {path.name: path.read_bytes() for path in sorted(Path("plots/grad_cam").iterdir())}
    metrics = read("metrics/grad_cam.json")
    assert list(first) == ["val_0000.jpg", "val_0001.jpg", "val_0002.jpg"]
    assert (metrics["images"], metrics["images_explained"], metrics["boxes"]) == (3, 3, 9)
    assert sum(metrics[f"boxes_made_at_{level}"] for level in LEVELS) == 9
    assert 0 < metrics["area_of_boxes"] <= 1
    grad_cam.main()
    assert {path.name: path.read_bytes() for path in sorted(Path("plots/grad_cam").iterdir())} == first
    assert read("metrics/grad_cam.json") == metrics


def test_without_detections_pictures_say_so_and_metrics_count_none(model):
    write_params(SMALL | {"grad_cam.score_threshold": 1.0})
    grad_cam.main()
    metrics = read("metrics/grad_cam.json")
    assert (metrics["images"], metrics["images_explained"], metrics["boxes"]) == (3, 0, 0)
    assert metrics["energy_in_own_box"] == 0
    assert len(list(Path("plots/grad_cam").iterdir())) == 3
    params = read_recipe().grad_cam
    network, spec = load_network(Path("data/model"), CPU)
    figure = grad_cam.draw(photograph(), grad_cam.explain(network, spec, photograph(), params, CPU), params)
    assert figure.axes[0].get_title() == "no detection scores 1.0 or more"


def test_energy_is_averaged_over_images_and_boxes():
    heat = np.zeros((10, 20), dtype=np.float32)
    heat[:5] = 1  # the upper half
    found = Detections(
        torch.tensor([[0.0, 0, 20, 5], [0, 5, 20, 10]]),
        torch.tensor([0.9, 0.8]),
        torch.tensor([1, 1]),
        torch.tensor([0, 1]),
        torch.tensor([0, 4]),
    )
    blank = heat * 0
    explanation = grad_cam.Explanation(found, FULL, [heat, blank, blank, blank, heat], [heat, heat])
    metrics = grad_cam.measure([explanation])
    assert metrics["area_of_boxes"] == 1
    assert metrics["area_of_own_box"] == 0.5
    assert metrics["energy_in_own_box"] == 0.5  # all of the first map lies in its box, none of the second
    assert (metrics["energy_in_boxes_P3"], metrics["energy_in_boxes_P4"]) == (1, 0)
    assert (metrics["boxes_made_at_P3"], metrics["boxes_made_at_P7"]) == (1, 1)
