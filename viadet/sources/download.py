"""Downloading a file, or copying it from a mirror, with retries; a partial file is never left under its final name."""

import os
import shutil
import socket
import time
from pathlib import Path

import requests
from tqdm import tqdm

from viadet.project.errors import UserError
from viadet.project.files import replaced_file

MIRROR_VARIABLE = "BALLOON_MIRROR"
TIMEOUT_S = (5, 30)  # to connect, and between two pieces of the body
RETRY_DELAYS_S = (0.5, 1.5, 4.0)  # short: a user without a network should learn so within seconds
MAX_RETRY_AFTER_S = 10.0  # a longer delay that a server asks for is ignored
CHUNK_BYTES = 1 << 18


def is_url(source: str) -> bool:
    """Tell an http(s) URL from a path."""
    return source.startswith(("http://", "https://"))


def fetch_file(url: str, folder: Path, name: str | None = None) -> Path:
    """Get a file from $BALLOON_MIRROR (a folder or a URL), or else from its own URL.

    Args:
        url: of the file.
        folder: existing folder to write to.
        name: of the file in `folder` and in a mirror; None: the last part of the URL.

    Raises:
        UserError: no place has the file; nothing is written.
    """
    name = name or url.partition("?")[0].rpartition("/")[2]
    if not name:
        raise UserError(f"{url} is not the URL of a file")
    mirror = os.environ.get(MIRROR_VARIABLE)
    failures = []
    for place in ([f"{mirror.rstrip('/')}/{name}"] if mirror else []) + [url]:
        try:
            with replaced_file(folder / name) as temporary:
                if is_url(place):
                    download(place, temporary)
                else:
                    shutil.copyfile(Path(place).expanduser(), temporary)
            return folder / name
        except requests.RequestException as error:
            failures.append(f"{place} ({failure_reason(error)})")
        except FileNotFoundError:
            failures.append(f"{place} (no such file)")
    raise UserError(
        f"download failed: {', '.join(failures)}; set {MIRROR_VARIABLE}=<folder or URL that holds {name}>, "
        "or run the sample, which needs no network: dvc exp run -S recipe=sample"
    )


def download(url: str, path: Path) -> None:
    """Download a file with a progress bar, timeouts and retries, which resume a broken transfer if the server can.

    Raises:
        requests.RequestException: the last retry failed too, or a retry would not help.
    """
    # Not urllib3's Retry: it can't resume a broken transfer, and waits for as long as a server's Retry-After says.
    path.unlink(missing_ok=True)
    version = ""
    for delay in (*RETRY_DELAYS_S, None):
        try:
            with request_file(url, path, version) as response:
                version = version_of(response)
                write_body(response, path)
            return
        except requests.RequestException as error:
            if delay is None or not is_transient(error):
                raise
            time.sleep(retry_after_s(error) or delay)


def request_file(url: str, path: Path, version: str) -> requests.Response:
    """Request a file, or only the rest of it if `path` holds the beginning of this version (RFC 9110, If-Range).

    Raises:
        requests.RequestException: the server does not send it.
    """
    received = path.stat().st_size if version and path.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # a part of a compressed body would be useless
    headers |= {"Range": f"bytes={received}-", "If-Range": version} if received else {}
    response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    if received and response.status_code == requests.codes.requested_range_not_satisfiable:
        path.unlink()
        raise requests.exceptions.ChunkedEncodingError("the server does not resume")
    response.raise_for_status()
    return response


def version_of(response: requests.Response) -> str:
    """Give what identifies exactly these bytes: a strong ETag, or the date of the last change, or nothing."""
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag or response.headers.get("Last-Modified", "")


def write_body(response: requests.Response, path: Path) -> None:
    """Write the body to `path`, or append it if it is the rest of a file.

    Raises:
        requests.RequestException: fewer bytes arrived than the server announced.
    """
    received = path.stat().st_size if response.status_code == requests.codes.partial_content else 0
    header = response.headers.get("Content-Length", "")
    expected = received + int(header) if header.isdecimal() else None
    name = response.url.rpartition("/")[2]
    # disable=None: no bar in logs.
    bar = tqdm(total=expected, initial=received, unit="B", unit_scale=True, desc=name, leave=False, disable=None)
    with path.open("ab" if received else "wb") as file, bar:
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
    received += response.raw.tell()
    if expected is not None and received < expected:
        raise requests.exceptions.ChunkedEncodingError(f"only {received} of {expected} bytes arrived")


def retry_after_s(error: requests.RequestException) -> float | None:
    """Give the delay that a busy server asks for, if it is short enough."""
    header = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return float(header) if header.isdecimal() and float(header) <= MAX_RETRY_AFTER_S else None


def is_transient(error: requests.RequestException) -> bool:
    """Tell an error that a retry may overcome from a permanent one."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
        return False
    if isinstance(root_cause(error), socket.gaierror):  # each name look-up without a network can take 10 s
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def failure_reason(error: requests.RequestException) -> str:
    """Describe an error in a few words."""
    root = root_cause(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(root, socket.gaierror):
        return "name resolution failed"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "incomplete download"
    if isinstance(root, ConnectionRefusedError):  # Windows has a long sentence for it
        return "connection refused"
    reason = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(reason.split()).rstrip(".").lower()


def root_cause(error: BaseException) -> BaseException:
    """Follow an error to its first cause: requests and urllib3 wrap the socket's error three or four times."""
    while error.__context__ is not None:
        error = error.__context__
    return error
