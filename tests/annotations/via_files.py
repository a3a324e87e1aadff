"""Splits of one-coloured images with VIA files, and the params to convert them."""

import json
from pathlib import Path

from PIL import Image
from projects import polygon

from viadet.project.params import ConvertParams

SQUARE = polygon((10, 20), (50, 20), (50, 80), (10, 80))


def convert_params(**changes) -> ConvertParams:
    defaults = {"categories": ["balloon"], "attribute": None, "bad_regions": "error", "folds": None, "fold": 0}
    return ConvertParams(**(defaults | changes))


def write_split(folder: Path, entries: list[dict], size_wh: tuple[int, int] = (200, 100)) -> Path:
    """Write images and a VIA file of these entries into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        Image.new("RGB", size_wh, "navy").save(folder / entry["filename"])
    (folder / "via_region_data.json").write_text(json.dumps({entry["filename"]: entry for entry in entries}))
    return folder
