"""The benchmarks at tiny settings, and that docs/speed.md has the figures of their results."""

import importlib
import json
import math
import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from projects import REPOSITORY
from torch.utils.data import DataLoader, Dataset

import viadet
from benchmarks import (
    cams,
    earlier,
    ensemble,
    few_images,
    gpu,
    inference,
    many_images,
    start_up,
    tiles,
    timing,
    training_step,
)
from benchmarks.images import benchmark_images
from benchmarks.speed_table import BEGIN, END, PAGE, TITLES, render, with_table
from benchmarks.training import in_turns
from stages import evaluate
from viadet.detection.detections import read_detections
from viadet.detection.detector import detect_plain
from viadet.detection.settings import DetectSettings, write_settings
from viadet.evaluation.coco_metrics import evaluate_coco
from viadet.project.files import read_json, write_json

TINY_ROUNDS = ("--rounds", "1", "--threads", "1")


def results_of(folder, name):
    results = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    assert results["machine"]["cores"] >= 1
    assert results["machine"]["cpu"]
    assert results["versions"]["torch"]
    assert all(row["value"] > 0 and row["reference_value"] > 0 and row["ratio"] > 0 for row in results["rows"])
    return results


def test_sides_take_turns_and_the_first_round_is_not_timed():
    turns = []
    sides = {
        "ours": lambda: {"step": lambda: turns.append("our step"), "load": lambda: turns.append("our load")},
        "theirs": lambda: {"step": lambda: turns.append("their step")},
    }
    seconds = timing.alternate(sides, rounds=2, in_processes=False)
    assert turns == ["our step", "their step", "our load"] * 3
    assert {key: len(values) for key, values in seconds.items()} == {
        ("ours", "step"): 2,
        ("theirs", "step"): 2,
        ("ours", "load"): 2,
    }


def test_a_side_can_have_a_process_of_its_own():
    side = partial(dict, sleep=partial(time.sleep, 0.01))  # of no module that imports torch
    seconds = timing.alternate({"ours": side}, rounds=1)
    assert seconds["ours", "sleep"][0] >= 0.01


