import io
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from projects import SMALL, read, run_module, write_params

from stages import grad_cam
from viadet.annotations.coco import by_image
from viadet.explanation.explained import ExplainedBox, ExplainedImage, coarse_maps, enlarged, explain_image, masks_of
from viadet.explanation.faithfulness import FRACTIONS, measure_image
from viadet.explanation.summary import MEASURES, metrics_of
from viadet.explanation.targets import Target
from viadet.images.letterbox import letterbox_of
from viadet.network.boxes import anchors_of
from viadet.network.build import level_names
from viadet.network.weights import load_network
from viadet.pictures.cams import draw_cams, heading, rows_to_draw
from viadet.pictures.drawing import DETECTION, draw_boxes, new_figure, show_image
from viadet.project.files import read_json, write_json
from viadet.project.params import read_recipe

CPU = torch.device("cpu")
COCO = Path("data/coco/val.json")
LEVELS = ["P3", "P4", "P5", "P6", "P7"]
NUMBER = 1  # of the validation image looked at; the first shows no balloon
FAST = {"grad_cam.methods": ["GradCAM"], "grad_cam.checked_images": 3, "grad_cam.score_threshold": 0.99}


def look(model_params=None, number=NUMBER):
    """Look at a validation image; the untrained network scores about 0.5 everywhere."""
    network, spec = load_network(Path("data/model"), CPU, (128, 128))
    params = read_recipe().grad_cam.model_copy(update=model_params or {})
    coco = read_json(COCO)
    entry = coco["images"][number]
    mine = by_image(coco["annotations"])[entry["id"]]
    return (
        network,
        explain_image(network, spec, Path("data/raw"), coco, entry, mine, anchors_of(network, CPU), params, 0),
        params,
    )


def annotations():
    coco = read_json(COCO)
    return by_image(coco["annotations"])[coco["images"][NUMBER]["id"]]


def threshold_of(count):
    """The score that so many detections of all images reach."""
    scores = [box.score for number in range(3) for box in look({"score_threshold": 0.0}, number)[1].detections]
    return sorted(scores, reverse=True)[count - 1] - 1e-6


