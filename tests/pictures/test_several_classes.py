"""All pictures and tables of a data set with three classes, made by the stages; among its images are two strips."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from projects import SMALL, spec_of, write_params

from stages import evaluate, feature_maps, grad_cam, visualise
from viadet.network.build import build_network
from viadet.network.weights import save_network
from viadet.pictures.classes import COLOURS

CLASSES = {"square": "#b03030", "disc": "#3060b0", "kite $5": "#309050"}  # and what it is painted in
SIZE_WH = (128, 96)  # px
STRIPS = [((64, 8000), [(1, 10, 4000, 40)]), ((8000, 64), [(2, 7950, 20, 40)])]  # size and objects
PARAMS = {
    "evaluate.score_threshold": 0.75,
    "evaluate.test_time": None,
    "evaluate.bootstrap": 0,
    "feature_maps.layers": ["P4"],
    "feature_maps.score_threshold": 0.75,
    "grad_cam.methods": ["HiResCAM"],
    "grad_cam.score_threshold": 0.8,  # reached by few detections of the images below
    "grad_cam.max_boxes": 2,
    "grad_cam.max_mistakes": 1,
    "grad_cam.measured_images": 1,
    "grad_cam.checked_images": 1,
}
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("several_classes")]


def outline(label, x, y, size):
    half = size / 2
    if label == 1:
        return [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]
    if label == 2:
        corners = ((1, 0), (1.7, 0.3), (2, 1), (1.7, 1.7), (1, 2), (0.3, 1.7), (0, 1), (0.3, 0.3))
        return [(x + half * dx, y + half * dy) for dx, dy in corners]
    return [(x + half, y), (x + size, y + half), (x + half, y + size), (x, y + half)]


def write_split(split, contents):
    """Paint images, size and objects each, of which each is (label, x, y, size), and write their COCO file."""
    images, annotations = [], []
    for image_id, ((width, height), objects) in enumerate(contents, start=1):
        picture = Image.new("RGB", (width, height), "#d8d4c8")
        for label, x, y, size in objects:
            points = outline(label, x, y, size)
            ImageDraw.Draw(picture).polygon(points, fill=list(CLASSES.values())[label - 1])
            entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": label, "iscrowd": 0}
            entry |= {"bbox": [x, y, size, size], "area": size**2}
            annotations.append(entry | {"segmentation": [[value for point in points for value in point]]})
        name = f"{split}/{image_id}.png"
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        Path("data/raw", split).mkdir(parents=True, exist_ok=True)
        picture.save(Path("data/raw", name))
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    Path("data/coco").mkdir(exist_ok=True)
    Path("data/coco", f"{split}.json").write_text(json.dumps(coco), encoding="utf-8")


def write_model():
    """Save an untrained network that detects something of each class."""
    torch.manual_seed(0)
    spec = spec_of(128, list(CLASSES))
    network = build_network(spec)
    with torch.no_grad():
        network.class_net.predict.conv_pw.bias.fill_(0.0)
    Path("data/model").mkdir()
    save_network(network, spec, Path("data/model"))
    Path("data/init").mkdir()
    start = {"init": "random", "mean": spec.mean, "std": spec.std}
    Path("data/init/start.json").write_text(json.dumps(start), encoding="utf-8")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A project after the four stages that draw; nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("classes"))
        write_params(SMALL | PARAMS)
        train = [[(1, 10, 10, 40), (2, 70, 30, 40)], [(3, 30, 20, 60)]]
        val = [[(1, 5, 5, 40), (3, 70, 40, 50)], [(2, 40, 20, 50)]]
        for split, places in (("train", train), ("val", val)):
            write_split(split, [*((SIZE_WH, objects) for objects in places), *STRIPS])
        write_model()
        for stage in (visualise, evaluate, feature_maps, grad_cam):
            stage.main()
        return Path.cwd()


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def has_colour(path, colour):
    with Image.open(path) as picture:
        return any(found == colour for _, found in picture.convert("RGB").getcolors(2**24))


def rgb(number):
    return tuple(bytes.fromhex(COLOURS[number][1:]))


def test_the_training_set_is_drawn_in_a_colour_for_each_class(drawn):
    folder = drawn / "plots/visualise/images"
    assert all(has_colour(folder / "training_set.png", rgb(number)) for number in range(3))
    assert not has_colour(folder / "training_set.png", (0, 255, 0))
    assert any(has_colour(folder / "augmented.png", rgb(number)) for number in range(3))


def test_tables_list_all_classes(drawn):
    plots = drawn / "plots/evaluate"
    assert [(row["class"], row["objects"]) for row in rows(plots / "by_class.csv")] == [
        ("square", "2"),
        ("disc", "2"),
        ("kite $5", "1"),
    ]
    errors = rows(plots / "errors_by_class.csv")
    assert [row["class"] for row in errors[::6]] == list(CLASSES)
    total = {row["error"]: row["count"] for row in json.loads((plots / "errors.json").read_text(encoding="utf-8"))}
    assert sum(total.values()) == sum(int(row["count"]) for row in errors)
    confusions = rows(plots / "confusion_matrix.csv")
    objects = {name: sum(int(row["count"]) for row in confusions if row["object"] == name) for name in CLASSES}
    assert list(objects.values()) == [2, 2, 1]


def test_every_stage_has_its_pictures(drawn):
    assert (drawn / "plots/evaluate/confusion_matrix.png").is_file()
    for folder in ("plots/evaluate/images", "plots/feature_maps", "plots/grad_cam/images"):
        assert sorted(path.name for path in (drawn / folder).iterdir()) == [f"val_{n}.png.jpg" for n in range(1, 5)]


def test_no_picture_of_a_strip_is_too_large_to_look_at(drawn):
    for path in (drawn / "plots").rglob("val_[34].png.jpg"):
        with Image.open(path) as picture:
            assert max(picture.size) < 3000, path


def test_grad_cam_measures_fewer_images_than_it_draws_and_says_so(drawn):
    metrics = json.loads((drawn / "metrics/grad_cam.json").read_text(encoding="utf-8"))
    assert (metrics["measured_images"], metrics["images"]) == (1, 4)
    assert metrics["right"] + metrics["missed"] == 2  # objects of the first image
