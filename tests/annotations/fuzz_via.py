#!/usr/bin/env python3
"""Fuzz the readers of all VIA formats, guided by coverage (atheris, libFuzzer): each input as JSON and as CSV.

Run     uv run --with atheris tests/annotations/fuzz_via.py -max_total_time=1200
        uv run --with atheris tests/annotations/fuzz_via.py -merge=1 tests/annotations/corpus/via fuzz_corpus

It starts from tests/annotations/corpus/via and adds inputs that reach new code to fuzz_corpus/; any exception but
UserError ends it, with the input in crash-*. The second command adds the new inputs to the corpus, which
test_via_properties.py reads.
"""

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

import atheris
from PIL import ExifTags, Image

# Import the JSON parser again, so that the fuzzer sees its branches; those of the one in C stay hidden.
for name in [name for name in sys.modules if name.partition(".")[0] == "json"]:
    del sys.modules[name]
with atheris.instrument_imports(include=["json", "viadet"]):
    import json
    import json.decoder
    import json.scanner

    json.decoder.scanner.make_scanner = json.scanner.py_make_scanner
    json.decoder.scanstring = json.decoder.py_scanstring

    from viadet.annotations.coco import to_coco
    from viadet.annotations.convert import check_has_boxes, convert_data_set
    from viadet.annotations.faults import raise_faults
    from viadet.annotations.report import Report
    from viadet.annotations.splits import split_data_set
    from viadet.project.errors import UserError
    from viadet.project.params import ConvertParams, SplitParams

PARAMS = [
    ConvertParams(
        categories=categories,
        attribute=attribute,
        bad_regions=decision,
        other_categories=decision,
        points=decision,
        polyline=polyline,
        bad_images=decision,
        emptied_images="drop",
        split=None,
        folds=None,
        folds_of="all",
        fold=0,
    )
    for categories, attribute, polyline in (
        (["balloon"], None, "nearly_closed"),
        (["balloon"], "kind", "never"),
        ("auto", "auto", "always"),
    )
    for decision in ("error", "skip")
]
FOLDER = Path("own")
SIZES_WH = {"a.png": (64, 48), "b.png": (30, 40), "sub/a.png": (60, 20), "turned.jpg": (64, 48)}
SPLIT = SplitParams(val=0.5, test=0.0, seed=0)


def test_one_input(data: bytes) -> None:
    """Convert a folder with these bytes as its annotation file."""
    params = PARAMS[len(data) % len(PARAMS)]
    for name in ("via.json", "via.csv"):
        (FOLDER / name).write_bytes(data)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                data_set = convert_data_set(FOLDER, str(FOLDER), params)
            report = Report(data_set, {}, params)
            report.lines()
            json.dumps(report.details(), allow_nan=False)
            check_has_boxes(data_set, params)
            raise_faults(report.groups, data_set.origin)
            coco = to_coco(data_set.images, data_set.categories.names)
            check_coco(coco)
            unlisted, left_out = data_set.unlisted, data_set.left_out
            splits, _ = split_data_set(data_set.images, unlisted, left_out, SPLIT, data_set.origin)
            if sum(map(len, splits.values())) != len(data_set.images):
                raise RuntimeError("images got lost between the splits")
            Report(data_set, splits, params).lines()
        except UserError as error:
            if len(str(error).splitlines()) != 1:
                raise RuntimeError("the error has several lines") from error
        finally:
            (FOLDER / name).unlink()


def check_coco(coco: dict) -> None:
    """Check that a data set is valid JSON and that its boxes lie inside the images."""
    json.dumps(coco, allow_nan=False)
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        if not (x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= 65 and y + height <= 65):
            raise RuntimeError(f"box outside of the image: {annotation['bbox']}")


if __name__ == "__main__":
    corpus = Path(__file__).resolve().parent / "corpus/via"
    new_inputs = Path("fuzz_corpus").resolve()
    new_inputs.mkdir(exist_ok=True)
    dictionary = Path(__file__).resolve().parent / "corpus/via.dict"
    given = [str(Path(argument).resolve()) if Path(argument).is_dir() else argument for argument in sys.argv[1:]]
    arguments = [sys.argv[0], *given, f"-dict={dictionary}", f"-artifact_prefix={Path.cwd()}/"]
    if not any(argument.startswith("-merge") for argument in arguments):
        arguments += [str(new_inputs), str(corpus)]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        os.chdir(folder)
        Path(FOLDER, "sub").mkdir(parents=True)
        turned = Image.Exif()
        turned[ExifTags.Base.Orientation] = 6
        for name, size_wh in SIZES_WH.items():
            Image.new("RGB", size_wh).save(FOLDER / name, **({"exif": turned} if name == "turned.jpg" else {}))
        atheris.Setup(arguments, test_one_input)
        atheris.Fuzz()
