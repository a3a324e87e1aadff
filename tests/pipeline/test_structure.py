"""dvc.yaml, the stages and the rooms of the library, as they stand in the files."""

import ast
from functools import cache
from pathlib import Path

import pytest
from projects import REPOSITORY, repository_params

from viadet.project.params import load_yaml

STAGES = load_yaml((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ORDER = ["fetch", "convert", "visualise", "train", "evaluate", "feature_maps", "grad_cam"]
ROOMS = sorted(path.parent.name for path in REPOSITORY.glob("viadet/*/__init__.py"))


def parse(path):
    return ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))


@cache
def directly_imported_files(script: Path) -> set[Path]:
    """The repository's own modules that a script imports itself."""
    modules = set()
    for node in ast.walk(parse(script)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = Path(node.module.replace(".", "/"))
            modules |= {module, *(module / alias.name for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {Path(alias.name.replace(".", "/")) for alias in node.names}
    return {path for module in modules if (REPOSITORY / (path := module.with_suffix(".py"))).exists()}


def imported_files(script: Path) -> set[Path]:
    """The repository's own modules that a script imports, directly or through one another."""
    files, new = set(), {script}
    while new:
        new = set().union(*map(directly_imported_files, new)) - files
        files |= new
    return files


def code_deps(stage: str) -> list[Path]:
    return [Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith(("stages/", "viadet"))]


def test_the_folder_has_seven_stages_in_order_and_nothing_else():
    assert list(STAGES) == ORDER
    assert {path.stem for path in REPOSITORY.glob("stages/*.py")} == {*ORDER, "__init__"}
    launch = repository_params()["launch"]
    commands = {name: stage["cmd"].replace("${launch}", launch) for name, stage in STAGES.items()}
    assert commands == {name: f"python -m stages.{name}" for name in ORDER}
    assert STAGES["train"]["cmd"] == "${launch} -m stages.train"
    assert all(stage["desc"] for stage in STAGES.values())


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_says_what_it_reads_and_writes(name):
    script = Path("stages", f"{name}.py")
    doc = ast.get_docstring(parse(script))
    assert all(f"\n{word}" in doc for word in ("Reads   ", "Writes  ", f"Run     dvc repro {name}"))
    assert ast.unparse(parse(script).body[-1]) == "if __name__ == '__main__':\n    run_stage(main, __doc__)"


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_all_the_code_that_it_runs(name):
    script = Path("stages", f"{name}.py")
    needed = imported_files(script) | {script, Path("viadet/__init__.py")}
    deps = code_deps(name)
    missing = {str(path) for path in needed if path not in deps and path.parent not in deps}
    assert not missing, f"dvc.yaml, stage {name}: add {sorted(missing)} or their rooms"


@pytest.mark.parametrize("name", ORDER)
def test_a_stage_depends_on_files_that_it_needs_and_on_rooms_of_which_it_needs_most(name):
    script = Path("stages", f"{name}.py")
    needed = imported_files(script) | {script, Path("viadet/__init__.py")}
    for dep in code_deps(name):
        if (REPOSITORY / dep).is_dir():
            modules = {path.relative_to(REPOSITORY) for path in (REPOSITORY / dep).glob("*.py")}
            modules.discard(dep / "__init__.py")
            assert 2 * len(modules & needed) > len(modules), f"dvc.yaml, stage {name}: name single files of {dep}"
        else:
            assert dep in needed, f"dvc.yaml, stage {name}: {dep} is not needed"


def test_drawing_and_commands_never_train_again():
    rooms = {dep.parts[1] for dep in code_deps("train") if len(dep.parts) > 1}
    assert not rooms & {"pictures", "commands", "explanation", "sources", "sample"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_at_most_five_lines_what_goes_in_and_what_comes_out(room):
    body = parse(f"viadet/{room}/__init__.py").body
    assert len(body) == 1, "code here would be a dependency of every stage that imports from the room"
    doc = ast.get_docstring(parse(f"viadet/{room}/__init__.py"))
    assert len(doc.splitlines()) <= 5
    assert "In: " in doc
    assert "Out: " in doc