def test_a_side_can_have_modules_of_its_own(tmp_path, monkeypatch):
    for side in ("ours", "earlier"):
        (tmp_path / side).mkdir()
        code = f"def set_up():\n    return {{'{side} work': int}}\n"
        (tmp_path / side / "what_is_timed.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "ours")
    set_up = importlib.import_module("what_is_timed").set_up
    seconds = timing.alternate(
        {"ours": set_up, "earlier": set_up}, rounds=1, first_paths={"earlier": tmp_path / "earlier"}
    )
    assert set(seconds) == {("ours", "ours work"), ("earlier", "earlier work")}


class NotedSamples(Dataset):
    """Samples with the process that makes them; each leaves a file."""

    def __init__(self, folder):
        self.folder = folder

    def __len__(self):
        return 6

    def __getitem__(self, index):
        (self.folder / f"{time.monotonic_ns()}").touch()
        return torch.tensor([index, os.getpid()])


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.needs("linux"))])  # forked
def test_workers_make_no_more_batches_than_a_turn_asks_for(tmp_path, workers):
    loader = in_turns(DataLoader(NotedSamples(tmp_path), batch_size=2, num_workers=workers), batches=2)
    turns = [torch.cat(list(loader))]
    time.sleep(0.1)  # a usual loader would make the next batches
    assert len(list(tmp_path.iterdir())) == 4
    turns.append(torch.cat(list(loader)))
    samples = torch.cat(turns)
    assert samples[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert len(samples[:, 1].unique()) == 1  # the worker stays
    assert (os.getpid() in samples[:, 1]) == (workers == 0)


def test_a_ratio_is_the_median_of_rounds_so_that_a_slow_round_does_not_count():
    row = timing.rate_row("training", 8, [1.0, 1.0, 40.0], "effdet", [2.0, 2.0, 80.0])
    assert (row.value, row.reference_value, row.ratio) == (8.0, 4.0, 2.0)
    row = timing.cost_row("maps", "s/image", [1.0, 2.0, 4.0], "detecting", [0.5, 0.5, 0.5])
    assert (row.value, row.reference_value, row.ratio) == (2.0, 0.5, 4.0)


def test_training_is_compared_with_effdets_own_loop(tmp_path):
    setting = training_step.Setting("tf_efficientdet_lite0", 128, batch_size=2, batches=1, images=2, workers=0)
    training_step.main([*TINY_ROUNDS, "--results", str(tmp_path)], setting, in_processes=False)
    results = results_of(tmp_path, "training_step")
    assert [row["reference"] for row in results["rows"]] == 4 * ["effdet's loop"]
    assert results["settings"]["data"] == "rendered"
    assert results["settings"]["threads"] == 1


def test_an_earlier_revision_is_the_reference(tmp_path):
    amounts = {"batches": 1, "samples": 1, "crowded_samples": 1, "detected": 1, "decoded": 1, "images": 4}
    setting = earlier.Setting("tf_efficientdet_lite0", 128, 128, 128, **amounts)
    earlier.main(["HEAD", *TINY_ROUNDS, "--results", str(tmp_path)], setting, in_processes=False)
    results = results_of(tmp_path, "earlier")
    assert len(results["rows"]) == 6
    revision = results["settings"]["earlier"]
    assert {row["reference"] for row in results["rows"]} == {f"revision {revision[:7]}"}
    assert results["settings"]["ours"].removesuffix("-dirty").endswith(revision)


def test_the_code_of_an_earlier_revision_is_what_is_timed(tmp_path, capsys):
    earlier.check_out("HEAD", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml", "viadet"]
    with pytest.raises(RuntimeError, match="viadet comes from"):
        earlier.check_revision(tmp_path)
    with pytest.raises(SystemExit):
        earlier.main(["no-such-revision"])
    assert "git knows no revision no-such-revision" in capsys.readouterr().err


@pytest.mark.slow
def test_a_gpu_is_measured_tiny_on_the_cpu(tmp_path, capsys):
    gpu.main(["--device", "cpu", "--tiny", "--results", str(tmp_path)], in_processes=False)
    assert render(tmp_path) in capsys.readouterr().out
    rows = {row["what"]: row for row in json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["rows"]}
    assert not [row for row in rows.values() if str(row["value"]).startswith("failed")]
    assert rows["training lite0, 128 px, batches of 2, eager"]["ratio"] > 0
    assert rows["training lite0, 128 px, batches of 2, graph"]["value"] == "no graph"
    assert rows["weights after 2 steps of `balloon` twice, eager"]["value"] == "the same bytes"
    assert {row["unit"] for row in rows.values()} == {"images/s", "%", "min", ""}


def test_a_part_that_fails_or_does_not_end_is_a_row():
    (row,) = gpu.run_apart("asleep", time.sleep, gpu.TINY._replace(part_seconds=0.1), None)
    assert (row.what, row.value) == ("asleep", "did not end in 0.1 s")
    (row,) = gpu.run_here("broken", time.sleep, gpu.TINY, None)
    assert row.value.startswith("failed: TypeError: ")


def test_inference_is_compared_with_effdets_predict_bench(tmp_path):
    setting = inference.Setting(size=192, images=2, single_images=1, workers=1)
    inference.main([*TINY_ROUNDS, "--results", str(tmp_path)], setting, in_processes=False)
    results = results_of(tmp_path, "inference")
    assert [row["what"] for row in results["rows"]] == ["detecting, batches of 8", "detecting, one image at a time"]
    assert results["settings"]["weights"] == "untrained"


def test_given_images_and_a_given_model_are_used(sample, untrained_model):
    setting = inference.Setting(images=2, single_images=1)
    with benchmark_images([sample / "data/raw", sample / "data/coco/val.json"], 2, 64) as images:
        coco = read_json(images.coco)
        assert len(coco["images"]) == 2
        assert {entry["image_id"] for entry in coco["annotations"]} <= {entry["id"] for entry in coco["images"]}
        turns = inference.our_detecting(setting, images, untrained_model)
        assert len(turns["batches"]()) == 2
        assert len(turns["single"]()) == 1


def test_both_detect_at_the_size_that_the_given_model_was_evaluated_at(untrained_model, tmp_path):
    model = shutil.copytree(untrained_model, tmp_path / "model")
    write_settings(model, DetectSettings((192, 160), 0.4, 100, None))
    assert inference.input_wh_of(model) == viadet.load(model).settings.test_wh == (192, 160)
    assert inference.input_wh_of(untrained_model) == viadet.load(untrained_model).settings.test_wh == (128, 128)


def test_cams_are_compared_with_detecting(tmp_path):
    setting = cams.Setting(size=128, methods=("HiResCAM", "EigenCAM"))
    cams.main([*TINY_ROUNDS, "--results", str(tmp_path)], setting, in_processes=False)
    results = results_of(tmp_path, "cams")
    expected = ["forward pass and gradients", "maps of HiResCAM", "maps of EigenCAM"]
    assert [row["what"] for row in results["rows"]] == expected


def test_models_are_measured_alone_and_fused(sample, untrained_model, other_model, capsys):
    """The ground truth is what the first model is surest of in each image, so that alone it is nearly perfect."""
    models = (untrained_model, other_model)
    path = Path("data/coco/val.json")
    coco, fused = read_json(path), viadet.load(models, "cpu")
    surest = detect_plain(viadet.load(untrained_model, "cpu"), coco, Path("data/raw"))
    rows = [row for image_id, found in surest.items() for row in found.best(10).coco_rows(image_id)]
    boxes = (
        {"id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0} for number, row in enumerate(rows, 1)
    )
    write_json(path, coco | {"annotations": [row | box for row, box in zip(rows, boxes, strict=True)]})
    ensemble.main([*map(str, models), "--results", "results"])
    results = read_json(Path("results/ensemble.json"))
    figures = {row["what"]: row["figures"] for row in results["rows"]}
    kinds = ("one view", "views merged")
    whose = ("model 1", "model 2", "mean of the models", "fused")
    assert list(figures) == [f"{who}, {kind}" for kind in kinds for who in whose]
    aps = {what: values["bbox_mAP"] for what, values in figures.items()}
    assert aps["model 1, one view"] > max(0.99, figures["model 1, one view"]["bbox_mAP_ids_from_0"])
    mean = (aps["model 1, one view"] + aps["model 2, one view"]) / 2
    assert aps["mean of the models, one view"] == pytest.approx(mean, abs=1e-4)
    detections = detect_plain(fused, read_json(path), Path("data/raw"))
    assert aps["fused, one view"] == evaluate_coco(read_json(path), detections).stats["bbox_mAP"]
    assert len({aps[f"{who}, one view"] for who in whose}) == 4
    assert results["settings"] == {"models": 2, "views": 8, "data": "val.json"}
    assert f"| fused, one view | {aps['fused, one view']:.3f} |" in capsys.readouterr().out


@pytest.mark.needs("posix")
def test_start_up_measures_the_cpu_of_the_commands(tmp_path):
    commands = start_up.make_commands(tmp_path)
    commands = {name: commands[name] for name in (start_up.PYTHON, start_up.IMPORT)}
    sides = {"ours": lambda: start_up.starting(commands)}
    seconds = timing.alternate(sides, 1, start_up.cpu_of_children, in_processes=False)
    (row,) = start_up.make_rows(seconds)
    assert (row.what, row.reference) == (start_up.IMPORT, start_up.PYTHON)
    assert row.value > 0


@pytest.mark.slow
@pytest.mark.needs("linux")
def test_stages_are_measured_on_many_images(tmp_path):
    costs = many_images.measure_stages(tmp_path, 8, 160, ("fetch", "convert", "train"))
    coco = [read_json(tmp_path / f"data/coco/{split}.json") for split in ("train", "val")]
    assert sum(len(split["images"]) for split in coco) == 8
    assert costs["fetch"].cpu_seconds > costs["convert"].cpu_seconds > 0  # one of them imports torch
    assert costs["train"].own_mib > costs["fetch"].own_mib > costs["convert"].own_mib > 5
    with pytest.raises(SystemExit, match="no-such-stage"):
        many_images.measure(["-m", "stages.no-such-stage"], tmp_path)


@pytest.mark.slow
def test_two_parts_of_evaluate_are_measured_by_themselves(model, capsys):
    before = time.process_time()
    evaluate.main()
    seconds = time.process_time() - before
    capsys.readouterr()
    exec(many_images.DETECT, {})
    count = sum(map(len, read_detections(Path("data/detections.json")).values()))
    assert capsys.readouterr().out == f"{count} detections\n"
    assert 0 < many_images.measure_interval(model).cpu_seconds < seconds


def test_rows_compare_many_images_with_few():
    def costs(factor):
        names = (*many_images.STAGES, many_images.NETWORK, many_images.INTERVAL)
        return {name: many_images.Cost(factor * (1 + number), 100 + factor) for number, name in enumerate(names)}

    rows = many_images.make_rows(10, costs(1), 100, costs(20))
    assert [(row.what, row.value, row.reference_value) for row in (rows[0], rows[7])] == [
        ("fetch", 200, 100),
        ("fetch", 120, 101),
    ]
    assert {row.what for row in rows if row.unit == "MiB at most"} == set(many_images.STAGES)
    interval, evaluation = rows[-2:]
    assert interval.reference == evaluation.reference == many_images.NETWORK
    assert (evaluation.value, evaluation.reference_value) == (100, 160)


def test_the_table_in_the_docs_is_that_of_the_results():
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert with_table(page, render()) == page, "run python -m benchmarks.speed_table"


def test_a_table_shows_each_figure_with_its_machine_and_versions(tmp_path):
    row = timing.rate_row("training", 8, [2.0], "effdet", [4.0])
    timing.write_results(tmp_path, "inference", {"size": 768, "rounds": 5}, [row])
    table = render(tmp_path)
    assert "| training | images/s | 4 | effdet | 2 | 2 |" in table
    assert TITLES["inference"] in table
    assert TITLES["cams"] not in table
    assert "size 768" in table
    assert timing.cpu_model() in table
    page = with_table(f"before\n{BEGIN}old\n{END}after\n", table)
    assert page == f"before\n{BEGIN}\n{table}\n{END}after\n"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "benchmarks/results").glob("*.json")), ids=lambda path: path.stem)
