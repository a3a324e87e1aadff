"""The command line: its help, usage errors, what it loads, and how a command ends when interrupted."""

import re
import shlex
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points

import pytest
from click.testing import CliRunner
from projects import REPOSITORY

from viadet.commands.app import main

HELP_OF_ALL = """
import sys
from viadet.commands.app import main
for arguments in ([], *([name] for name in main.commands)):
    main([*arguments, "--help"], prog_name="viadet", standalone_mode=False)
slow = {"torch", "dvc", "vl_convert", "jinja2", "matplotlib", "pydantic", "numpy"} & set(sys.modules)
sys.exit(f"loaded: {slow}" if slow else 0)
"""


def test_help_of_all_commands_loads_nothing_slow():
    result = subprocess.run([sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Usage: viadet") == 1 + len(main.commands)


def test_the_script_and_the_module_are_the_same():
    (script,) = entry_points(group="console_scripts", name="viadet")
    assert script.load() is main
    module = subprocess.run([sys.executable, "-m", "viadet", "--help"], capture_output=True, text=True, cwd=REPOSITORY)
    assert module.stdout == CliRunner().invoke(main, ["--help"], prog_name="viadet").output
    assert {"compare", "experiments", "repeat"} <= set(re.findall(r"^  (\w+)  ", module.stdout, re.M))


@pytest.mark.parametrize("name", main.commands)
def test_help_tells_what_is_read_and_written_and_its_examples_are_valid(name):
    text = CliRunner().invoke(main, [name, "--help"], prog_name="viadet").output
    assert re.search(r"^  Reads +\S", text, re.M)
    assert re.search(r"^  Writes +\S", text, re.M)
    examples = re.findall(rf"^    viadet {name} (.*)", text, re.M)
    assert examples
    for example in examples:
        main.commands[name].make_context(name, shlex.split(example))  # raises a usage error


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(main, ["nosuch"], prog_name="viadet")
    assert result.exit_code == 2
    assert result.output.splitlines()[-1] == "Error: No such command 'nosuch'."


ENDLESS_PROGRAM = """
from viadet.commands import programs
from viadet.commands.app import main
programs.PROGRAMS["dvc"] = ["sh", "-c", "echo begin > log; exec sleep 60"]  # DVC itself may end before the interrupt
main(["compare"])
"""


@pytest.mark.needs("signals")
def test_an_interrupted_command_ends_in_one_line(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    command = [sys.executable, "-c", ENDLESS_PROGRAM]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "log").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (output, errors) == ("", "compare: interrupted; run the same command again to continue\n")
    assert process.returncode == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.yaml", "log"]


INTERRUPTED_PROGRAM = """
from viadet.commands import programs
from viadet.project.errors import one_line_errors
tidy = "trap 'sleep 0.5; echo end >> log; exit 130' INT; echo begin >> log; while :; do sleep 0.1; done"
programs.PROGRAMS["dvc"] = ["sh", "-c", tidy]
with one_line_errors("repeat", "run the same command again"):
    programs.run_visibly("dvc")
"""


@pytest.mark.needs("signals")
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupted_dvc_ends_before_the_command_does(tmp_path, number, status, word):
    log = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED_PROGRAM], cwd=tmp_path, stderr=subprocess.PIPE)
    while process.poll() is None and not log.exists():
        time.sleep(0.01)
    process.send_signal(number)  # to this process alone
    assert process.communicate(timeout=60)[1].decode().splitlines()[-1].startswith(f"repeat: {word}; ")
    assert process.returncode == status
    assert log.read_text(encoding="utf-8") == "begin\nend\n"