def annotate_a_detection():
    """Give the image one annotation more, along the box of its best detection."""
    _, image, _ = look({"score_threshold": 0.0})
    coco = read_json(COCO)
    x0, y0, x1, y1 = map(float, image.detections[0].box_xyxy)
    coco["annotations"].append(
        {
            "id": 1 + max(annotation["id"] for annotation in coco["annotations"]),
            "image_id": coco["images"][NUMBER]["id"],
            "category_id": 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": (x1 - x0) * (y1 - y0),
            "iscrowd": 0,
            "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        }
    )
    write_json(COCO, coco)


def drawn(image, network, params, method="GradCAM"):
    rows = rows_to_draw(image, params)
    maps = coarse_maps(method, network, image.passed, [*image.detections, *image.missed])
    maps = [enlarged(mine, image.letterbox) for mine in maps]
    return draw_cams(image, rows, maps, LEVELS, method, params)


def test_detections_are_right_or_wrong_and_the_rest_is_missed(model):
    truth = len(annotations())
    assert truth > 1
    annotate_a_detection()
    _, image, _ = look({"score_threshold": 0.0})
    kinds = [box.kind for box in image.detections]
    assert kinds[0] == "right"
    assert "wrong" in kinds
    assert kinds.count("right") + len(image.missed) == truth + 1
    assert [box.score for box in image.detections] == sorted((box.score for box in image.detections), reverse=True)
    best = image.detections[0]
    # a polygon along the box covers it
    masks = masks_of(best, image.letterbox)
    assert (masks["box"] == masks["polygon"]).mean() > 0.98
    wrong = next(box for box in image.detections if box.kind == "wrong")
    assert "polygon" not in masks_of(wrong, image.letterbox)


def test_a_missed_object_is_seen_through_the_anchors_nearest_to_it(model):
    network, image, _ = look({"score_threshold": 1.0})
    assert not image.detections
    assert len(image.missed) == len(annotations()) > 1
    anchors_yxyx, levels = anchors_of(network, CPU)
    for box in image.missed:
        nearest_xyxy = anchors_yxyx[box.target.anchors[0]][[1, 0, 3, 2]].numpy()
        centre = (nearest_xyxy[:2] + nearest_xyxy[2:]) / 2
        assert (np.abs(centre - (box.box_xyxy[:2] + box.box_xyxy[2:]) / 2) < 16).all()
        assert levels[box.target.anchors[0]] == box.target.level
        best = image.passed.logits.detach()[box.target.anchors, 0].max().sigmoid()
        assert box.score == pytest.approx(float(best))


def test_the_best_detections_then_mistakes_are_drawn(model):
    annotate_a_detection()
    scores = [box.score for box in look({"score_threshold": 0.0})[1].detections]
    _, image, params = look({"score_threshold": scores[4], "max_boxes": 2, "max_mistakes": 1})
    assert [box.kind for box in image.detections].count("wrong") >= 3
    found = len(image.detections)
    rows = rows_to_draw(image, params)
    assert rows[:2] == [0, 1]
    assert [([*image.detections, *image.missed])[row].kind for row in rows[2:]] == ["wrong", "missed"]
    assert rows[3] == found
    assert rows_to_draw(image, params.model_copy(update={"max_mistakes": 0})) == [0, 1]


def measured(image, maps, slow=False, network=None):
    values = {}
    for key, value in measure_image(network, image, maps, LEVELS, slow):
        values.setdefault(key, []).append(value)
    return values


def test_maps_are_measured_by_level_at_the_own_level_and_in_sum():
    letterbox = letterbox_of(20, 10, (20, 20))
    box_xyxy, polygon = np.array([0, 0, 10, 10]), torch.tensor([[0.0, 0], [5, 0], [5, 10], [0, 10]])
    target = Target(torch.tensor([0]), 1, 1, "score")
    right = ExplainedBox("right", box_xyxy, polygon, 0.9, target, [], (0,))
    wrong = right._replace(kind="wrong", polygon=None)
    image = ExplainedImage(torch.zeros(3, 20, 20), letterbox, None, [right, wrong], [])
    in_polygon, in_box, outside = (np.full((10, 20), -1.0, dtype=np.float32) for _ in range(3))
    in_polygon[3, 2], in_box[3, 7], outside[3, 15] = 1, 2, 5
    values = measured(image, {"GradCAM": [{0: in_polygon, 1: in_box}, {0: outside, 1: outside}]})
    assert values["chance", "own", "box"] == [0.5, 0.5]
    assert values["chance", "own", "polygon"] == [0.25]  # the false positive has none
    assert values["GradCAM", "P3", "pointing_box"] == [1, 0]
    assert values["GradCAM", "P3", "pointing_polygon"] == [1]
    assert values["GradCAM", "own", "pointing_box"] == values["GradCAM", "P4", "pointing_box"] == [1, 0]
    assert values["GradCAM", "own", "pointing_polygon"] == [0]
    # 1 in the polygon and 2 beside it; what is negative does not count
    assert values["GradCAM", "sum", "energy_polygon"] == pytest.approx([1 / 3])
    assert values["GradCAM", "sum", "energy_box"] == [1, 0]
    assert not any(level == "P5" for _, level, _ in values)  # no level that takes no part


def test_slow_checks_follow_each_fraction_of_pixels(model):
    network, image, _ = look({"score_threshold": 0.0})
    image = image._replace(detections=image.detections[:2])
    coarse = coarse_maps("HiResCAM", network, image.passed, image.detections)
    maps = {"HiResCAM": [enlarged(mine, image.letterbox) for mine in coarse]}
    values = measured(image, maps, True, network)
    assert all(len(values["HiResCAM", "deletion", fraction]) == 2 for fraction in FRACTIONS)
    assert all(0 <= share < 10 for fraction in FRACTIONS for share in values["HiResCAM", "insertion", fraction])
    assert all(len(values["BoxCentre", "insertion", fraction]) == 2 for fraction in FRACTIONS)


def test_averages_are_by_method_and_level_and_none_without_a_value():
    boxes = [("right", "P3"), ("wrong", "P4"), ("missed", "P3")]
    values = {("GradCAM", "own", "energy_box"): [0.2, 0.4], ("GradCAM", "deletion", FRACTIONS[0]): [0.5, 0.7]}
    values = defaultdict(list, values)
    steps = [("heads", "heads"), ("neck", "a"), ("neck", "b"), ("backbone", "c")]
    metrics = metrics_of(boxes, values, steps, {"GradCAM": [0.9, 0.5, 0.3, 0.1]}, LEVELS)
    assert {kind: metrics[kind] for kind in ("right", "wrong", "missed", "detections")} == {
        "right": 1,
        "wrong": 1,
        "missed": 1,
        "detections": 2,
    }
    assert metrics["made_at"] == {"P3": 1, "P4": 1, "P5": 0, "P6": 0, "P7": 0}
    assert metrics["GradCAM"]["own"]["energy_box"] == 0.3
    assert metrics["GradCAM"]["P7"]["energy_box"] is None
    assert metrics["GradCAM"]["deletion"] == 0.6
    assert metrics["GradCAM"]["insertion"] is None
    assert metrics["GradCAM"]["randomised"] == {"heads": 0.9, "neck": 0.3, "backbone": 0.1}


def pictures():
    return {path.name: path.read_bytes() for path in sorted(Path("plots/grad_cam").rglob("*")) if path.is_file()}


def test_the_stage_draws_measures_and_gives_the_same_again(model, capsys):
    annotate_a_detection()
    changes = {"grad_cam.methods": ["HiResCAM", "EigenCAM"], "grad_cam.score_threshold": threshold_of(6)}
    write_params(SMALL | FAST | changes)
    grad_cam.main()
    first, metrics = pictures(), read("metrics/grad_cam.json")
    tables = ["methods.png", "perturbation.csv", "randomisation.csv"]
    assert sorted(first) == sorted([*(f"val_000{number}.jpg" for number in range(3)), *tables])
    assert metrics["detections"] == 6
    assert metrics["detections"] == metrics["right"] + metrics["wrong"] == sum(metrics["made_at"].values())
    assert f"{metrics['detections']} detections explained on 3 validation images" in capsys.readouterr().out
    assert {"HiResCAM", "EigenCAM", "RandomCAM"} <= metrics.keys()
    for method in ("HiResCAM", "EigenCAM", "RandomCAM"):
        assert 0 < metrics[method]["own"]["energy_box"] < 1
        assert metrics[method]["deletion"] > 0
    assert metrics["BoxCentre"].keys() == {"deletion", "insertion"}
    assert metrics["BoxCentre"]["insertion"] > 0
    # EigenCAM knows no target: heads made random change nothing, which is what the check is there to show
    assert metrics["EigenCAM"]["randomised"]["heads"] == 1
    assert metrics["HiResCAM"]["randomised"]["heads"] < 0.9
    assert abs(metrics["EigenCAM"]["randomised"]["backbone"]) < 0.9
    # one box's gradient reaches only so far: even a network that learnt nothing seems to point near the box
    assert metrics["HiResCAM"]["untrained"]["energy_box"] > metrics["RandomCAM"]["untrained"]["energy_box"]
    summary = read("metrics/grad_cam_summary.json")
    assert summary["CAM_energy_polygon"] == metrics["HiResCAM"]["own"]["energy_polygon"]
    assert summary["RandomCAM_insertion"] == metrics["RandomCAM"]["insertion"]
    assert summary["CAM_random_heads"] == metrics["HiResCAM"]["randomised"]["heads"]
    assert summary["explained_right"] == metrics["right"]
    rows = Path("plots/grad_cam/perturbation.csv").read_text().splitlines()
    assert rows[0] == "percent,deletion,insertion,random_deletion,random_insertion"
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "5", "10", "20", "40"]
    rows = Path("plots/grad_cam/randomisation.csv").read_text().splitlines()
    assert rows[:2] == ["step,rank_correlation", "0,1"]
    grad_cam.main()
    assert pictures() == first
    assert read("metrics/grad_cam.json") == metrics


