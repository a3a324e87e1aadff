"""Own images, linked as data/own: two commands from a folder of annotated images to a detector."""

import json

import pytest
from PIL import Image, ImageDraw
from projects import SMALL, Clone, changed_param, stages_to_run, via_entry

from stages import train

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own"), pytest.mark.needs("symlinks")]

COLOURS = {"cat": "red", "dog": "blue", "bird": "green", "fish": "orange"}
SHORT = {key: value for key, value in SMALL.items() if not key.startswith("fetch.")} | {"train.epochs": 1}
SHORT |= {"train.warmup_epochs": 0, "train.validate_every": 1, "train.augment.plain_epochs": 0, "model.image_size": 128}
SHORT |= {"model.init": "random", "model.test_size": "null"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Ten images with four kinds of objects, in sub-folders with blanks, and one VIA file for all."""
    folder = tmp_path_factory.mktemp("my pictures")
    entries = []
    for number in range(10):
        name = f"day {number % 2}/picture ({number}).png"
        picture = Image.new("RGB", (160, 120), (number, 0, 90))
        regions = []
        for place, (kind, colour) in enumerate(COLOURS.items()):
            x, y = 10 + 70 * (place % 2) + number, 10 + 55 * (place // 2)
            ImageDraw.Draw(picture).rectangle([x, y, x + 40, y + 30], fill=colour)
            rectangle = {"name": "rect", "x": x, "y": y, "width": 40, "height": 30}
            regions += via_entry(name, rectangle, attributes={"kind": kind})["regions"]
        (folder / name).parent.mkdir(exist_ok=True)
        picture.save(folder / name)
        entries.append(via_entry(name) | {"regions": regions})
    (folder / "via_export.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def clone(pictures, tmp_path_factory):
    """A clone after the two commands, as far as the stage `convert`."""
    clone = Clone(tmp_path_factory.mktemp("own"))
    (clone.folder / "data/own").symlink_to(pictures)
    changes = [argument for key, value in SHORT.items() for argument in ("-S", f"own.{key}={value}")]
    clone.output = clone.run("dvc", "exp", "run", "-S", "recipe=own", *changes, "convert")
    return clone


def test_two_commands_train_a_detector_of_all_categories(clone, monkeypatch):
    monkeypatch.chdir(clone.folder)
    train.main()
    model = json.loads((clone.folder / "data/model/model.json").read_text(encoding="utf-8"))
    assert model["categories"] == sorted(COLOURS)
    counts = json.loads((clone.folder / "metrics/dataset.json").read_text(encoding="utf-8"))
    assert (counts["train_images"], counts["val_images"], counts["categories"]) == (8, 2, 4)
    assert "recipe own: 10 images of data/own, annotated in data/own/via_export.json" in clone.output
    assert "    - bird" in clone.output
    assert stages_to_run(clone, "convert") == []


def test_a_change_in_the_linked_folder_is_noticed_and_a_fault_names_the_users_file(clone, pictures):
    path = pictures / "via_export.json"
    before = path.read_text(encoding="utf-8")
    path.write_text(before.replace('"dog"', '"dgo "', 1).replace('"rect"', '"point"', 1), encoding="utf-8")
    result = clone.call("dvc", "repro")
    path.write_text(before, encoding="utf-8")
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if line.startswith("convert: ")]
    place = "data/own/via_export.json, day 0/picture (0).png, region 0"
    assert line.startswith(f"convert: {place} is a point, which has no area; fix it in VIA, or set convert.points")
    assert "values of kind: bird 10, cat 10, fish 10, dog 9, dgo 1" in result.stdout


def test_other_recipes_do_not_notice_the_folder(clone, pictures):
    with changed_param(clone, "recipe", "sample"):
        before = clone.run("dvc", "status", "fetch")
        (pictures / "more.csv").write_text("x", encoding="utf-8")
        assert clone.run("dvc", "status", "fetch") == before
        assert "data/own" not in before


def test_a_missing_folder_is_named_in_one_line(clone, pictures):
    (clone.folder / "data/own").unlink()
    result = clone.call("dvc", "repro", "fetch")
    (clone.folder / "data/own").symlink_to(pictures)
    assert result.returncode != 0
    assert "No such file or directory" in result.stderr and "/data/own'" in result.stderr
