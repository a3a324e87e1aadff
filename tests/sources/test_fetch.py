"""The stage fetch: what it writes, prints and leaves after an error."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from projects import run_module, stage_error, write_params
from sources.data_sets import FILES, files_in, write_zip

from stages import fetch


def use(source: str | Path, **model: str) -> None:
    """Write params with this source and these changes to `model`."""
    changes = {"fetch.source": str(source), "fetch.manifest": None}
    write_params(changes | {f"model.{key}": value for key, value in model.items()}, recipe="balloon")


def test_photographs_and_initial_weights_are_written(project, capsys):
    use(write_zip(Path("a.zip")))
    fetch.main()
    assert files_in(Path("data/raw")) == FILES
    assert json.loads(Path("data/init/start.json").read_text()) == {"init": "random"}
    assert sorted(path.name for path in Path("data").iterdir()) == ["init", "raw"]
    assert capsys.readouterr().out == "data/raw: train 3 files, val 2 files; initial weights: random\n"


def test_the_sample_is_the_same_when_it_is_fetched_again(project):
    fetch.main()
    files = files_in(Path("data"))
    assert len(files) == 6 + 1 + 3 + 1 + 1
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
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "fetch: fetch.source is 'missing.zip': no such file or folder\n"


def test_a_file_where_a_folder_should_be_is_named_in_one_line(project):
    Path("data").write_text("a file")
    use(write_zip(Path("a.zip")))
    assert re.fullmatch(r"fetch: data/\S+: Not a directory; fix this and run `dvc repro` again", stage_error("fetch"))


@pytest.mark.slow
def test_the_endpoint_of_the_hugging_face_hub_is_read_from_the_environment(project, server):
    server.files["/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"] = b"backbone"
    use(write_zip(Path("a.zip")), init="imagenet")
    result = run_module("fetch", HF_ENDPOINT=server.url)
    assert result.returncode == 0, result.stderr
    assert Path("data/init/tf_efficientnet_lite0.in1k.safetensors").read_bytes() == b"backbone"
