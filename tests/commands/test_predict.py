"""`viadet predict`: what it writes, bad input, damaged images, Ctrl-C."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from annotations.via_files import convert_params
from click.testing import CliRunner
from inference.test_via_files import RECORDS
from PIL import Image
from pycocotools.coco import COCO

import viadet
from viadet.annotations.convert import convert_data_set
from viadet.commands.app import main
from viadet.commands.predict import Results, TableParams, detect_all, end_with, write_results, write_tables
from viadet.detection import detector as detector_module
from viadet.detection.settings import DetectSettings, write_settings
from viadet.inference import via_files
from viadet.inference.image_files import find_image_files
from viadet.pictures import detections as pictures_module

FILES = {"coco_images.json", "coco_results.json", "detections.csv", "pictures", "via_project.json", "via_regions.json"}


def predict(*arguments):
    """Run the command in this process; exit code, and output with that of standard error first."""
    result = CliRunner().invoke(main, ["predict", "--device", "cpu", "--workers", "0", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exc_info
    return result.exit_code, f"{result.stderr}\n{result.stdout}"


def last_line(output):
    return output.strip().splitlines()[-1]


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """An empty folder with three images in one below it; the second is 1 x 1 px, the third turned by EXIF."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photographs"
    (folder / "sub").mkdir(parents=True)
    Image.effect_mandelbrot((96, 64), (-2, -1.5, 1, 1.5), 40).save(folder / "b.jpg")
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_mandelbrot((96, 64), (-2, -1.5, 1, 1.5), 30).convert("RGB").save(folder / "sub/a.jpg", exif=exif)
    return folder


