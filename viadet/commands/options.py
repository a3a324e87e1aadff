"""Options that several commands have."""

from collections.abc import Callable
from pathlib import Path

import click


def model_option(help_text: str) -> Callable[[Callable], Callable]:
    """Add `--model`, which may be given several times: click would take the last of several without a word."""
    return click.option(
        "--model",
        "models",
        type=click.Path(path_type=Path),
        multiple=True,
        default=["data/model"],
        show_default=True,
        help=help_text,
    )
