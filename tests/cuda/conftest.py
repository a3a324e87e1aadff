"""The device of each test, and the table of what they found, for an issue: `pytest -m cuda -n 0`.

Speed is measured by `python -m benchmarks.gpu`.
"""

import platform

import pytest
import torch

from viadet.network.device import describe_device


def pytest_generate_tests(metafunc):
    """Run each test on CUDA, and tiny on the CPU, so that its code works when the first GPU comes."""
    if "device" in metafunc.fixturenames:
        cuda = pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.slow])
        metafunc.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), cuda], indirect=True)


@pytest.fixture
def device(request):
    """The device's name; what `train.deterministic` sets for the whole process is undone."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA GPU here")
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def measured(record_property, request):
    """A function that adds a row to the table: what, its value."""

    def add(what: str, value: object) -> None:
        record_property("measured", (request.node.callspec.params["device"], what, str(value)))

    return add


def pytest_terminal_summary(terminalreporter):
    """Print what was measured on CUDA."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    rows = [value for name, value in properties if name == "measured" and value[0] == "cuda"]
    if rows:
        gpu, system = describe_device(torch.device("cuda")), platform.platform()
        terminalreporter.write_line(f"\n| {gpu}, torch {torch.__version__}, {system} | |\n|---|---|")
        for _, what, value in dict.fromkeys(map(tuple, rows)):
            terminalreporter.write_line(f"| {what} | {value} |")
