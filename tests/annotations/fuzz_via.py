#!/usr/bin/env python3
"""Fuzz the VIA reader, guided by coverage (atheris, libFuzzer).

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
from PIL import Image

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
    from viadet.annotations.convert import convert_folder
    from viadet.project.errors import UserError
    from viadet.project.params import ConvertParams

PARAMS = [
    ConvertParams(categories=["balloon"], attribute=attribute, bad_regions=bad_regions, folds=None, fold=0)
    for attribute in (None, "kind")
    for bad_regions in ("error", "skip")
]
SIZES_WH = {"a.png": (64, 48), "b.png": (30, 40)}


def test_one_input(data: bytes) -> None:
    """Convert a split with these bytes as its VIA file."""
    Path("train/via.json").write_bytes(data)
    params = PARAMS[len(data) % len(PARAMS)]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            coco = to_coco(convert_folder(Path("train"), params), params.categories)
        except UserError as error:
            if len(str(error).splitlines()) != 1:
                raise RuntimeError("the error has several lines") from error
            return
    json.dumps(coco, allow_nan=False)
    for annotation in coco["annotations"]:
        x, y, width, height = annotation["bbox"]
        if not (x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= 65 and y + height <= 49):
            raise RuntimeError(f"box outside of the image: {annotation['bbox']}")


if __name__ == "__main__":
    corpus = Path(__file__).resolve().parent / "corpus/via"
    new_inputs = Path("fuzz_corpus").resolve()
    new_inputs.mkdir(exist_ok=True)
    dictionary = Path(__file__).resolve().parent / "corpus/via.dict"
    arguments = [sys.argv[0], *sys.argv[1:], f"-dict={dictionary}", f"-artifact_prefix={Path.cwd()}/"]
    if not any(argument.startswith("-merge") for argument in arguments):
        arguments += [str(new_inputs), str(corpus)]
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        os.chdir(folder)
        Path("train").mkdir()
        for name, size_wh in SIZES_WH.items():
            Image.new("RGB", size_wh).save(Path("train", name))
        atheris.Setup(arguments, test_one_input)
        atheris.Fuzz()
