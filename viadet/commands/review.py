"""`viadet review`: what may be wrong in the annotations, by networks that have not seen them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from viadet.commands.programs import check_identity, enter_project, read_output
from viadet.commands.repeat import checked_recipe, plan_repetitions, run_repetitions
from viadet.project.counting import counted, first_names
from viadet.project.errors import UserError
from viadet.project.files import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viadet.annotations.convert import DataSet
    from viadet.detection.detections import Detections
    from viadet.pictures.suspects import ShownSuspect
    from viadet.project.params import Recipe
    from viadet.review.suspects import Suspect

SHOWN_SUSPECTS = 300  # on the page; all are in the table and in the project
IMAGES_NAME = "images"  # in OUT, if the recipe's source is no folder
DETECTIONS_PATH, COCO_PATH, RAW_PATH = "data/detections.json", "data/coco/val.json", "data/raw"
ADVICE = {
    "missing": "annotate it, if it is one",
    "spurious": "delete it, if it is none",
    "class": "change the class, if it is the other one",
    "loose": "move it, if the other box is better",
    "double": "delete one, if both mean the same object",
}
COLUMNS = ["kind", "score", "file_name", "region", "category", "seen", "x0", "y0", "x1", "y1"]


class Reviewed(NamedTuple):
    """A data set as it is now, and what networks that have not seen its images detect in them."""

    root: Path  # of the images, absolute
    data_set: DataSet
    coco: dict  # its annotations
    detections: dict[int, Detections]  # by image id

    @property
    def image_ids(self) -> dict[str, int]:
        """The ids of the images by their names."""
        return {image["file_name"]: image["id"] for image in self.coco["images"]}


@click.command(short_help="Find what may be wrong in the annotations.")
@click.option("--folds", type=click.IntRange(min=2), default=3, show_default=True, help="Networks that are trained.")
@click.option("-S", "changes", multiple=True, metavar="KEY=VALUE", help="Change a param, as in `dvc exp run -S`.")
@click.option("--out", type=click.Path(path_type=Path), default="review", show_default=True, help="New folder.")
@click.option("--least", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Least score of a suspect.")
def review(folds: int, changes: tuple[str, ...], out: Path, least: float) -> None:
    """Find what may be wrong in the annotations: objects forgotten, boxes loose, classes mixed up.

    \b
    Reads   params.yaml, the code, images and annotations as they are now
    Writes  a DVC experiment for each fold, as `viadet repeat --folds` does, and
            into OUT: suspects.csv, suspects.html (pictures, the worst first) and
            review.json, a project for VIA 2

    The images are divided into folds. A network is trained for each fold, without its images, in half of the recipe's
    epochs, unless -S says how many. So each image is judged by a network that has not seen it. After an interruption,
    run the same command again: it goes on where it was.

    In VIA 2, suggested boxes have a value in the attribute `suspect`: delete it to accept one. What you leave as it is
    changes nothing. The saved project goes into the folder of the images, where `convert` prefers it to the files that
    were reviewed.

    \b
    Examples
      viadet review
      viadet review -S recipe=own -S own.train.epochs=60 --folds 5
    """
    out = Path.cwd() / out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name another with --out, or delete it")
    enter_project()
    check_identity()
    name, recipe = checked_recipe(changes)
    planned = plan_folds(name, recipe, folds, changes)
    run_repetitions(planned)
    root = find_images(recipe, next(iter(planned)), out)
    write_review(out, read_reviewed(root, recipe, list(planned)), least)


def plan_folds(name: str, recipe: Recipe, folds: int, changes: tuple[str, ...]) -> dict[str, list[str]]:
    """Name the experiment of each fold and its params; the training is half as long, unless a change says otherwise."""
    keys = {change.partition("=")[0].lstrip("+") for change in changes}
    epochs = recipe.train.epochs
    if f"{name}.train.epochs" not in keys:
        epochs = max(1, epochs // 2)
        changes = (*changes, f"{name}.train.epochs={epochs}")
        advice = f"-S {name}.train.epochs=N changes that"
        print(f"each of the {folds} networks is trained for {counted(epochs, 'epoch')}; {advice}")
    if f"{name}.train.validate_every" not in keys:
        changes = (*changes, f"{name}.train.validate_every={epochs}")  # no curve is looked at
    return plan_repetitions(name, None, folds, changes, read_output("git", "diff", "HEAD"))


def find_images(recipe: Recipe, experiment: str, out: Path) -> Path:
    """Find the folder of images and annotations: the user's own, or else a copy in OUT of what was fetched."""
    from dvc.api import DVCFileSystem

    source = Path(recipe.fetch.source).expanduser()
    if recipe.fetch.rendered is None and source.is_dir():
        return source.resolve()
    images_dir = out / IMAGES_NAME
    images_dir.parent.mkdir(parents=True, exist_ok=True)
    DVCFileSystem(rev=experiment).get(RAW_PATH, str(images_dir), recursive=True)
    return images_dir


