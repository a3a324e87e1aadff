"""The model card: README.md of a model folder, in the form that model hubs read (YAML front matter, then text).

The template of the text is model_card.md.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from viadet.annotations.coco import category_names
from viadet.evaluation.summary import main_figures
from viadet.network.weights import WEIGHTS_NAME
from viadet.project.files import read_json, sha256_of, write_text
from viadet.project.metric_names import AP
from viadet.project.params import P3_STRIDE_PX, Recipe, read_recipe_name

SPLITS = ("train", "val", "test")
CARD_NAME = "README.md"
TEMPLATE_PATH = Path(__file__).with_suffix(".md")
FEW_OBJECTS = 30  # in validation
OPEN_STARTS = {
    "random": "random weights",
    "coco": "COCO weights published with effdet, licence Apache-2.0",
    "imagenet": "ImageNet weights of the backbone, licence Apache-2.0",
}


class CardFacts(NamedTuple):
    """What a model card tells."""

    recipe_name: str
    recipe: Recipe
    start: dict  # start.json of the starting weights
    splits: dict[str, dict]  # COCO data sets by split: train, val, and test if there is one
    class_rows: list[dict]  # from `class_rows` of the validation images
    metrics: dict[str, float]  # all figures of the evaluation
    weights_sha256: str

    @property
    def title(self) -> str:
        """The model's name: its network and recipe."""
        return f"{self.recipe.model.name}-{self.recipe_name}"


def write_model_card(
    folder: Path, recipe: Recipe, coco_dir: Path, start_path: Path, class_rows: list[dict], metrics: dict[str, float]
) -> None:
    """Write the model card into a model folder; arguments as in `CardFacts`, or where they are read from."""
    splits = {split: coco_dir / f"{split}.json" for split in SPLITS}
    facts = CardFacts(
        recipe_name=read_recipe_name(),
        recipe=recipe,
        start=read_json(start_path),
        splits={split: read_json(path) for split, path in splits.items() if path.exists()},
        class_rows=class_rows,
        metrics=metrics,
        weights_sha256=sha256_of(folder / WEIGHTS_NAME),
    )
    write_text(folder / CARD_NAME, make_model_card(facts))


def make_model_card(facts: CardFacts) -> str:
    """Make the text of a model card; its front matter has the figures by which experiments are compared."""
    recipe, metrics = facts.recipe, facts.metrics
    how_fast = {"device", "workers", "compile"}  # they change no figure beyond rounding
    params = recipe.model_dump(include={"model", "train"}, exclude={"train": how_fast})
    classes = class_facts(facts)
    few = [row["name"] for row in classes if row["validation_objects"] < FEW_OBJECTS]
    card = ModelCard.from_template(
        card_metadata(facts),
        template_path=str(TEMPLATE_PATH),
        title=facts.title,
        weights_sha256=facts.weights_sha256,
        data_set=table_cell(f"{facts.recipe_name} ({recipe.fetch.origin})"),
        splits=[
            {"split": split, "images": len(coco["images"]), "objects": len(coco["annotations"])}
            for split, coco in facts.splits.items()
        ],
        classes=classes,
        score_threshold=recipe.evaluate.score_threshold,
        results=[{"figure": name, "value": figure_text(value)} for name, value in sorted(metrics.items())],
        interval=[metrics[f"{AP}_{end}"] for end in ("low", "high")] if f"{AP}_low" in metrics else None,
        start=describe_start(facts.start),
        params=yaml.safe_dump(params, sort_keys=False, allow_unicode=True),
        licence=licence_text(facts),
        max_detections=recipe.evaluate.max_detections,
        test_wh=recipe.model.test_wh,
        smallest_px=round(recipe.model.anchor_scale * P3_STRIDE_PX),
        few_objects=", ".join(few),
    )
    return str(card).rstrip("\n") + "\n"


def card_metadata(facts: CardFacts) -> ModelCardData:
    """Fill in the front matter."""
    return ModelCardData(
        model_name=facts.title,
        license="apache-2.0" if is_apache_licensed(facts) else "other",
        license_name=None if is_apache_licensed(facts) else "see-the-section-licence",
        library_name="viadet",
        pipeline_tag="object-detection",
        tags=["efficientdet", "effdet", "safetensors", "vgg-image-annotator"],
        datasets=[facts.recipe_name],
        eval_results=[
            EvalResult(
                task_type="object-detection",
                dataset_type=facts.recipe_name,
                dataset_name=facts.recipe_name,
                dataset_split="test" if name.startswith("test_") else "val",
                metric_type="f1" if name == "f1" else "mean_average_precision",
                metric_name=name,
                metric_value=value,
            )
            for name, value in main_figures(facts.metrics).items()
        ],
    )


def class_facts(facts: CardFacts) -> list[dict]:
    """Describe each class: its objects in both splits and its AP."""
    names = category_names(facts.splits["train"])
    training_objects = Counter(names[entry["category_id"]] for entry in facts.splits["train"]["annotations"])
    return [
        {
            "name": table_cell(row["class"]),
            "training_objects": training_objects[row["class"]],
            "validation_objects": row["objects"],
            "AP": figure_text(row["AP"]),
            "AP_50": figure_text(row["AP_50"]),
        }
        for row in facts.class_rows
    ]


def describe_start(start: dict) -> str:
    """Say what training started from and its licence, by start.json."""
    if start["init"] == "random":
        return OPEN_STARTS["random"]
    kind = OPEN_STARTS.get(start["init"], "a checkpoint of your own, whose licence this card does not know")
    return f"{kind} (`{start['file']}`, sha256 `{start['sha256']}`)"


def is_apache_licensed(facts: CardFacts) -> bool:
    """Tell whether the images are this project's own, and the starting weights random or Apache-2.0."""
    return facts.recipe.fetch.rendered is not None and facts.start["init"] in OPEN_STARTS


def licence_text(facts: CardFacts) -> str:
    """Say which licences bear on the weights."""
    start = f"The code is Apache-2.0. Training started from {describe_start(facts.start)}."
    if is_apache_licensed(facts):
        return f"{start} The images were rendered by the project itself, so that these weights are Apache-2.0 too."
    return (
        f"{start} The images have licences of their own, which this project does not know: check what they allow "
        "before you share these weights, then set `license` in the first lines of this file."
    )


def figure_text(value: float) -> str:
    """Write a figure; COCO's -1 means that there are no such objects."""
    return "no objects" if value == -1 else f"{value:g}"


def table_cell(text: str) -> str:
    """Escape what would end a cell of a Markdown table."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())
