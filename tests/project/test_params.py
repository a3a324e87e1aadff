import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from projects import REPOSITORY, run_module, write_params

from viadet.project.errors import UserError
from viadet.project.params import load_yaml, read_recipe

TEXT = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
RECIPES = {name: recipe for name, recipe in load_yaml(TEXT).items() if name not in ("recipe", "launch")}
FIRST, *OTHERS = RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_committed_recipes_are_valid(project, recipe):
    write_params(recipe=recipe)
    assert read_recipe().model.name.startswith("tf_efficientdet_")


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"own"}))
def test_a_recipe_has_a_folder_on_which_fetch_depends(recipe):
    assert any((REPOSITORY / "data" / recipe).iterdir())  # git keeps no empty folders
    manifest = RECIPES[recipe]["fetch"]["manifest"]
    assert manifest is None or Path(manifest).parent == Path("data", recipe)


def keys_of(table: dict, prefix: str = "") -> list[str]:
    """All keys in their order, such as `train.augment.flip`."""
    keys = []
    for key, value in table.items():
        keys += [prefix + key, *(keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else [])]
    return keys


@pytest.mark.parametrize("recipe", OTHERS)
def test_every_recipe_has_the_same_keys_in_the_same_order(recipe):
    keys = [key for key in keys_of(RECIPES[recipe]) if not key.startswith("fetch.rendered.")]
    assert keys == keys_of(RECIPES[FIRST])


def differing(table: dict, first: dict, prefix: str = "") -> list[str]:
    keys = []
    for key, value in table.items():
        if isinstance(value, dict) and isinstance(first[key], dict):
            keys += differing(value, first[key], f"{prefix}{key}.")
        elif value != first[key]:
            keys.append(prefix + key)
    return keys


@pytest.mark.parametrize("recipe", OTHERS)
def test_a_recipe_names_the_values_that_differ_from_the_first_one(recipe):
    section_of_file = TEXT[TEXT.index(f"\n{recipe}:") :]
    for name, section in RECIPES[recipe].items():
        line = re.search(rf"^  {name}:.*$", section_of_file, re.M)[0]
        keys = differing(section, RECIPES[FIRST][name])
        expected = f"  {name}:" + (f" # differs from {FIRST} in {', '.join(keys)}" if keys else "")
        assert line == expected, f"params.yaml, {recipe}: the line should be {expected!r}"


def test_a_value_is_explained_once():
    _, *others = re.split(rf"\n(?={'|'.join(f'{name}:' for name in OTHERS)})", TEXT)
    assert len(others) == len(OTHERS)
    for recipe in others:
        comments = [line for line in recipe.splitlines()[1:] if "# " in line]
        assert all(f" # differs from {FIRST} in " in line for line in comments)


def changed_by_dvc(path, *overrides: str) -> str:
    """The text of params.yaml after `dvc exp run -S OVERRIDE`."""
    path.write_text(TEXT, encoding="utf-8")
    apply_overrides(path, list(overrides))
    return path.read_text(encoding="utf-8")


