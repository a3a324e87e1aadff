"""Downloading a file from a local HTTP server with all kinds of faults, and from mirrors."""

import socket
import stat
import time
from pathlib import Path

import pytest
from sources.data_sets import files_in, write_folder
from sources.http_server import refused_url

from viadet.project.errors import UserError
from viadet.sources import download
from viadet.sources.download import fetch_file

NAME = "balloons.zip"
DATA = bytes(range(200)) * 2


@pytest.fixture
def url(server):
    """The URL of a file of DATA."""
    server.files[f"/{NAME}"] = DATA
    return f"{server.url}/{NAME}"


def failure(url: str, folder: Path) -> str:
    """Download, which must fail with one line and write nothing; returns the line."""
    with pytest.raises(UserError) as caught:
        fetch_file(url, folder)
    assert "\n" not in str(caught.value)
    assert not list(folder.iterdir())
    return str(caught.value)


def test_a_file_is_downloaded_under_the_name_in_its_url_or_another(url, folder, server):
    server.files[f"/{NAME}?key=1"] = DATA
    assert fetch_file(f"{url}?key=1", folder) == folder / NAME
    assert fetch_file(url, folder, "other.zip") == folder / "other.zip"
    assert files_in(folder) == {NAME: DATA, "other.zip": DATA}
    assert server.requests == [f"/{NAME}?key=1", f"/{NAME}"]


@pytest.mark.needs("posix")
def test_a_downloaded_file_has_the_permissions_of_any_other(url, folder):
    Path("other").touch()
    assert stat.filemode(fetch_file(url, folder).stat().st_mode) == stat.filemode(Path("other").stat().st_mode)


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_mirror_is_tried_first(kind, url, folder, server, monkeypatch):
    server.files[f"/mirror/{NAME}"] = b"of the mirror"
    write_folder(Path("mirror"), {NAME: b"of the mirror"})
    monkeypatch.setenv("BALLOON_MIRROR", "mirror" if kind == "folder" else f"{server.url}/mirror/")
    fetch_file(url, folder)
    assert files_in(folder) == {NAME: b"of the mirror"}
    assert server.requests == ([] if kind == "folder" else [f"/mirror/{NAME}"])


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_file_that_the_mirror_lacks_is_downloaded_from_its_url(kind, url, folder, server, monkeypatch):
    monkeypatch.setenv("BALLOON_MIRROR", "mirror" if kind == "folder" else f"{server.url}/mirror")
    fetch_file(url, folder)
    assert files_in(folder) == {NAME: DATA}


def test_an_error_names_the_mirror_the_url_and_the_reasons(folder, server, monkeypatch):
    monkeypatch.setenv("BALLOON_MIRROR", "mirror")
    line = failure(f"{server.url}/{NAME}", folder)
    assert f"download failed: mirror/{NAME} (no such file), {server.url}/{NAME} (HTTP 404); " in line


def test_an_error_without_a_network_suggests_a_mirror_and_the_sample(folder, quick_retries):
    url = refused_url(NAME)
    line = failure(url, folder)
    assert f"{url} (connection refused)" in line
    assert f"BALLOON_MIRROR=<folder or URL that holds {NAME}>" in line
    assert "dvc exp run -S recipe=sample" in line


@pytest.mark.slow
def test_without_a_network_the_error_comes_within_ten_seconds(folder):
    start = time.monotonic()
    failure(refused_url(NAME), folder)
    assert time.monotonic() - start < 10


def test_an_unknown_host_is_named_without_a_retry(folder, monkeypatch):
    asked = []
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *host, **options: asked.append(host) or resolve(*host, **options))
    url = f"http://balloons.invalid/{NAME}"
    assert f"{url} (name resolution failed)" in failure(url, folder)
    assert len(asked) == 1


@pytest.mark.parametrize("fault", [429, 500, 503, "hang up", "truncate", "stop in the middle"])
def test_a_transient_fault_is_overcome_by_another_attempt(fault, url, folder, server, quick_retries):
    server.faults = [fault]
    fetch_file(url, folder)
    assert files_in(folder) == {NAME: DATA}
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "reason", "requests"),
    [
        (404, "HTTP 404", 1),
        (500, "HTTP 500", 4),
        ("truncate", "incomplete download", 4),
        ("announce more", "incomplete download", 4),
        ("stop in the middle", "timed out", 4),
        ("stall", "timed out", 4),
        ("hang up", "remote end closed connection", 4),
        ("redirect", "exceeded 30 redirects", 4 * 31),
    ],
)
def test_a_permanent_fault_is_named(fault, reason, requests, url, folder, server, quick_retries):
    server.faults = [fault] * 200
    assert reason in failure(url, folder)
    assert len(server.requests) == requests


def test_a_slow_transfer_does_not_time_out(url, folder, server, quick_retries):
    server.faults = ["send slowly"]
    start = time.monotonic()
    fetch_file(url, folder)
    assert time.monotonic() - start > download.TIMEOUT_S[1]  # which limits the time between two pieces, not all of it
    assert files_in(folder) == {NAME: DATA}
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["http://[broken/a.zip", "http://", "http://127.0.0.1/"])
def test_a_url_that_is_not_one_of_a_file_is_named(url, folder):
    assert url in failure(url, folder)
