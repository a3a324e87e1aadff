"""Detectors from model folders."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch

from viadet.detection.decoding import MAX_DETECTIONS
from viadet.detection.detector import SCORE_THRESHOLD, Detector
from viadet.detection.settings import DetectSettings, read_settings
from viadet.detection.views import SIDE_STEP_PX, scaled_wh
from viadet.network.device import find_device
from viadet.network.weights import SPEC_NAME, WEIGHTS_NAME, load_network, read_spec
from viadet.project.counting import first_names
from viadet.project.errors import UserError
from viadet.project.params import SIDE_PX, ViewsParams

VIEWS = ViewsParams(scales=[1.0, 1.3333], flip=True, tiles=0, merge="wbf")  # of a model that was not evaluated

Folder = str | PathLike[str]


def load_detector(
    folder: Folder | Sequence[Folder],
    device: str | torch.device = "auto",
    size: int | None = None,
    views: bool = False,
) -> Detector:
    """Load a trained detector; `viadet.load` is the same.

    Several models detect together: what they find is fused by weighted boxes fusion, each model counting as a view, or
    with `views` each view of each model. A box has the mean of its scores, so that one that a single model of three
    finds has a third of its score. Each model detects at its own size. All else is as in the first folder's
    detect.json: the views around each size, the most detections, and the least score. That is not adapted: it stays a
    mean score, and leaves out what few models find; a lower `threshold` brings it back.

    Args:
        folder: what training and evaluation wrote: model.safetensors, model.json, and detect.json, if it was evaluated.
            Or a list of such folders, of models with the same categories in the same order.
        device: where the network runs: "auto" (a GPU if there is one, else the CPU), "cpu", "cuda", "mps", or a torch
            device.
        size: px of the longer side of the networks' inputs; each side is rounded to a multiple of 32. None: as in each
            one's evaluation, or without it as in training.
        views: test-time augmentation: detect at several scales, plain and mirrored, and merge, as in the evaluation.

    Raises:
        UserError: a folder is not a model folder or of another version, or is there twice, the models' categories
            differ, the device is not there, or the size is bad.
    """
    folders = [Path(folder)] if isinstance(folder, str | PathLike) else [Path(name) for name in folder]
    check_folders(folders)
    device = find_device(str(device))
    settings = [settings_of(folder, size) for folder in folders]
    first, *others = (load_network(folder, device, own.test_wh) for folder, own in zip(folders, settings, strict=True))
    chosen_views = (settings[0].views or VIEWS) if views else None
    return Detector(*first, settings[0]._replace(views=chosen_views), others)


def settings_of(folder: Path, size: int | None) -> DetectSettings:
    """Give the settings of a model folder, or of one that was not evaluated, with another size if it is given, px.

    Raises:
        UserError: another version of viadet wrote them, or the size is bad.
    """
    settings = read_settings(folder)
    settings = settings or DetectSettings(read_spec(folder).input_wh, SCORE_THRESHOLD, MAX_DETECTIONS, VIEWS)
    return settings if size is None else settings._replace(test_wh=wh_of_longer_side(settings.test_wh, size))


def check_folders(folders: list[Path]) -> None:
    """Check that these are model folders whose models can detect together.

    Raises:
        UserError: names the folder and what is wrong.
    """
    if not folders:
        raise UserError("there is no model folder in the list; name the one that training wrote")
    for folder in folders:
        missing = [name for name in (SPEC_NAME, WEIGHTS_NAME) if not (folder / name).is_file()]
        if missing:
            reason = f"{missing[0]} is missing; name the folder that training wrote"
            raise UserError(f"{folder} is not a model folder: {reason}")
    places = [folder.resolve() for folder in folders]
    first, *others = folders
    for number, other in enumerate(others, start=1):
        if places[number] in places[:number]:
            raise UserError(f"the model folder {other} is given twice; name each one once")
        check_categories(first, other)


def check_categories(first: Path, other: Path) -> None:
    """Check that two model folders have the same categories in the same order.

    Raises:
        UserError: names those that differ.
    """
    categories, other_categories = read_spec(first).categories, read_spec(other).categories
    if categories == other_categories:
        return
    only = [name for name in categories if name not in other_categories]
    only_other = [name for name in other_categories if name not in categories]
    parts = [
        f"only {folder} has {first_names(names)}" for folder, names in ((first, only), (other, only_other)) if names
    ]
    if not parts:
        moved = [name for name, there in zip(categories, other_categories, strict=True) if name != there]
        parts = [f"both have {first_names(moved)}, but in another order"]
    advice = "name models that were trained with the same convert.categories"
    raise UserError(f"{first} and {other} can't detect together: {', '.join(parts)}; {advice}")


def wh_of_longer_side(input_wh: tuple[int, int], longer_side: int) -> tuple[int, int]:
    """Scale the size of an input until its longer side has as many px; sides are multiples of 32 px.

    Raises:
        UserError: the side is too short or too long.
    """
    low, high = SIDE_PX
    if not low <= longer_side <= high or longer_side % SIDE_STEP_PX:
        raise UserError(f"the input's size is {longer_side}; use a multiple of {SIDE_STEP_PX} from {low} to {high} px")
    return scaled_wh(input_wh, longer_side / max(input_wh))
