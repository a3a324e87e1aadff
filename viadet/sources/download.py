"""Getting a file from a mirror or its own address, whole or not at all."""

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
PAUSES_S = (0.5, 1.5, 4.0)  # before each new try; short, as whoever has no network should learn so within seconds
LONGEST_PAUSE_S = 10.0  # of those that a server asks for
CHUNK_BYTES = 1 << 18


def is_url(source: str) -> bool:
    """Tell an http(s) address from a path."""
    return source.startswith(("http://", "https://"))


def fetch_file(url: str, folder: Path, name: str | None = None) -> Path:
    """Get a file into `folder`, from $BALLOON_MIRROR (a folder or an address) if that holds one of the same name.

    Args:
        url: its own address.
        folder: an existing folder.
        name: what it is called in `folder` and in a mirror; None: as in the address.

    Raises:
        UserError: neither has it; nothing is written.
    """
    name = name or url.partition("?")[0].rpartition("/")[2]
    if not name:
        raise UserError(f"{url} names no file")
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
            failures.append(f"{place}: {failure_reason(error)}")
        except FileNotFoundError:
            failures.append(f"{place}: no such file")
    raise UserError(
        f"can't get {', nor '.join(failures)}; set {MIRROR_VARIABLE}=<folder or URL that holds {name}>, "
        "or run the sample, which needs no network: dvc exp run -S recipe=sample"
    )


def download(url: str, path: Path) -> None:
    """Download with a progress bar and timeouts; what may pass is tried again, from where it broke off if that works.

    Raises:
        requests.RequestException: in the end it did not work.
    """
    # Not urllib3's Retry: it can't go on with a body that breaks off, and waits as long as a server's Retry-After says.
    path.unlink(missing_ok=True)
    version = ""
    for pause in (*PAUSES_S, None):
        try:
            with request_file(url, path, version) as response:
                version = version_of(response)
                receive(response, path)
            return
        except requests.RequestException as error:
            if pause is None or not is_transient(error):
                raise
            time.sleep(retry_after_s(error) or pause)


def request_file(url: str, path: Path, version: str) -> requests.Response:
    """Ask for a file, or for what `path` lacks of it if that is the begin of this version.

    Raises:
        requests.RequestException: the server does not give it.
    """
    begun = path.stat().st_size if version and path.exists() else 0
    headers = {"Accept-Encoding": "identity"}  # a part of a compressed body would be of no use
    headers |= {"Range": f"bytes={begun}-", "If-Range": version} if begun else {}
    response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    if begun and response.status_code == requests.codes.requested_range_not_satisfiable:
        path.unlink()
        raise requests.exceptions.ChunkedEncodingError("the server does not go on where it broke off")
    response.raise_for_status()
    return response


def version_of(response: requests.Response) -> str:
    """Give the server's name for just these bytes; empty if it has none."""
    tag = response.headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag or response.headers.get("Last-Modified", "")


def receive(response: requests.Response, path: Path) -> None:
    """Write the body into `path`, or behind what `path` has if the server went on there.

    Raises:
        requests.RequestException: less arrived than the server announced.
    """
    begun = path.stat().st_size if response.status_code == requests.codes.partial_content else 0
    header = response.headers.get("Content-Length", "")
    length = begun + int(header) if header.isdecimal() else None
    name = response.url.rpartition("/")[2]
    # disable=None: no bar in logs.
    bar = tqdm(total=length, initial=begun, unit="B", unit_scale=True, desc=name, leave=False, disable=None)
    with path.open("ab" if begun else "wb") as file, bar:
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            bar.update(len(chunk))
    arrived = begun + response.raw.tell()
    if length is not None and arrived < length:
        raise requests.exceptions.ChunkedEncodingError(f"only {arrived} of {length} bytes arrived")


def retry_after_s(error: requests.RequestException) -> float | None:
    """Give the seconds that a busy server asks to wait, unless they are too many."""
    header = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return float(header) if header.isdecimal() and float(header) <= LONGEST_PAUSE_S else None


def is_transient(error: requests.RequestException) -> bool:
    """Tell a fault of the moment from one that another try would only repeat."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    if isinstance(error, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
        return False
    if isinstance(root_cause(error), socket.gaierror):  # asking a dead name server can take 10 s each time
        return False
    return isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError)


def failure_reason(error: requests.RequestException) -> str:
    """Say in a few words what went wrong."""
    root = root_cause(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code}"
    if isinstance(root, socket.gaierror):
        return "name resolution failed"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the download broke off"
    reason = root.strerror if isinstance(root, OSError) and root.strerror else str(root)
    return " ".join(reason.split()).rstrip(".").lower()


def root_cause(error: BaseException) -> BaseException:
    """Follow an error to the one that began it: requests and urllib3 wrap the socket's three or four times."""
    while error.__context__ is not None:
        error = error.__context__
    return error
