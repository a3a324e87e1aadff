"""A training with a number of threads gives the same bytes on any number of cores."""

import os
import re
import subprocess
import sys

import pytest

TRAIN = """
import os, sys
cores, *counts = sys.argv[1:]
os.sched_setaffinity(0, map(int, cores.split(",")))
from projects import SMALL, write_params
from stages import train
from viadet.network.weights import WEIGHTS_NAME
from viadet.project.files import sha256_of
for count in counts:
    write_params(SMALL | {"train.threads": int(count), "train.epochs": 1, "train.validate_every": 1})
    train.main()
    print("sha256", sha256_of(train.MODEL_DIR / WEIGHTS_NAME))
"""


def trained(cores: set[int], *counts: int) -> list[str]:
    """Train here with each number of threads, in a process that has only these cores; the sha256s of the weights."""
    command = [sys.executable, "-c", TRAIN, ",".join(map(str, cores)), *map(str, counts)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"OMP_WAIT_POLICY": "passive"}  # more threads than cores would wait in a loop
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return re.findall("^sha256 (.+)$", result.stdout, re.M)


@pytest.mark.slow
@pytest.mark.needs("affinity")
def test_a_training_with_two_threads_gives_the_same_bytes_on_one_core(sample):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("this process has a single core")
    two, one = trained(cores, 2, 1)
    assert one != two
    assert trained({min(cores)}, 2) == [two]