def test_results_in_git_name_no_folders_and_have_ratios(path):
    text = path.read_text(encoding="utf-8")
    assert str(REPOSITORY) not in text
    assert path.stem in {*TITLES, "ensemble"}  # which is not about speed, and compares nothing by a ratio
    ratios = [row.get("ratio") for row in json.loads(text)["rows"]]
    assert all(ratio is None or math.isfinite(ratio) for ratio in ratios)


def test_scenes_with_small_balloons_have_balloons_of_the_sizes_that_are_said(tmp_path):
    images = tiles.render(tmp_path / "scenes", 1, 512, (0, 0))
    with Image.open(tmp_path / "scenes/0000.jpg") as picture:
        (entry,) = images.coco["images"]
        assert (entry["width"], entry["height"]) == picture.size and picture.width == 512
    longer_sides = [max(annotation["bbox"][2:]) for annotation in images.coco["annotations"]]
    assert longer_sides and all(11 <= side <= 26 for side in longer_sides)  # turned, and rounded


def test_without_tiles_only_what_is_for_small_objects_is_left_out():
    before, tiled = (tiles.recipe_for(way, tiles.TINY, 0).model_dump() for way in (tiles.BEFORE, tiles.TILED))
    assert (before["evaluate"]["test_time"].pop("tiles"), tiled["evaluate"]["test_time"].pop("tiles")) == (0, "auto")
    scales = before["train"]["augment"].pop("scale"), tiled["train"]["augment"].pop("scale")
    assert [scale[1] for scale in scales] == [2.0, "auto"]
    assert before == tiled