@pytest.fixture(scope="module")
def model_dir(untrained_model):
    return untrained_model


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pictures_coco_csv_and_via_files_of_all_images_are_written(photographs, model_dir):
    code, output = predict("photographs", "--model", model_dir, "--threshold", 0.5)
    assert code == 0, output
    assert last_line(output).startswith("predictions has the detections of 3 of 3 images; VIA 2 opens ")
    out = photographs.parent / "predictions"
    assert {path.name for path in out.iterdir()} == FILES
    assert {path.name for path in (out / "pictures").iterdir()} == {"b.jpg", "dot.png.jpg", "sub_a.jpg"}
    with Image.open(out / "pictures/sub_a.jpg") as upright:
        assert upright.height > upright.width

    results = COCO(out / "coco_images.json").loadRes(str(out / "coco_results.json")).dataset
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in results["images"]}
    assert sizes == {"b.jpg": (96, 64), "dot.png": (1, 1), "sub/a.jpg": (64, 96)}
    assert len(results["annotations"]) > 0
    assert all(entry["score"] >= 0.5 for entry in results["annotations"])
    assert len((out / "detections.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(results["annotations"])
    project = json.loads((out / "via_project.json").read_text(encoding="utf-8"))
    assert project["_via_settings"]["core"]["default_filepath"] == photographs.as_uri() + "/"
    entries = project["_via_img_metadata"].values()
    assert {entry["filename"]: entry["size"] for entry in entries} == {
        name: (photographs / name).stat().st_size for name in sizes
    }
    assert sum(len(entry["regions"]) for entry in entries) == len(results["annotations"])


def test_a_model_without_the_settings_of_an_evaluation_says_so(photographs, model_dir, tmp_path):
    evaluated = shutil.copytree(model_dir, tmp_path / "evaluated")
    write_settings(evaluated, DetectSettings((192, 192), 0.5, 10, None))
    _, output = predict("photographs/dot.png", "--model", evaluated, "--out", "evaluated_found")
    assert " at 192 x 192 px on cpu, " in output
    _, output = predict("photographs/dot.png", "--model", model_dir, "--out", "found")
    assert " at 128 x 128 px (as in training: there is no detect.json of an evaluation) on cpu, " in output


def test_the_same_command_gives_the_same_bytes_without_the_pictures_of_the_first_run(photographs, model_dir):
    outputs = [predict(".", "--model", model_dir, "--out", out)[1] for out in ("one", "two")]
    assert ["left out 3 pictures of earlier predictions" in output for output in outputs] == [False, True]
    one, two = contents(photographs.parent / "one"), contents(photographs.parent / "two")
    assert len(one) == 8
    assert one == two


def test_the_least_sure_images_are_listed_and_in_a_via_project_of_their_own(photographs, model_dir):
    predict("photographs", "--model", model_dir, "--unsure", 2)
    out = photographs.parent / "predictions"
    assert {path.name for path in out.iterdir()} == FILES | {"unsure.csv", "unsure_via_project.json"}
    rows = [line.rsplit(",", 1) for line in (out / "unsure.csv").read_text(encoding="utf-8").splitlines()[1:]]
    measures = [float(measure) for _, measure in rows]
    assert len(rows) == 2 and measures[0] >= measures[1] > 0
    project = json.loads((out / "unsure_via_project.json").read_text(encoding="utf-8"))
    shown = [project["_via_img_metadata"][key]["filename"] for key in project["_via_image_id_list"]]
    assert shown == [name for name, _ in rows]


def images_below(folder):
    return {name: data for name, data in contents(folder).items() if name.suffix in (".jpg", ".png")}


def test_the_least_sure_images_are_moved_and_go_with_their_corrected_project_into_the_data_set(photographs, model_dir):
    images = images_below(photographs)
    code, output = predict("photographs", "--model", model_dir, "--unsure", 2, "--move", "--out", "round_1")
    assert code == 0, output
    end = f"; 2 images moved into {Path('round_1/unsure')}; VIA 2 opens {Path('round_1/unsure_via_project.json')}"
    assert last_line(output).endswith(end)
    moved, left = images_below(Path("round_1/unsure")), images_below(photographs)
    assert len(moved) == 2 and len(left) == 1
    assert moved | left == images
    rows = Path("round_1/unsure.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert {row.rsplit(",", 1)[0] for row in rows} == {path.as_posix() for path in moved}

    project = json.loads(Path("round_1/unsure_via_project.json").read_text(encoding="utf-8"))
    assert project["_via_settings"]["core"]["default_filepath"] == Path("round_1/unsure").absolute().as_uri() + "/"
    [kept, emptied] = project["_via_img_metadata"].values()  # corrected: a box is left in one of them
    kept["regions"], emptied["regions"] = kept["regions"][:1], []
    Path("round_1/unsure/unsure_via_project.json").write_text(json.dumps(project), encoding="utf-8")
    Path("data/own").mkdir(parents=True)
    photographs.rename("data/own/new")
    Path("round_1/unsure").rename("data/own/round_1")
    data_set = convert_data_set(Path("data/own"), "data/own", convert_params(attribute="auto"))
    assert not data_set.faults
    boxes = {image.image["file_name"]: len(image.annotations) for image in data_set.images}
    assert boxes == {f"round_1/{kept['filename']}": 1, f"round_1/{emptied['filename']}": 0}
    assert data_set.unlisted == [f"new/{path.as_posix()}" for path in left]


@pytest.mark.parametrize("more", [[], ["--out", "photographs/sub/round_1"]])
def test_if_the_project_cannot_be_written_all_images_are_back(photographs, model_dir, monkeypatch, more):
    images, moved = images_below(photographs), []

    def fail(*_):
        moved.extend(path for path in photographs.parent.rglob("unsure/**/*.*"))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(via_files, "predictions_project", lambda name, *rest: {} if name == "via_project" else fail())
    code, output = predict("photographs", "--model", model_dir, "--unsure", 2, "--move", *more)
    assert code == 1 and len(moved) == 2
    assert last_line(output).endswith(" keeps what was written before, and no image was moved")
    assert images.items() <= images_below(photographs).items()
    assert not list(photographs.parent.rglob("unsure"))


@pytest.mark.needs("symlinks")
def test_links_are_not_moved_and_without_a_number_nothing_is(photographs, model_dir):
    (photographs / "link.jpg").symlink_to(photographs / "b.jpg")
    good = ["photographs", "--model", model_dir, "--move"]
    for arguments, reason in [
        (good, "--move moves the images of --unsure; say how many, such as --unsure 50"),
        ([*good, "--unsure", 1], f"1 image is a link, which --move can't move: {photographs / 'link.jpg'}; put "),
    ]:
        before = contents(photographs.parent)
        code, output = predict(*arguments)
        assert (code, last_line(output)[: len(reason) + 9]) == (1, f"predict: {reason}")
        assert contents(photographs.parent) == before


def test_several_models_detect_together(photographs, model_dir, other_model):
    models = ("--model", model_dir, "--model", other_model)
    code, output = predict("photographs", *models, "--threshold", 0.2, "--unsure", 1)
    assert code == 0, output
    for folder, sizes in ((model_dir, "128 x 128 px"), (other_model, "160 x 128 px")):
        network = json.loads((folder / "model.json").read_text(encoding="utf-8"))["name"]
        assert f"{folder}: {network} at {sizes}" in output
    out = photographs.parent / "predictions"
    assert {path.name for path in out.iterdir()} == FILES | {"unsure.csv", "unsure_via_project.json"}
    assert len(list((out / "pictures").iterdir())) == 3
    detector = viadet.load([model_dir, other_model], "cpu")
    names = ("b.jpg", "dot.png", "sub/a.jpg")
    expected = {name: detector(photographs / name, threshold=0.2) for name in names}
    assert len(expected["b.jpg"]) > 0
    results = json.loads((out / "coco_results.json").read_text(encoding="utf-8"))
    assert results == [row for number, name in enumerate(names, 1) for row in expected[name].coco_rows(number)]
    project = json.loads((out / "via_project.json").read_text(encoding="utf-8"))
    regions = {entry["filename"]: len(entry["regions"]) for entry in project["_via_img_metadata"].values()}
    assert regions == {name: len(detections) for name, detections in expected.items()}


def test_models_that_cannot_detect_together_leave_nothing(photographs, model_dir):
    code, output = predict("photographs", "--model", model_dir, "--model", model_dir)
    assert (code, last_line(output)) == (1, f"predict: the model folder {model_dir} is given twice; name each one once")
    assert not (photographs.parent / "predictions").exists()


def test_of_equally_unsure_images_the_first_comes_first(tmp_path):
    measures = (0.1, 3.0, 2.0, 3.0)
    records = [dataclasses.replace(RECORDS[0], file_name=f"{i}.png", unsureness=m) for i, m in enumerate(measures)]
    write_tables(tmp_path, tmp_path, records, TableParams(["cat", "dog"], None, 3, move=False))
    names = [line.split(",")[0] for line in (tmp_path / "unsure.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert names == ["1.png", "3.png", "2.png"]


def test_images_without_detections_are_in_all_files(photographs, model_dir):
    code, _ = predict("photographs", "--model", model_dir, "--threshold", 1)
    assert code == 0
    out = photographs.parent / "predictions"
    assert len(list((out / "pictures").iterdir())) == 3
    assert json.loads((out / "coco_results.json").read_text(encoding="utf-8")) == []
    assert [
        entry["regions"] for entry in json.loads((out / "via_regions.json").read_text(encoding="utf-8")).values()
    ] == [[]] * 3


def test_the_attribute_of_the_category_can_be_named_but_not_score(photographs, model_dir):
    predict("photographs/b.jpg", "--model", model_dir, "--attribute", "kind")
    [entry] = json.loads((photographs.parent / "predictions/via_regions.json").read_text(encoding="utf-8")).values()
    assert {region["region_attributes"]["kind"] for region in entry["regions"]} == {"balloon"}
    code, output = predict("photographs", "--model", model_dir, "--attribute", "score", "--out", "other")
    assert (code, last_line(output)) == (1, "predict: --attribute is score, which holds the score; name another")


def test_a_damaged_image_is_named_the_others_are_written_and_the_exit_code_is_1(photographs, model_dir):
    (photographs / "c.jpg").write_bytes((photographs / "b.jpg").read_bytes()[:300])
    code, output = predict("photographs", "--model", model_dir)
    assert code == 1
    path = photographs / "c.jpg"
    assert last_line(output).startswith(f"predict: 1 image left out: {path} can't be read as an image (")
    assert last_line(output).endswith("; predictions has the detections of 3 of 4 images")
    assert len(json.loads((photographs.parent / "predictions/via_regions.json").read_text(encoding="utf-8"))) == 3


def test_only_damaged_images_leave_nothing(photographs, model_dir):
    (photographs / "c.jpg").write_bytes(b"x")
    code, output = predict("photographs/c.jpg", "--model", model_dir)
    assert code == 1
    assert last_line(output).endswith("; nothing was written")
    assert not (photographs.parent / "predictions").exists()


def test_bad_input_ends_in_one_line_and_leaves_nothing(photographs, model_dir):
    (photographs / "empty").mkdir()
    (photographs.parent / "file").write_text("x", encoding="utf-8")
    good = ["photographs", "--model", model_dir]
    for arguments, reason in [
        (["photographs/empty", "--model", model_dir], "photographs/empty has no images; their names end in .bmp, "),
        (["photographs/*.gif", "--model", model_dir], "photographs/*.gif matches no images; check the pattern"),
        (["nosuch.jpg", "--model", model_dir], "nosuch.jpg: no such file or folder; check the name"),
        (["photographs"], "data/model is not a model folder: model.json is missing; "),
        ([*good, "--size", 100], "the input's size is 100; use a multiple of 32 from 128 to 2048 px"),
        ([*good, "--out", "photographs"], "photographs exists and is not an empty folder; name another with --out"),
        ([*good, "--out", "file"], "file exists and is not an empty folder; "),
    ]:
        before = contents(photographs.parent)
        code, output = predict(*arguments)
        assert code == 1, output
        assert last_line(output).startswith(f"predict: {reason}")
        assert contents(photographs.parent) == before
        assert not (photographs.parent / "predictions").exists()


@pytest.mark.parametrize("out", ["file/below", pytest.param("/proc/nosuch", marks=pytest.mark.needs("linux"))])
def test_an_output_folder_that_cannot_be_made_ends_in_one_line(photographs, model_dir, out):
    (photographs.parent / "file").write_text("x", encoding="utf-8")
    code, output = predict("photographs", "--model", model_dir, "--out", out)
    assert code == 1, output
    assert last_line(output).startswith(f"predict: {Path(out).parts[0]}")
    assert last_line(output).endswith("; fix this and run the same command again")
    assert sorted(path.name for path in photographs.parent.iterdir()) == ["file", "photographs"]


def test_no_images_at_all_are_a_usage_error():
    code, output = predict()
    assert code == 2
    assert last_line(output).startswith("Error: Missing argument")


@contextmanager
def files_of_at_most(limit):
    """Refuse to write more bytes into a file, as a full disk does."""
    import resource  # POSIX only

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.needs("file size limit")
def test_if_the_first_picture_cannot_be_written_nothing_is_left(photographs, model_dir):
    (photographs.parent / "predictions").mkdir()
    with files_of_at_most(600):
        code, output = predict("photographs/dot.png", "photographs/b.jpg", "--model", model_dir)
    assert code == 1, output
    assert last_line(output).endswith("File too large; fix this; nothing was written")
    assert list((photographs.parent / "predictions").iterdir()) == []


@pytest.mark.needs("file size limit")
def test_if_a_later_picture_cannot_be_written_what_is_done_is_whole(photographs, model_dir):
    Image.effect_noise((800, 800), 90).save(photographs / "noise.png")
    images = ("photographs/dot.png", "photographs/noise.png", "photographs/b.jpg")
    with files_of_at_most(150_000):
        code, output = predict(*images, "--model", model_dir, "--threshold", 1)
    assert code == 1, output
    out = photographs.parent / "predictions"
    assert {path.name for path in out.iterdir()} == FILES
    names = {image["file_name"] for image in json.loads((out / "coco_images.json").read_text("utf-8"))["images"]}
    assert "dot.png" in names and "noise.png" not in names
    assert {path.name for path in (out / "pictures").iterdir()} == {
        f"{name.removesuffix('.jpg')}.jpg" for name in names
    }
    assert f"File too large; fix this; predictions has the detections of {len(names)} of 3 images" in last_line(output)


@pytest.mark.parametrize(
    ("number", "reason", "left"),
    [
        (
            errno.ENOSPC,
            "No space left on device; free some space; predictions has the detections of 3 of 3 images, "
            "but no pictures: they were deleted to make room for the tables",
            FILES - {"pictures"},
        ),
        (errno.EIO, "Input/output error; fix this; predictions keeps what was written before", {"pictures"}),
    ],
)
def test_if_the_tables_cannot_be_written_the_pictures_make_room_or_stay(
    photographs, model_dir, monkeypatch, number, reason, left
):
    flush = os.fsync

    def flush_without_pictures(descriptor):
        if Path("predictions/pictures").exists():
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", flush_without_pictures)
    code, output = predict("photographs", "--model", model_dir)
    assert (code, last_line(output)) == (1, f"predict: {reason}")
    assert {path.name for path in Path("predictions").iterdir()} == left
    if "pictures" in left:
        assert len(list(Path("predictions/pictures").iterdir())) == 3


def detect_with(model_dir, is_interrupted, *arguments):
    """Detect in images, asking after each of them whether to stop."""

    class Interrupt:
        is_set = staticmethod(is_interrupted)

    detector, files = viadet.load(model_dir, "cpu"), find_image_files(arguments)
    return detect_all(detector, files, 0.5, Path("predictions/pictures"), 0, Interrupt)


def test_an_image_that_vanishes_after_it_was_read_is_left_out_alone(photographs, model_dir):
    results = detect_with(model_dir, lambda: (photographs / "dot.png").unlink(missing_ok=True), "photographs")
    assert results.stopped is None
    assert results.errors == [f"{photographs / 'dot.png'} is gone since it was read; check its name and place"]
    assert [record.file_name for record in results.records] == ["b.jpg", "sub/a.jpg"]
    assert {path.name for path in Path("predictions/pictures").iterdir()} == {"b.jpg", "sub_a.jpg"}


def test_if_not_all_images_were_looked_at_none_is_moved(photographs, model_dir):
    results = detect_with(model_dir, lambda: True, "photographs")
    images = images_below(photographs)
    params = TableParams(["balloon"], None, 2, move=True)
    place = write_results(Path("predictions"), find_image_files(["photographs"]), results, params)
    assert place == "predictions has the detections of 1 of 3 images; none was moved"
    assert images_below(photographs) == images
    project = json.loads(Path("predictions/unsure_via_project.json").read_text(encoding="utf-8"))
    assert project["_via_settings"]["core"]["default_filepath"] == photographs.as_uri() + "/"


def test_an_error_that_nobody_expected_is_raised_after_what_is_done_is_written(photographs, model_dir, capsys):
    pictures_dir, seen = Path("predictions/pictures"), []

    def fail_at_the_third():
        seen.append(None)
        while len(seen) == 3:
            if list(pictures_dir.glob("*.jpg")):
                raise RuntimeError("the driver failed")
            time.sleep(0.01)

    results = detect_with(model_dir, fail_at_the_third, "photographs")
    names = [record.file_name for record in results.records]
    assert names[0] == "b.jpg"
    pictures = {"b.jpg": "b.jpg", "dot.png": "dot.png.jpg", "sub/a.jpg": "sub_a.jpg"}
    assert {path.name for path in pictures_dir.iterdir()} == {pictures[name] for name in names}
    with pytest.raises(RuntimeError, match="the driver failed"):
        end_with(results, 3, "predictions has the detections")
    assert last_line(capsys.readouterr().err) == "predict: stopped by an error; predictions has the detections"


@pytest.mark.parametrize("error", [TypeError("no\nfont"), MemoryError("x"), OSError(28, "full"), BrokenExecutor()])
def test_a_picture_that_cannot_be_drawn_leaves_its_image_out_unless_the_disk_or_a_worker_failed(error):
    picture, results = Future(), Results()
    picture.set_exception(error)
    if isinstance(error, OSError | BrokenExecutor):
        with pytest.raises(type(error)):
            results.add_when_drawn(Path("a.jpg"), RECORDS[0], picture)
        assert results.errors == []
    else:
        results.add_when_drawn(Path("a.jpg"), RECORDS[0], picture)
        assert results.errors == [f"a.jpg can't be drawn ({' '.join(str(error).split())})"]
    assert results.records == []


@pytest.mark.needs("any bytes in names")
def test_an_image_whose_name_is_not_utf8_is_detected_in_drawn_and_written(photographs, model_dir):
    name = os.fsdecode(b"bad\xff.png")
    (photographs / "dot.png").rename(photographs / name)
    code, output = predict("photographs", "--model", model_dir, "--unsure", 3)
    assert code == 0, output
    out = photographs.parent / "predictions"
    assert {path.name for path in (out / "pictures").iterdir()} == {"b.jpg", "bad.png.jpg", "sub_a.jpg"}
    images = json.loads((out / "coco_images.json").read_text(encoding="utf-8"))["images"]
    assert name in [image["file_name"] for image in images]
    assert name in (out / "unsure.csv").read_text(encoding="utf-8", errors="surrogateescape")
    entries = json.loads((out / "via_project.json").read_text(encoding="utf-8"))["_via_img_metadata"].values()
    assert "bad%FF.png" in [entry["filename"] for entry in entries]  # as in a URL


@pytest.mark.needs("posix")
def test_pipes_with_the_name_of_an_image_do_not_block(photographs, model_dir):
    os.mkfifo(photographs / "pipe.jpg")
    os.mkfifo(photographs / "other")
    code, output = predict("photographs", "photographs/other", "--model", model_dir)
    assert code == 1
    assert last_line(output).startswith(f"predict: 2 images left out: {photographs / 'pipe.jpg'} can't be read as an ")
    assert "(it is a folder, pipe or device)" in last_line(output)
    assert last_line(output).endswith("; predictions has the detections of 3 of 5 images")


def test_files_that_can_not_be_read_as_images_are_counted_and_nothing_speaks_of_annotations(photographs, model_dir):
    for name in ("a.heic", "b.mp4", "notes.txt"):
        (photographs / name).touch()
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(photographs / "frames.gif", save_all=True, append_images=frames[1:])
    code, output = predict("photographs", "--model", model_dir)
    assert code == 1
    reason = "2 files can't be read (1 .heic, 1 .mp4); save the images as JPEG or PNG, save frames of the videos as im"
    assert f"\nleft out: {reason}" in output
    assert "frames.gif can't be read as an image (it has 2 frames; save the one that you mean as an image" in output
    assert "annotat" not in output


def watched(monkeypatch, module, name, arrays_of):
    """Watch a function; a list of how many of all the arrays in its results are alive, after each call."""
    original, references, alive = getattr(module, name), [], []

    def watch(*arguments):
        result = original(*arguments)
        references.extend(map(weakref.ref, arrays_of(result)))
        alive.append(sum(reference() is not None for reference in references))
        return result

    monkeypatch.setattr(module, name, watch)
    return alive


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(photographs, model_dir, monkeypatch):
    """Arrays are counted, as the peak of a process differs by up to 150 MiB from run to run.

    At most three batches of eight are decoded ahead, and as many pictures are behind as PICTURES_BEHIND says.
    """
    decoded = watched(monkeypatch, detector_module, "read_image", lambda image: [image])
    canvases = watched(monkeypatch, detector_module, "prepare_image", lambda prepared: prepared.canvases.values())
    shown = watched(monkeypatch, detector_module, "prepare_image", lambda prepared: [prepared.shown])
    drawn = watched(monkeypatch, pictures_module, "cell_wh_inches", lambda _: [])
    for number in range(120):
        Image.new("RGB", (1100, 64), (number, 0, 0)).save(photographs / f"sub/{number:03}.png")
    code, output = predict("photographs/sub/*.png", "--model", model_dir, "--threshold", 1)
    assert code == 0, output
    assert len(decoded) == len(canvases) == len(shown) == len(drawn) == 120  # each was decoded once
    assert max(decoded) <= 4
    assert max(canvases) <= 40
    assert 8 <= max(shown) <= 60


@pytest.mark.slow
@pytest.mark.needs("signals")
@pytest.mark.parametrize(("number", "workers", "times"), [(signal.SIGTERM, "0", 1), (signal.SIGINT, "2", 2)])
def test_after_ctrl_c_or_sigterm_or_several_what_is_done_is_whole(photographs, model_dir, number, workers, times):
    for image in range(1000):
        Image.new("RGB", (64, 64), (image % 256, 0, 0)).save(photographs / f"{image:04}.png")
    command = [sys.executable, "-m", "viadet", "predict", "photographs", "--model", str(model_dir)]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--workers", workers],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out = photographs.parent / "predictions"
    while process.poll() is None and not (out / "pictures").is_dir():
        time.sleep(0.05)
    for _ in range(times):
        os.killpg(process.pid, number)  # as a terminal does: the worker processes get it too
        time.sleep(0.3)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    line = last_line(errors)
    assert line.startswith("predict: interrupted; predictions has the detections of ")
    done = int(line.split(" of ")[1])
    assert 0 < done < 1003
    assert {path.name for path in out.iterdir()} == FILES
    assert len(json.loads((out / "via_project.json").read_text(encoding="utf-8"))["_via_image_id_list"]) == done
    pictures = list((out / "pictures").iterdir())
    assert len(pictures) == done
    for path in pictures:
        Image.open(path).load()
