"""Pages of HTML that need no network: their common frame, page.html, and the pictures in them."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup


def render_template(name: str, script: str = "", **values: Any) -> str:
    """Render a template of this folder, which extends page.html.

    Args:
        name: of the file.
        script: JavaScript, the only one that the browser will run on the page.
        values: of the template's variables; escaped, unless they are Markup.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(name).render(script=Markup(script), script_hash=script_hash, **values)


def picture_uri(data: bytes, media_type: str) -> str:
    """Write the bytes of a picture as a data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
