"""Text files are opened with an encoding everywhere, as Windows' own is not UTF-8; ruff's PLW1514 sees only some."""

import ast

import pytest
from projects import REPOSITORY

FOLDERS = ("viadet", "stages", "benchmarks", "tests", "docs", ".ci")
METHODS = {"read_text": 0, "write_text": 1, "open": 0}  # of paths, and the place of the encoding or mode
OTHER_OPENERS = {"Image", "archive", "os", "zipfile", "tarfile"}  # whose `open` is another one


def opens_text_without_encoding(call: ast.Call) -> bool:
    """Tell whether a call opens a file as text, by the method's name, and leaves the encoding to the system."""
    method = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if method not in METHODS or {"encoding", None} & {keyword.arg for keyword in call.keywords}:
        return False
    if isinstance(call.func, ast.Name):
        return method == "open" and not is_binary(call.args[1:])
    if getattr(call.func.value, "id", None) in OTHER_OPENERS:
        return False
    return not is_binary(call.args) if method == "open" else len(call.args) <= METHODS[method]


def is_binary(mode: list[ast.expr]) -> bool:
    """Tell whether the first of these arguments is a mode with a b, or no mode at all: then it is no file's `open`."""
    value = getattr(mode[0], "value", "b") if mode else "r"
    return not isinstance(value, str) or "b" in value


@pytest.mark.parametrize("folder", FOLDERS)
def test_text_files_are_opened_with_an_encoding(folder):
    without = []
    for path in (REPOSITORY / folder).rglob("*.py"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.Call) and opens_text_without_encoding(node):
                line = lines[node.end_lineno - 1]
                without += [] if "noqa: PLW1514" in line else [f"{path.relative_to(REPOSITORY)}:{node.lineno}"]
    assert without == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("path.read_text()", True),
        ("path.write_text(text)", True),
        ("path.open('w')", True),
        ("open(name)", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("path.open('rb')", False),
        ("Image.open(path)", False),
    ],
)
def test_calls_without_an_encoding_are_found(code, expected):
    assert opens_text_without_encoding(ast.parse(code).body[0].value) == expected