@pytest.mark.slow
def test_few_images_are_trained_on_and_the_others_measured(tmp_path, sample, capsys):
    tiny = few_images.TINY._replace(seeds=1, epochs={4: [1]})
    photographs = [Path("data/raw").absolute(), Path("data/coco/train.json")]
    parts = few_images.split_photographs(*photographs, 4)
    images, measured = ({image["id"] for image in part.coco["images"]} for part in parts)
    assert (len(images), len(measured), images & measured) == (4, 2, set())
    few_images.main(tiny, tmp_path, 4, None)
    few_images.main(tiny, tmp_path, 4, photographs)
    rows = few_images.read_aps(tmp_path)
    assert [row["images"] for row in rows] == [few_images.RENDERED, few_images.PHOTOGRAPHS]
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 4 | 1 | 1 | ")


def test_the_table_of_few_images_has_means_and_differences_of_pairs():
    aps = {("0", "2"): 0.4, ("1", "2"): 0.6, ("0", "4"): 0.5, ("1", "4"): 0.8}
    kind = {"images": few_images.RENDERED, "number": "4"}
    rows = [kind | {"seed": seed, "epochs": epochs, "bbox_mAP": ap} for (seed, epochs), ap in aps.items()]
    rows.append({"images": few_images.PHOTOGRAPHS, "number": "4", "seed": "0", "epochs": "2", "bbox_mAP": 0.3})
    assert few_images.render_table(rows, few_images.TINY).splitlines()[2:] == [
        "| 4 | 4 | 4 | 0.650 ± 0.212 | +0.150 ± 0.050 |  |  |",
        "| 4 | 2 | 2 | 0.500 ± 0.141 |  | 0.300 |  |",
    ]
