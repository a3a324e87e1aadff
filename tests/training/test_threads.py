"""A training with a number of threads gives the same bytes on any number of cores."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import SMALL, write_params

from stages import train
from viadet.network.weights import WEIGHTS_NAME


def trained(threads: int, cores: set[int]) -> str:
    """Train here in a process that has only these cores; the sha256 of the weights."""
    write_params(SMALL | {"train.threads": threads, "train.epochs": 1, "train.validate_every": 1})
    code = f"import os; os.sched_setaffinity(0, {cores}); from stages import train; train.main()"
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # more threads than cores would wait in a loop
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return hashlib.sha256(Path(train.MODEL_DIR, WEIGHTS_NAME).read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.needs("affinity")
def test_a_training_with_two_threads_gives_the_same_bytes_on_one_core(sample):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("this process has a single core")
    assert trained(2, {min(cores)}) == trained(2, cores) != trained(1, cores)
