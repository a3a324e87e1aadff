"""Getting a file from a mirror or its own address, whole or not at all."""

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from stages.detection.cli import StageError
from stages.detection.files import replaced_file

MIRROR_VARIABLE = "BALLOON_MIRROR"
TIMEOUT_S = (4, 30)  # to connect, and between two pieces of the body
TRIES = 3  # of a body that breaks off
# Short waits: whoever has no network should learn so within seconds.
RETRY = Retry(total=3, connect=1, status_forcelist=(429, 500, 502, 503, 504), backoff_factor=0.5, backoff_max=4)
CHUNK_BYTES = 1 << 18


def is_url(source: str) -> bool:
    """Tell an http(s) address from a path."""
    return urlsplit(source).scheme in ("http", "https")


def fetch_file(url: str, target: Path) -> None:
    """Get the file at `url`, from $BALLOON_MIRROR (a folder or an address) if that holds a file of the same name.

    Raises:
        StageError: neither has it; `target` is not written.
    """
    name = Path(urlsplit(url).path).name
    failures = []
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror and not is_url(mirror):
        path = Path(mirror).expanduser() / name
        if path.is_file():
            with replaced_file(target) as temporary:
                shutil.copyfile(path, temporary)
            return
        failures.append(f"{path} does not exist")
    for address in ([f"{mirror.rstrip('/')}/{name}"] if mirror and is_url(mirror) else []) + [url]:
        try:
            download(address, target)
            return
        except requests.RequestException as error:
            failures.append(f"{address}: {_reason(error)}")
    raise StageError(
        f"can't get {name}: {'; '.join(failures)}. Set {MIRROR_VARIABLE} to a folder or address that holds {name}, "
        "or run the sample, which needs no network: dvc exp run -S recipe=sample"
    )


def download(url: str, target: Path) -> None:
    """Download with a progress bar, retries and timeouts.

    Raises:
        requests.RequestException: in the end it did not work; `target` is not written.
    """
    with requests.Session() as session, replaced_file(target) as temporary:
        session.mount("http://", HTTPAdapter(max_retries=RETRY))
        session.mount("https://", HTTPAdapter(max_retries=RETRY))
        for attempt in range(1, TRIES + 1):
            try:
                _stream(session, url, temporary)
                return
            except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
                broke_off = temporary.exists()  # otherwise nothing arrived, and the adapter has tried again already
                if attempt == TRIES or not broke_off:
                    raise
                tqdm.write(f"{url}: {_reason(error)}, trying again")


def _stream(session: requests.Session, url: str, target: Path) -> None:
    with session.get(url, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        # A proxy may compress the body; then its length is not the file's.
        encoded = "Content-Encoding" in response.headers
        length = None if encoded else int(response.headers.get("Content-Length", 0)) or None
        with target.open("wb") as file, tqdm(total=length, unit="B", unit_scale=True, desc=target.name[1:30]) as bar:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
            if length is not None and file.tell() != length:
                raise requests.exceptions.ChunkedEncodingError(f"got {file.tell()} of {length} bytes")


def _reason(error: requests.RequestException) -> str:
    """Say in a few words what a person can act on."""
    text = str(error)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.exceptions.RetryError):
        return "the server keeps answering with errors"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in text.lower():
        return "no answer in time"
    for sign, reason in (
        ("NameResolution", "its name can't be resolved (no network?)"),
        ("Connection refused", "connection refused"),
        ("unreachable", "network unreachable"),
        ("IncompleteRead", "the download breaks off"),
        ("bytes", "the download breaks off"),
        ("CERTIFICATE", "its certificate is not trusted"),
    ):
        if sign in text:
            return reason
    return "no connection"
