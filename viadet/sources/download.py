"""Downloading a file, or copying it from a mirror; a partial file is never left under its final name."""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pooch
import requests

from viadet.project.errors import UserError
from viadet.project.files import replaced_file

MIRROR_VARIABLE = "BALLOON_MIRROR"
TIMEOUT_S = (5, 30)  # to connect, and between two pieces of the body
PAUSES_S = (1, 2, 3)  # before another attempt
CHUNK_BYTES = 1 << 18


def is_url(source: str) -> bool:
    """Tell an http(s) URL from a path."""
    return source.startswith(("http://", "https://"))


def fetch_file(url: str, folder: Path, name: str | None = None) -> Path:
    """Get a file from $BALLOON_MIRROR (a folder or a URL), or else from its own URL, into an existing folder.

    Its name there and in a mirror is `name`, or else the last part of the URL.

    Raises:
        UserError: no place has the file; nothing is written.
    """
    name = name or url.partition("?")[0].rpartition("/")[2]
    if not name:
        raise UserError(f"{url} is not the URL of a file")
    places = [url]
    if mirror := os.environ.get(MIRROR_VARIABLE):
        places.insert(0, f"{mirror.rstrip('/')}/{name}")
    failures = []
    for place in places:
        try:
            with replaced_file(folder / name) as temporary:
                if is_url(place):
                    _download(place, temporary)
                else:
                    shutil.copyfile(Path(place).expanduser(), temporary)
            return folder / name
        except requests.RequestException as error:
            failures.append(f"{place} ({_failure_reason(error)})")
        except FileNotFoundError:
            failures.append(f"{place} (no such file)")
    raise UserError(
        f"download failed: {', '.join(failures)}; set {MIRROR_VARIABLE}=<folder or URL that holds {name}>, "
        "or run the sample, which needs no network: dvc exp run -S recipe=sample"
    )


def _download(url: str, path: Path) -> None:
    for pause_s in (*PAUSES_S, None):
        try:
            pooch.HTTPDownloader(sys.stderr.isatty(), CHUNK_BYTES, timeout=TIMEOUT_S)(url, str(path), None)
            return
        except requests.RequestException as error:
            if pause_s is None or _is_permanent(error):
                raise
        time.sleep(pause_s)


def _is_permanent(error: requests.RequestException) -> bool:
    """Tell an error that another attempt can't overcome; without a network, each could take 10 s."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code < 500 and error.response.status_code != requests.codes.too_many_requests
    return isinstance(error, requests.ConnectTimeout) or isinstance(_root_cause(error), socket.gaierror)


def _failure_reason(error: requests.RequestException) -> str:
    root = _root_cause(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(root, socket.gaierror):
        return "name resolution failed"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "incomplete download"
    reason = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(reason.split()).rstrip(".").lower()


def _root_cause(error: BaseException) -> BaseException:
    """Follow an error to its first cause: requests and urllib3 wrap the socket's error three or four times."""
    while error.__context__ is not None:
        error = error.__context__
    return error