def test_every_method_is_measured(model):
    methods = ["GradCAM++", "XGradCAM", "LayerCAM", "EigenGradCAM", "AblationCAM", "ScoreCAM", "GradCAM"]
    write_params(SMALL | FAST | {"grad_cam.methods": methods, "grad_cam.score_threshold": threshold_of(2)})
    grad_cam.main()
    metrics = read("metrics/grad_cam.json")
    assert metrics["detections"] == 2
    for method in methods:
        assert metrics[method]["own"]["energy_box"] is not None
        assert metrics[method]["randomised"]["backbone"] is not None


def test_without_detections_pictures_say_so_and_metrics_count_none(model):
    write_params(SMALL | FAST | {"grad_cam.score_threshold": 1.0, "grad_cam.checked_images": 3})
    grad_cam.main()
    metrics = read("metrics/grad_cam.json")
    assert (metrics["detections"], metrics["right"], metrics["wrong"]) == (0, 0, 0)
    assert metrics["missed"] == len(read_json(COCO)["annotations"])
    assert metrics["GradCAM"]["own"] == dict.fromkeys(MEASURES)
    assert metrics["GradCAM"]["deletion"] is None
    assert metrics["chance"] == {"box": None, "polygon": None}
    summary = read("metrics/grad_cam_summary.json")
    assert summary["explained_missed"] == metrics["missed"]
    assert summary["CAM_deletion"] is None
    assert len(list(Path("plots/grad_cam/images").iterdir())) == 3
    assert Path("plots/grad_cam/methods.png").is_file()
    network, image, params = look({"score_threshold": 1.0, "max_mistakes": 0})
    expected = f"GradCAM of the class score: no detections of 1 or more, {len(annotations())} missed"
    assert heading(image, "GradCAM", params) == expected
    figure = drawn(image, network, params)
    assert [text.get_text() for text in figure.texts] == [expected]
    assert figure.axes[0].get_title() == "nothing to explain"