def read_reviewed(root: Path, recipe: Recipe, experiments: Sequence[str]) -> Reviewed:
    """Read the annotations as they are now, and the detections of all folds.

    Raises:
        UserError: the annotations have changed since the networks were trained.
    """
    from dvc.api import read

    from viadet.annotations.coco import by_image, to_coco
    from viadet.annotations.convert import convert_data_set
    from viadet.detection.detections import Detections

    data_set = convert_data_set(root, recipe.fetch.origin, recipe.convert)
    coco = to_coco(data_set.images, data_set.categories.names)
    now, ids = objects_of(coco), {image["file_name"]: image["id"] for image in coco["images"]}
    detections, changed = {}, set(now)
    for experiment in experiments:
        fold = json.loads(read(COCO_PATH, rev=experiment))
        then = objects_of(fold)
        changed -= {name for name in then if then[name] == now.get(name)}
        found = by_image(json.loads(read(DETECTIONS_PATH, rev=experiment)))
        for image in fold["images"]:
            if image["file_name"] in ids:
                detections[ids[image["file_name"]]] = Detections.from_rows(found[image["id"]])
    if changed:
        images = counted(len(changed), "image")
        raise UserError(
            f"the annotations of {images} ({first_names(sorted(changed))}) are not those that the networks were "
            f"trained on; run `dvc exp remove {' '.join(experiments)}`, then this command again"
        )
    return Reviewed(root, data_set, coco, detections)


def objects_of(coco: dict) -> dict[str, list]:
    """Give class and box of each object by its image's name."""
    from viadet.annotations.coco import by_image, category_names

    names, annotations = category_names(coco), by_image(coco["annotations"])
    return {
        image["file_name"]: [(names[entry["category_id"]], entry["bbox"]) for entry in annotations[image["id"]]]
        for image in coco["images"]
    }


def write_review(out: Path, reviewed: Reviewed, least: float) -> None:
    """Find the suspects and write them: the table, the page, the project of VIA."""
    from viadet.pictures.suspects import render_suspects
    from viadet.review.suspects import KINDS, find_suspects
    from viadet.review.via_files import review_project

    suspects = [suspect for suspect in find_suspects(reviewed.coco, reviewed.detections) if suspect.score >= least]
    counts = {kind: sum(suspect.kind == kind for suspect in suspects) for kind in KINDS}
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    summary = f"{counted(len(suspects), 'suspect')} of a score of at least {least:g}: {summary}"
    out.mkdir(parents=True, exist_ok=True)
    placed = [(suspect, place_of(reviewed, suspect)) for suspect in suspects]
    write_suspects_csv(out / "suspects.csv", placed)
    shown = [shown_suspect(reviewed, suspect, place) for suspect, place in placed[:SHOWN_SUSPECTS]]
    page = render_suspects(reviewed.data_set.origin, summary, shown)
    write_text(out / "suspects.html", page)
    made = review_project("review", reviewed.root, reviewed.data_set, suspects, reviewed.image_ids)
    write_text(out / "review.json", json.dumps(made.project, indent=1) + "\n")
    print(summary)
    if made.left_out:
        regions, images = counted(len(made.left_out), "region"), first_names(list(dict.fromkeys(made.left_out)))
        print(f"not in the project: {regions} whose shape VIA 2 does not have: in {images}")
    print(f"{out}: look at suspects.html, correct in VIA 2 (Project, Load: review.json)")


def write_suspects_csv(path: Path, placed: Sequence[tuple[Suspect, Place]]) -> None:
    """Write a row for each suspect, the worst first; the box is what the detector sees, or else what is annotated."""
    from viadet.inference.records import write_rows

    rows: list[list[Any]] = [COLUMNS]
    for suspect, place in placed:
        box_xyxy = suspect.box_xyxy or place.annotated or ()
        corners = [round(value, 2) for value in box_xyxy]
        names = [place.file_name, place.region, place.category, place.seen]
        rows.append([suspect.kind, f"{suspect.score:.4f}", *names, *corners])
    write_rows(path, rows)


class Place(NamedTuple):
    """Where a suspect is, in words of the user's files; texts are empty where there is nothing to say."""

    file_name: str
    region: str  # its number, from 0
    category: str  # that is annotated
    seen: str  # category that the detector sees
    annotated: tuple[float, float, float, float] | None  # xyxy, px of the upright image
    others: list[tuple[float, float, float, float]]  # likewise, the other annotations of the image


def place_of(reviewed: Reviewed, suspect: Suspect) -> Place:
    """Look up where a suspect is."""
    from viadet.annotations.coco import boxes_xyxy_of

    image = reviewed.data_set.images[suspect.image_id - 1]
    names = reviewed.data_set.categories.names
    boxes_xyxy = [tuple(box) for box in boxes_xyxy_of(image.annotations).tolist()]
    seen = names[suspect.category_id - 1] if suspect.category_id else ""
    if suspect.annotation is None:
        return Place(image.file_name, "", "", seen, None, boxes_xyxy)
    region = str(reviewed.data_set.regions[image.file_name][suspect.annotation])
    category = names[image.annotations[suspect.annotation]["category_id"] - 1]
    annotated = boxes_xyxy.pop(suspect.annotation)
    return Place(image.file_name, region, category, seen, annotated, boxes_xyxy)


def shown_suspect(reviewed: Reviewed, suspect: Suspect, place: Place) -> ShownSuspect:
    """Describe a suspect for the page."""
    from viadet.pictures.suspects import ShownSuspect

    several = len(reviewed.data_set.categories.names) > 1
    text = ADVICE[suspect.kind]
    if several:
        annotated = f"annotated as {place.category}" if place.category else ""
        seen = f"seen as {place.seen}" if place.seen and place.seen != place.category else ""
        text = "; ".join(filter(None, [annotated, seen, text]))
    where = f"{place.file_name}, region {place.region}" if place.region else place.file_name
    path = reviewed.root / place.file_name
    return ShownSuspect(suspect.kind, suspect.score, text, where, path, place.annotated, suspect.box_xyxy, place.others)
