"""Handling Ctrl-C and SIGTERM for a while."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call a function, with the signal's number, instead of what Ctrl-C and SIGTERM do outside of the block."""
    handlers = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