def test_an_image_without_annotations_or_detections_is_drawn(model):
    coco = read_json(COCO)
    write_json(COCO, coco | {"annotations": []})
    write_params(SMALL | FAST | {"grad_cam.score_threshold": 1.0})
    grad_cam.main()
    assert read("metrics/grad_cam.json")["missed"] == 0
    assert len(list(Path("plots/grad_cam/images").iterdir())) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grad_cam.methods": ["GradCam"]},
            "grad_cam.methods.0 is 'GradCam': input should be 'GradCAM', 'GradCAM++'",
        ),
        ({"grad_cam.methods": []}, "sample.grad_cam.methods is []: list should have at least 1 item"),
        ({"grad_cam.target": "class"}, "sample.grad_cam.target is 'class': input should be 'score', 'box' or 'both'"),
        ({"grad_cam.normalise": "all"}, "sample.grad_cam.normalise is 'all': input should be 'image' or 'box'"),
    ],
)
def test_a_wrong_param_is_one_line(project, changes, message):
    write_params(SMALL | changes)
    result = run_module("grad_cam")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_titles_name_the_level_that_made_the_box_and_those_without_a_gradient(model):
    annotate_a_detection()
    scores = [box.score for box in look({"score_threshold": 0.0})[1].detections]
    network, image, params = look({"score_threshold": scores[4], "max_boxes": 1, "max_mistakes": 1})
    figure = drawn(image, network, params)
    titles = [ax.get_title() for ax in figure.axes]
    rows = [titles[:7], titles[7:14], titles[14:21]]
    for row, index in zip(rows, rows_to_draw(image, params), strict=True):
        box = [*image.detections, *image.missed][index]
        assert row[0].startswith(box.kind)
        own = box.target.level
        assert row[1 + own].startswith(f"{LEVELS[own]}, {'nearest anchors' if box.kind == 'missed' else 'made'} here")
        assert all(title.endswith(": no gradient") for title in row[2 + own : 6])
        assert row[6].startswith("sum")
    assert [row[0].split(",")[0] for row in rows] == ["right", "wrong", "missed"]


def test_normalised_in_the_box_colours_span_the_map_inside_it(model):
    network, image, params = look({"score_threshold": 0.0, "max_boxes": 1, "max_mistakes": 0})
    inside = masks_of(image.detections[0], image.letterbox)["box"]
    heats = {}
    for normalise in ("image", "box"):
        figure = drawn(image, network, params.model_copy(update={"normalise": normalise}), "LayerCAM")
        shown = figure.axes[1 + image.detections[0].target.level].images[1]
        heats[normalise] = np.asarray(shown.get_array())
        assert shown.get_clim() == (0, heats[normalise].max())
    assert heats["box"][~inside].max() == 0
    np.testing.assert_array_equal(heats["box"][inside], heats["image"][inside])
    assert heats["image"][~inside].max() > 0


@pytest.mark.parametrize("threshold", [0.0, 1.0])
@pytest.mark.parametrize("size_wh", [(60, 180), (180, 60)])
def test_titles_keep_clear_of_each_other_and_of_the_edge(model, size_wh, threshold):
    width, height = size_wh
    coco = read_json(COCO)
    coco["images"][NUMBER] |= {"width": width, "height": height}
    write_json(COCO, coco)
    Image.new("RGB", size_wh).save(Path("data/raw") / coco["images"][NUMBER]["file_name"])
    network, image, params = look({"score_threshold": threshold, "max_boxes": 2})
    figure = drawn(image, network, params)
    figure.savefig(io.BytesIO(), format="png")  # lays the figure out
    titles = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    titles += [text.get_window_extent() for text in figure.texts]
    assert len(titles) >= 8
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in titles)
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


def test_maps_are_those_of_the_photograph_without_the_letterbox():
    coarse = {0: np.ones((16, 16), dtype=np.float32)}
    assert enlarged(coarse, letterbox_of(120, 60, (128, 128)))[0].shape == (64, 128)


def test_a_network_with_six_levels_is_drawn_with_six(model):
    """The committed networks have P3 to P7; tf_efficientdet_d7x, too large for a test of the stage, has P8 as well."""
    network, image, params = look({"score_threshold": 0.0, "max_boxes": 1, "max_mistakes": 0})
    assert level_names(network) == LEVELS
    rows = rows_to_draw(image, params)
    maps = coarse_maps("GradCAM", network, image.passed, image.detections[:1])
    maps = [enlarged(mine, image.letterbox) for mine in maps]
    figure = draw_cams(image, rows, maps, [*LEVELS, "P8"], "GradCAM", params)
    assert len(figure.axes) == 8
    assert "P8: no gradient" in [ax.get_title() for ax in figure.axes]
