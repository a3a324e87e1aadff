"""Downloading a file, or copying it from a mirror; a partial file is never left under its final name."""

import logging
import os
import shutil
import socket
import sys
from pathlib import Path

import pooch
import requests

from viadet.project.errors import UserError
from viadet.project.files import replaced_file

MIRROR_VARIABLE = "BALLOON_MIRROR"
TIMEOUT_S = (5, 30)  # to connect, and between two pieces of the body
RETRIES = 3  # after 1, 2 and 3 s
CHUNK_BYTES = 1 << 18


class Unreachable(Exception):
    """A file can't be downloaded; the text says why."""


def is_url(source: str) -> bool:
    """Tell an http(s) URL from a path."""
    return source.startswith(("http://", "https://"))


def fetch_file(url: str, folder: Path, name: str | None = None) -> Path:
    """Get a file from $BALLOON_MIRROR (a folder or a URL), or else from its own URL.

    Args:
        url: of the file.
        folder: existing folder to write to; a file of this name that is there already is kept.
        name: of the file in `folder` and in a mirror; None: the last part of the URL.

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
            if is_url(place):
                download(place, folder / name)
            else:
                with replaced_file(folder / name) as temporary:
                    shutil.copyfile(Path(place).expanduser(), temporary)
            return folder / name
        except Unreachable as error:
            failures.append(f"{place} ({error})")
        except FileNotFoundError:
            failures.append(f"{place} (no such file)")
    raise UserError(
        f"download failed: {', '.join(failures)}; set {MIRROR_VARIABLE}=<folder or URL that holds {name}>, "
        "or run the sample, which needs no network: dvc exp run -S recipe=sample"
    )


def download(url: str, path: Path) -> None:
    """Download a file with retries; the whole file again, as pooch does not resume.

    Raises:
        Unreachable: the last attempt failed too, or another one would not help.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    files = pooch.create(path.parent, "", registry={path.name: None}, urls={path.name: url}, retry_if_failed=RETRIES)
    try:
        files.fetch(path.name, downloader=download_once)
    except requests.RequestException as error:
        raise Unreachable(failure_reason(error)) from None


def download_once(url: str, path: str, files: pooch.Pooch) -> None:
    """Download a file with a progress bar and timeouts, as pooch calls it for each attempt.

    Raises:
        Unreachable: another attempt would not help.
        requests.RequestException: it may.
    """
    Path(path).unlink()  # pooch made it readable for this user only
    try:
        pooch.HTTPDownloader(sys.stderr.isatty(), CHUNK_BYTES, timeout=TIMEOUT_S)(url, path, files)
    except requests.RequestException as error:
        if is_permanent(error):
            raise Unreachable(failure_reason(error)) from None
        raise


def is_permanent(error: requests.RequestException) -> bool:
    """Tell an error that another attempt can't overcome; without a network, each could take 10 s."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code < 500 and error.response.status_code != requests.codes.too_many_requests
    return isinstance(error, requests.ConnectTimeout) or isinstance(root_cause(error), socket.gaierror)


def failure_reason(error: requests.RequestException) -> str:
    """Describe an error in a few words."""
    root = root_cause(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(root, socket.gaierror):
        return "name resolution failed"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "incomplete download"
    reason = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(reason.split()).rstrip(".").lower()


def root_cause(error: BaseException) -> BaseException:
    """Follow an error to its first cause: requests and urllib3 wrap the socket's error three or four times."""
    while error.__context__ is not None:
        error = error.__context__
    return error