def test_dvc_rewrites_the_file_with_the_same_bytes(tmp_path):
    assert changed_by_dvc(tmp_path / "params.yaml") == TEXT


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("sample.train.lr=abc", "    lr: abc"),
        ("balloon.train.lr=1e-4", "    lr: 0.0001"),
        ("balloon.convert.attribute=kind", "    attribute: kind # the VIA region attribute that names the category; "),
        (
            "balloon.fetch.manifest=null",
            "    manifest:                              # sha256 of each file; null: files ",
        ),
        ("balloon.convert.categories=[cat]", "    - cat"),
        ("sample.train.augment.scale=[0.8,1.4]", "      - 0.8"),
        ("balloon.train.optimizer=sgd", "    optimizer: sgd   # or sgd"),
    ],
)
def test_dvc_changes_one_line_for_one_value(tmp_path, override, line):
    lines = changed_by_dvc(tmp_path / "params.yaml", override).splitlines()
    changed = [new for old, new in zip(TEXT.splitlines(), lines, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0].startswith(line)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.epochs": 0}, "sample.train.epochs is 0: input should be greater than or equal to 1"),
        ({"train.epochs": "3"}, "sample.train.epochs is '3': input should be a valid integer"),
        ({"train.device": "tpu"}, "sample.train.device is 'tpu': input should be 'auto', 'cuda', 'cpu' or 'mps'"),
        ({"train.repeat_threshold": 0}, "sample.train.repeat_threshold is 0: input should be greater than 0"),
        (
            {"train.repeat_threshold": 20},
            "sample.train.repeat_threshold is 20: input should be less than or equal to 1",
        ),
        ({"train.repeat_threshold": "on"}, "sample.train.repeat_threshold is 'on': input should be a valid number"),
        ({"train.epoch": 3}, "sample.train.epoch is not a known key"),
        ({"train.augment.scale": [2.0, 1.0]}, "sample.train.augment: scale: the first number must not be above"),
        ({"model.image_size": 200}, "sample.model.image_size.0 is 200: input should be a multiple of 32"),
        ({"convert.categories": ["cat", "dog"]}, "sample.convert: categories are cat, dog, but attribute is null"),
        (
            {"convert.categories": ["cat", "cat"], "convert.attribute": "kind"},
            "sample.convert: categories has 'cat' 2 t",
        ),
        ({"convert.categories": ["cat "]}, "sample.convert: categories has 'cat '; write it without blanks around it"),
        ({"convert.split.val": 0.6, "convert.split.test": 0.4}, "sample.convert.split: val 0.6 and test 0.4 leave"),
        ({"grad_cam.methods": []}, "sample.grad_cam.methods is []: list should have at least 1 item"),
        ({"grad_cam.methods": ["GradCam"]}, "sample.grad_cam.methods.0 is 'GradCam': input should be 'GradCAM', '"),
        ({"fetch.source": "somewhere.zip"}, "sample.fetch: a block `rendered` is needed with `source: rendered`"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(project, changes, message):
    write_params(changes)
    with pytest.raises(UserError) as error:
        read_recipe()
    assert message in str(error.value)
    assert str(error.value).endswith("; fix it; `git diff params.yaml` shows what -S or you changed")
    assert "\n" not in str(error.value)


def test_a_small_learning_rate_in_exponent_form_is_a_number(project):
    path = project / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("    lr: 0.004", "    lr: 4e-3"), encoding="utf-8")
    assert read_recipe().train.lr == 0.004


def test_an_unknown_recipe_is_named_with_the_known_ones(project):
    path = project / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("recipe: sample", "recipe: samples"), encoding="utf-8")
    with pytest.raises(UserError, match="recipe is 'samples', allowed is one of balloon, own, sample, balloon_gpu"):
        read_recipe()


@pytest.mark.parametrize("text", ["recipe: [", "- a list", "", "recipe: !!python/object/apply:os.getcwd []"])
def test_a_file_that_is_no_table_of_params_is_refused(project, text):
    (project / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml"):
        read_recipe()


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [evil]", "!!python/name:os.mkdir", "!mine {}"])
def test_a_tag_that_would_construct_an_object_is_refused(project, tag):
    path = project / "params.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("clip_norm: 10.0", f"clip_norm: {tag}"), encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml is not valid YAML: could not determine a constructor"):
        read_recipe()
    assert not (project / "evil").exists()


def test_a_stage_outside_of_the_project_says_so_in_one_line(project):
    (project / "params.yaml").unlink()
    result = run_module("convert")
    assert result.returncode == 1
    assert result.stderr.startswith("convert: no params.yaml in ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("stage", ["fetch", "convert"])
def test_a_stage_that_needs_no_torch_does_not_import_it(stage):
    code = f"import sys, stages.{stage}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
