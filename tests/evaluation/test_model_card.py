"""The model card: its front matter reads as model hubs read it, and its figures are those of the evaluation."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from projects import read

from viadet.evaluation.model_card import CardFacts, make_model_card
from viadet.project.files import sha256_of
from viadet.project.params import read_recipe

CARD = Path("data/model/README.md")


def facts(recipe_name="sample", **changes):
    """What the card of the project in the current folder would tell, with other splits, start or classes."""
    splits = {split: read(f"data/coco/{split}.json") for split in ("train", "val")}
    rows = [{"class": "balloon", "objects": 12, "AP": 0.5, "AP_50": 0.75}]
    metrics = {"bbox_mAP": 0.5, "bbox_mAP_50": 0.75, "bbox_mAP_l": -1, "f1": 0.25}
    plain = CardFacts(recipe_name, read_recipe(), {"init": "random"}, splits, rows, metrics, "0" * 64)
    return plain._replace(**changes)


@pytest.mark.xdist_group("evaluate")
def test_the_front_matter_is_read_by_the_hubs_library_and_has_the_figures_of_the_metrics(evaluated):
    data = ModelCard.load(evaluated / CARD).data
    assert (data.library_name, data.pipeline_tag, data.datasets) == ("viadet", "object-detection", ["sample"])
    assert {"efficientdet", "safetensors"} <= set(data.tags)
    assert {result.metric_name: result.metric_value for result in data.eval_results} == read(
        evaluated / "metrics/evaluate.json"
    )
    assert {(result.dataset_split, result.task_type) for result in data.eval_results} == {("val", "object-detection")}


@pytest.mark.xdist_group("evaluate")
def test_the_text_tells_figures_interval_data_and_weights(evaluated):
    text = (evaluated / CARD).read_text(encoding="utf-8")
    details = read(evaluated / "metrics/evaluate_details.json")
    for name, value in details.items():
        assert f"| {name} | {'no objects' if value == -1 else f'{value:g}'} |" in text
    assert f"{details['bbox_mAP_low']} to {details['bbox_mAP_high']}" in text
    counts = read(evaluated / "data/coco/train.json"), read(evaluated / "data/coco/val.json")
    for split, coco in zip(("train", "val"), counts, strict=True):
        assert f"| {split} | {len(coco['images'])} | {len(coco['annotations'])} |" in text
    assert sha256_of(evaluated / "data/model/model.safetensors") in text
    assert "optimizer: " in text
    assert "Measured on few objects: balloon." in text
    assert text.endswith(".\n")
    assert "\n\n\n" not in text


def test_rendered_images_with_an_open_start_are_open_and_others_have_a_licence_of_their_own(sample):
    rendered = make_model_card(facts())
    assert ModelCard(rendered).data.license == "apache-2.0"
    start = {"init": "imagenet", "file": "lite0.pth", "sha256": "ab"}
    assert "licence Apache-2.0 (`lite0.pth`, sha256 `ab`)" in make_model_card(facts(start=start))
    of_a_user = ModelCard(make_model_card(facts(start=start | {"init": "path"})))
    assert of_a_user.data.license == "other"
    assert "whose licence this card does not know" in of_a_user.text
    recipe = read_recipe()
    photographs = recipe.fetch.model_copy(update={"source": "data/own", "rendered": None})
    photographs = facts("own", start=start, recipe=recipe.model_copy(update={"fetch": photographs}))
    card = ModelCard(make_model_card(photographs))
    assert (card.data.license, card.data.datasets) == ("other", ["own"])
    assert "The images have licences of their own" in card.text
    assert "own (data/own)" in card.text


def test_class_names_cannot_break_tables_or_front_matter(sample):
    name = "a|b: {{ 1 }} <c> 'd' # \\ é"
    splits = json.loads(json.dumps(facts().splits).replace('"balloon"', json.dumps(name)))
    rows = [facts().class_rows[0] | {"class": name}]
    card = ModelCard(make_model_card(facts(splits=splits, class_rows=rows)))
    assert "| a\\|b: {{ 1 }} <c> 'd' # \\\\ é | 16 | 12 | 0.5 | 0.75 |" in card.text


def test_without_objects_or_bootstrap_the_card_says_so(sample):
    text = make_model_card(facts())
    assert "| bbox_mAP_l | no objects |" in text
    assert "No confidence interval was computed." in text
