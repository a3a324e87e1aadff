"""Fixtures: an empty folder to write to, a local HTTP server, retries that do not wait."""

import threading
from types import SimpleNamespace

import pytest
from sources.http_server import Server

from viadet.sources import download


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder `out` in the current folder, which is temporary; no mirror."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BALLOON_MIRROR", raising=False)
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def quick_retries(monkeypatch):
    """No delays and a shorter timeout than those of users, who need them longer."""
    monkeypatch.setattr(download, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(download, "TIMEOUT_S", (5, 0.3))
