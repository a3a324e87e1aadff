"""Fetching from real archives, folders and a local HTTP server that can misbehave."""

import hashlib
import json
import os
import re
import shutil
import socket
import stat
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from projects import REPOSITORY, run_module, write_params

from stages import fetch
from viadet.project.errors import UserError
from viadet.sources import download
from viadet.sources.download import is_url

FILES = {  # of a small data set; the contents are not looked at before the next stage
    "train/a.jpg": b"first" * 1000,
    "train/b.jpg": b"second" * 1000,
    "train/via_region_data.json": b"{}",
    "val/c.jpg": b"third" * 1000,
    "val/via_region_data.json": b"{}",
}
MANIFEST = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in FILES.items())
ARCHIVE = "balloon_dataset.zip"
MIRROR = os.environ.get("BALLOON_MIRROR", str(REPOSITORY.parent / "shared" / "mirror"))


class Server(ThreadingHTTPServer):
    """Serves `files` by path; the first answers of a path can be given in `script` as faults."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files, self.script, self.seen = {}, [], []
        self.etag, self.sent = None, 0  # name of the files' version, which allows to go on; bytes of bodies sent


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        fault = self.server.script.pop(0) if self.server.script else None
        body = self.server.files.get(self.path)
        if fault == "stall":
            time.sleep(1)
        if fault in ("hang up", "stall"):
            return
        begun = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        begun = int(begun) if self.headers.get("If-Range") == self.server.etag else 0
        if fault == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
        elif isinstance(fault, int) or body is None:
            self.send_response(fault or 404)
            self.send_header("Retry-After", "1" if fault == 429 else "3600")
            self.end_headers()
        elif fault == "change":
            self.server.etag, self.server.files[self.path] = '"2"', body[::-1]
        else:
            body = body[begun:]
            announced = {"announce more": len(body) + 1, "announce less": len(body) - 1}.get(fault, len(body))
            self.send_response(206 if begun else 200)
            self.send_header("Content-Length", str(announced))
            if self.server.etag:
                self.send_header("ETag", self.server.etag)
            self.end_headers()
            body = body[: len(body) // 2] if fault in ("truncate", "stop in the middle") else body
            self.server.sent += len(body)
            if fault == "trickle":
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.001)
            else:
                self.wfile.write(body)
            if fault == "stop in the middle":
                self.wfile.flush()
                time.sleep(1)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def refused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{ARCHIVE}"


def write_zip(path: Path, files: dict[str, bytes] | None = None, prefix: str = "balloon/") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (FILES if files is None else files).items():
            archive.writestr(prefix + name, data)
    return path


def write_folder(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    for name, data in (FILES if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def use(source: str | Path, manifest: bool = True, **model: str) -> None:
    """Write params that fetch `source`; the manifest lists FILES."""
    Path("manifest.sha256").write_text(MANIFEST)
    changes = {"fetch.source": str(source), "fetch.manifest": "manifest.sha256" if manifest else None}
    write_params(changes | {f"model.{key}": value for key, value in model.items()}, recipe="balloon")


def fetched() -> dict[str, bytes]:
    raw = Path("data/raw")
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.rglob("*") if path.is_file()}


def left_behind() -> list[Path]:
    return list(Path("data").rglob("*"))


def failure() -> str:
    """Run fetch, which must fail in one line and leave nothing; returns the line."""
    with pytest.raises(UserError) as caught:
        fetch.main()
    assert "\n" not in str(caught.value)
    assert left_behind() == []
    return str(caught.value)


@pytest.mark.parametrize("kind", ["url", "mirror folder", "mirror url", "zip", "folder"])
def test_every_kind_of_source_gives_the_same_files(kind, project, server, monkeypatch, capsys):
    archive = write_zip(Path("elsewhere") / ARCHIVE)
    server.files = {f"/{folder}/{ARCHIVE}": archive.read_bytes() for folder in ("release", "mirror")}
    sources = {"url": f"{server.url}/release/{ARCHIVE}", "zip": archive, "folder": Path("mine")}
    write_folder(Path("mine"))
    if kind.startswith("mirror"):
        monkeypatch.setenv("BALLOON_MIRROR", "elsewhere" if kind == "mirror folder" else f"{server.url}/mirror/")
    use(sources.get(kind, sources["url"]))
    fetch.main()
    assert fetched() == FILES
    assert json.loads(Path("data/init/start.json").read_text()) == {"init": "random"}
    assert sorted(path.name for path in Path("data").iterdir()) == ["init", "raw"]
    assert capsys.readouterr().out == "data/raw: train 3 files, val 2 files; start: random\n"
    assert server.seen == {"url": [f"/release/{ARCHIVE}"], "mirror url": [f"/mirror/{ARCHIVE}"]}.get(kind, [])


def test_the_rendered_sample_needs_no_source_and_differs_between_splits(project):
    fetch.main()
    files = fetched()
    assert len(files) == 6 + 1 + 3 + 1
    assert files["train/0000.jpg"] != files["val/0000.jpg"]
    fetch.main()
    assert fetched() == files


@pytest.mark.parametrize("mirror", ["empty", "http"])
def test_a_mirror_without_the_file_gives_way_to_the_address(mirror, project, server, monkeypatch):
    Path("empty").mkdir()
    monkeypatch.setenv("BALLOON_MIRROR", "empty" if mirror == "empty" else f"{server.url}/nothing")
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    use(f"{server.url}/{ARCHIVE}")
    fetch.main()
    assert fetched() == FILES


def test_a_failure_names_mirror_and_address(project, server, monkeypatch):
    monkeypatch.setenv("BALLOON_MIRROR", "empty")
    use(f"{server.url}/{ARCHIVE}")
    line = failure()
    assert f"empty/{ARCHIVE}: no such file" in line
    assert f"{server.url}/{ARCHIVE}: HTTP 404" in line


def test_without_a_network_the_line_names_the_address_the_mirror_and_the_sample(project):
    url = refused_url()
    use(url)
    start = time.monotonic()
    line = failure()
    assert time.monotonic() - start < 10
    assert f"{url}: connection refused" in line
    assert f"BALLOON_MIRROR=<folder or URL that holds {ARCHIVE}>" in line
    assert "dvc exp run -S recipe=sample" in line


def test_an_unknown_host_is_told_as_such(project):
    use(f"http://balloons.invalid/{ARCHIVE}")
    assert "name resolution failed" in failure()


def test_the_command_fails_with_one_line_and_code_1(project, server):
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = ["truncate"] * 4
    use(f"{server.url}/{ARCHIVE}")
    result = run_module("fetch")
    assert result.returncode == 1
    assert result.stderr.startswith("fetch: can't get http://127.0.0.1")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert left_behind() == []


@pytest.mark.parametrize("fault", [500, 503, 429, "hang up", "truncate"])
def test_a_passing_fault_is_tried_again_without_heeding_a_long_retry_after(fault, project, server):
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = [fault]
    use(f"{server.url}/{ARCHIVE}")
    fetch.main()
    assert fetched() == FILES
    assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        (404, "HTTP 404", 1),
        (500, "HTTP 500", 4),
        ("truncate", "the download broke off", 4),
        ("announce more", "the download broke off", 4),
        ("stop in the middle", "timed out", 4),
        ("stall", "timed out", 4),
        ("hang up", "remote end closed connection", 4),
        ("redirect", "exceeded 30 redirects", 31),
    ],
)
def test_a_lasting_fault_is_named(fault, reason, requests, project, server, monkeypatch):
    monkeypatch.setattr(download, "PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(download, "TIMEOUT_S", (5, 0.3))
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = [fault] * 50
    use(f"{server.url}/{ARCHIVE}")
    assert reason in failure()
    assert len(server.seen) == requests


@pytest.mark.parametrize("fault", ["truncate", "stop in the middle"])
def test_what_has_arrived_is_not_asked_for_again_where_the_server_allows(fault, project, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", (5, 0.3))
    monkeypatch.setattr(download, "CHUNK_BYTES", 1)  # what has arrived of a piece is given up
    archive = write_zip(Path(ARCHIVE)).read_bytes()
    server.files[f"/{ARCHIVE}"], server.etag = archive, '"1"'
    server.script = [fault, fault]
    use(f"{server.url}/{ARCHIVE}")
    fetch.main()
    assert fetched() == FILES
    assert len(server.seen) == 3
    assert server.sent == len(archive)  # each byte once


def test_a_file_that_changes_between_two_tries_is_not_mixed(project, server, monkeypatch):
    monkeypatch.setattr(download, "CHUNK_BYTES", 1)
    archive = write_zip(Path(ARCHIVE)).read_bytes()
    server.files[f"/{ARCHIVE}"], server.etag = archive[::-1], '"1"'
    server.script = ["truncate", "change"]
    use(f"{server.url}/{ARCHIVE}")
    fetch.main()
    assert fetched() == FILES
    assert server.sent == len(archive) // 2 + len(archive)


def test_a_slow_server_is_waited_for(project, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_S", (5, 0.3))
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = ["trickle"]
    use(f"{server.url}/{ARCHIVE}")
    started = time.perf_counter()
    fetch.main()
    assert time.perf_counter() - started > 0.3  # longer in all than between two pieces
    assert fetched() == FILES
    assert len(server.seen) == 1


def test_a_length_below_the_true_one_gives_no_whole_archive(project, server):
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = ["announce less"]
    use(f"{server.url}/{ARCHIVE}")
    assert "no whole zip archive" in failure()


def test_a_busy_server_is_given_the_time_that_it_asks_for(project, server, monkeypatch):
    monkeypatch.setattr(download, "PAUSES_S", (0.01, 0.01, 0.01))
    server.files[f"/{ARCHIVE}"] = write_zip(Path(ARCHIVE)).read_bytes()
    server.script = [429]
    use(f"{server.url}/{ARCHIVE}")
    started = time.perf_counter()
    fetch.main()
    assert 1 <= time.perf_counter() - started < 5


@pytest.mark.parametrize("address", ["http://[broken/a.zip", "http://", "http://127.0.0.1/"])
def test_an_address_of_no_file_is_refused(address, project):
    use(address)
    assert address in failure()


def test_a_failure_leaves_earlier_data_as_they_were(project):
    use(write_zip(Path("good.zip")))
    fetch.main()
    before = {path: path.stat().st_mtime_ns for path in left_behind()}
    use("absent.zip")
    with pytest.raises(UserError, match=r"'absent\.zip': no such file"):
        fetch.main()
    assert {path: path.stat().st_mtime_ns for path in left_behind()} == before


def test_splits_may_lie_at_the_root_or_deep_and_rubbish_is_skipped(project):
    for prefix in ("", "one/two/"):
        rubbish = {"__MACOSX/train/._a.jpg": b"x", "train/.DS_Store": b"x", "README.txt": b"x"}
        use(write_zip(Path("a.zip"), FILES | rubbish, prefix))
        fetch.main()
        assert fetched() == FILES


def test_rubbish_in_a_folder_is_skipped(project):
    use(write_folder(Path("mine"), FILES | {"train/.DS_Store": b"x", "notes.txt": b"x"}))
    fetch.main()
    assert fetched() == FILES


@pytest.mark.parametrize(
    "name",
    [
        "../evil.jpg",
        "train/../../evil.jpg",
        "/evil.jpg",
        "C:/evil.jpg",
        "..\\evil.jpg",
        "\\evil.jpg",
        "__MACOSX/../../x",
        "../",
    ],
)
def test_an_entry_that_points_outside_is_refused_by_name(name, project):
    path = write_zip(Path("a.zip"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"evil")
    use(path, manifest=False)
    assert repr(name) in failure()
    assert not list(project.parent.glob("evil.jpg"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_device_in_an_archive_is_refused_by_name(kind, project):
    path = write_zip(Path("a.zip"))
    link = zipfile.ZipInfo("balloon/train/link.jpg")
    link.create_system, link.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    use(path, manifest=False)
    assert "'balloon/train/link.jpg' is a link or a device" in failure()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("balloon/train/A.JPG", "differs from 'balloon/train/a.jpg' by case only"),
        ("balloon\\train\\a.jpg", "differs from 'balloon/train/a.jpg' by case only"),
        ("balloon/train/a.jpg", "is there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_overwrite_each_other_are_refused(name, problem, project):
    path = write_zip(Path("a.zip"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"other")
    use(path, manifest=False)
    assert f"{problem}; nothing was unpacked" in failure()


def test_an_archive_made_to_fill_the_disk_is_refused(project, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_UNPACKED_BYTES", 10_000)
    use(write_zip(Path("a.zip")), manifest=False)
    assert "a.zip unpacks to 0 MiB, allowed are" in failure()


def test_an_archive_that_grows_out_of_proportion_is_refused(project):
    path = write_zip(Path("a.zip"), FILES | {"train/zeros.bmp": bytes(20 << 20)})
    use(path, manifest=False)
    assert "a.zip unpacks to 20 MiB, allowed are 50 GiB and 100 times its own size; not unpacked" in failure()


def test_two_pairs_of_splits_are_not_mixed(project):
    use(write_zip(Path("a.zip"), {f"{pair}/{name}": data for pair in "ab" for name, data in FILES.items()}))
    assert "several such pairs" in failure()


@pytest.mark.parametrize("damage", ["cut", "bytes", "no zip", "empty"])
def test_a_damaged_archive_is_refused(damage, project):
    data = bytearray(write_zip(Path("a.zip")).read_bytes())
    if damage == "bytes":
        start = len("balloon/train/a.jpg") + 30  # where the first file's data begin
        data[start : start + 8] = b"\xff" * 8
    Path("a.zip").write_bytes({"cut": data[:-200], "bytes": data, "no zip": b"<html>", "empty": b""}[damage])
    use("a.zip", manifest=False)
    assert "a.zip is no whole zip archive" in failure()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"train/b.jpg": b"other"}, "train/b.jpg is altered"),
        ({"train/b.jpg": None}, "train/b.jpg is missing"),
        ({"val/d.jpg": b"new"}, "val/d.jpg does not belong to it"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_files_that_differ_from_the_manifest_are_named(kind, changes, problem, project):
    files = {name: data for name, data in (FILES | changes).items() if data is not None}
    use(write_zip(Path("a.zip"), files) if kind == "zip" else write_folder(Path("mine"), files))
    line = failure()
    assert problem in line
    assert "fetch.manifest to null" in line
    use("a.zip" if kind == "zip" else "mine", manifest=False)
    fetch.main()
    assert fetched() == files


@pytest.mark.parametrize("text", [None, "abc  train/a.jpg\n", f"{'0' * 64} train/a.jpg\n", "\xff\x00"])
def test_an_absent_or_malformed_manifest_is_named(text, project):
    use(write_folder(Path("mine")))
    Path("manifest.sha256").unlink()
    if text is not None:
        Path("manifest.sha256").write_text(text, encoding="latin-1")
    assert "manifest.sha256" in failure()


@pytest.mark.parametrize("absent", ["val/", "train/via", "train/a.jpg train/b.jpg"])
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_source_without_both_splits_hears_the_layout(kind, absent, project):
    files = {name: data for name, data in FILES.items() if not name.startswith(tuple(absent.split()))}
    use(
        write_zip(Path("a.zip"), files) if kind == "zip" else write_folder(Path("mine"), files),
        manifest=False,
    )
    line = failure()
    assert "expected the folders train and val" in line
    assert absent[:3] in line


def test_a_file_where_a_folder_should_be_is_told_in_one_line(project):
    Path("data").write_text("a file")
    use(write_zip(Path("a.zip")))
    result = run_module("fetch")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert re.fullmatch(r"fetch: data/\S+: Not a directory; mend this and run `dvc repro` again\n", result.stderr)


def test_a_file_that_can_not_be_copied_is_named(project):
    folder = write_folder(Path("mine"))
    (folder / "train/gone.jpg").symlink_to("nowhere.jpg")
    use(folder, manifest=False)
    assert "mine/train/gone.jpg can't be copied" in failure()


@pytest.fixture
def data_set(project):
    """A source that is in order, for the tests of weights."""
    return write_folder(Path("mine"))


def started() -> tuple[dict, dict[str, bytes]]:
    files = {path.name: path.read_bytes() for path in Path("data/init").iterdir()}
    return json.loads(files.pop("start.json")), files


def weights_start(init: str, name: str, data: bytes) -> tuple[dict, dict[str, bytes]]:
    return {"init": init, "file": name, "sha256": hashlib.sha256(data).hexdigest()}, {name: data}


def name_coco_weights(monkeypatch, url: str) -> None:
    from effdet.config.model_config import efficientdet_model_param_dict as known

    monkeypatch.setitem(known, "tf_efficientdet_lite0", known["tf_efficientdet_lite0"] | {"url": url})


@pytest.mark.parametrize("name", [f"lite0-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth", "no-digits.pth"])
def test_coco_weights_come_from_effdets_address(name, data_set, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/{name}")
    server.files[f"/{name}"] = b"weights"
    use(data_set, init="coco")
    fetch.main()
    assert started() == weights_start("coco", name, b"weights")


def test_altered_coco_weights_are_refused(data_set, server, monkeypatch):
    name_coco_weights(monkeypatch, f"{server.url}/lite0-01234567.pth")
    server.files["/lite0-01234567.pth"] = b"weights"
    use(data_set, init="coco")
    assert "lite0-01234567.pth is altered" in failure()


def test_coco_weights_come_from_a_mirror_first(data_set, monkeypatch):
    name_coco_weights(monkeypatch, "http://balloons.invalid/lite0.pth")
    write_folder(Path("mirror"), {"lite0.pth": b"weights"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    use(data_set, init="coco")
    fetch.main()
    assert started() == weights_start("coco", "lite0.pth", b"weights")


def test_a_network_without_coco_weights_is_told(data_set):
    use(data_set, init="coco", name="efficientdet_d2")
    assert "no COCO weights for efficientdet_d2" in failure()


@pytest.mark.parametrize("init", ["coco", "imagenet"])
def test_an_unknown_network_is_told_with_known_ones(init, data_set):
    use(data_set, init=init, name="efficientdet_d99")
    assert "tf_efficientdet_lite0" in failure()


def test_imagenet_weights_come_from_the_hub_that_hf_endpoint_names(data_set, server):
    server.files["/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors"] = b"backbone"
    use(data_set, init="imagenet")
    result = run_module("fetch", HF_ENDPOINT=server.url)  # the hub's client reads the variable when it is imported
    assert result.returncode == 0, result.stderr
    assert started() == weights_start("imagenet", "tf_efficientnet_lite0.in1k.safetensors", b"backbone")


def test_imagenet_weights_come_from_a_mirror_under_timms_name(data_set, monkeypatch):
    write_folder(Path("mirror"), {"tf_efficientnet_lite0.in1k.safetensors": b"backbone"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    use(data_set, init="imagenet")
    fetch.main()
    assert started() == weights_start("imagenet", "tf_efficientnet_lite0.in1k.safetensors", b"backbone")


@pytest.mark.parametrize("path", ["mine.safetensors", "mine.pth", "mine.pt", "model"])
def test_a_checkpoint_of_ones_own_is_copied(path, data_set):
    file = f"{path}/model.safetensors" if path == "model" else path
    write_folder(Path(), {file: b"weights"})
    use(data_set, init=path)
    fetch.main()
    assert started() == weights_start("path", Path(file).name, b"weights")


@pytest.mark.parametrize("path", ["absent.pth", "mine", "manifest.sha256", "coc"])
def test_a_start_that_is_no_checkpoint_is_told_with_what_is_allowed(path, data_set):
    use(data_set, init=path)
    assert "allowed are random, coco, imagenet and the path of a checkpoint" in failure()


def test_the_balloon_photographs_fit_the_committed_manifest(project, monkeypatch):
    if not is_url(MIRROR) and not Path(MIRROR, ARCHIVE).is_file():
        pytest.skip(f"the photographs are not here: no {ARCHIVE} in {MIRROR}; name a mirror with BALLOON_MIRROR")
    monkeypatch.setenv("BALLOON_MIRROR", MIRROR)
    Path("data").mkdir()
    shutil.copy(REPOSITORY / "data" / "balloon.sha256", "data")
    write_params(recipe="balloon")
    fetch.main()
    assert len(fetched()) == 76
