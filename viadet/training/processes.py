"""Training in several processes with torch.distributed: one for each GPU, on one machine or on several."""

import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
from torch import distributed

from viadet.project.errors import UserError, escape_unprintable, os_error_reason
from viadet.project.params import TrainParams

TIMEOUT = timedelta(hours=2)  # of waiting for another process; all wait while the first one validates
ECHO_SECONDS = 20.0  # until a broken connection is reported; the process that caused it has been reported by then
SHUTDOWN_SECONDS = 10  # until a process that does not end is killed

Value = TypeVar("Value")


class Group(NamedTuple):
    """The processes of a training, and which of them this one is."""

    rank: int = 0  # of this process
    count: int = 1  # on all machines
    local_rank: int = 0  # of this process on its machine
    local_count: int = 1  # on this machine

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that prints, validates and writes."""
        return self.rank == 0

    def share_of(self, batch: list[Value]) -> list[Value]:
        """Select this process's part of a batch."""
        size = len(batch) // self.count
        return batch[self.rank * size : (self.rank + 1) * size]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Average a tensor over the processes; they all have the same result."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Make a value in the first process only, and give all others a copy."""
        if self.count == 1:
            return make()
        values = [make() if self.is_first else None]
        distributed.broadcast_object_list(values)
        return values[0]

    def by_machine(self, make: Callable[[], Value]) -> Value:
        """Make a value in one process of each machine, and give the others of that machine a copy."""
        if self.count == 1:
            return make()
        value = make() if self.local_rank == 0 else None
        values = [None] * self.count
        distributed.all_gather_object(values, value)
        return value if self.local_rank == 0 else values[self.rank - self.local_rank]  # no copy where it was made

    def check_same_training(self, key: str) -> None:
        """Compare the `training_key` of all processes, so that all of them end if one differs.

        Raises:
            UserError: they differ.
        """
        keys = [key] * self.count
        if self.count > 1:
            distributed.all_gather_object(keys, key)
        if len(set(keys)) > 1:
            raise UserError(
                "the machines do not have the same params, code, data and libraries; compare `git rev-parse HEAD`, "
                "`git status` and `dvc status` on all of them"
            )


ALONE = Group()


def count_processes(params: TrainParams) -> int:
    """Count the processes that a training takes on this machine.

    With `auto` these are as many as there are CUDA GPUs, or the most of them that can share a batch; one on a CPU.

    Raises:
        UserError: there are fewer GPUs, or the processes can't share a batch evenly.
    """
    gpus = torch.cuda.device_count() if params.device in ("auto", "cuda") else 0
    if params.processes == "auto":
        count = max((number for number in range(1, gpus + 1) if params.batch_size % number == 0), default=1)
        if count < gpus:
            print(f"training on {count} of {gpus} GPUs, as more can't share batches of {params.batch_size} images")
        return count
    if gpus and params.processes > gpus:
        raise UserError(f"train.processes is {params.processes}, but torch sees {gpus} GPUs; set it to {gpus} or auto")
    check_shares(params.batch_size, params.processes)
    return params.processes


def check_shares(batch_size: int, count: int) -> None:
    """Check that so many processes can share a batch of so many images evenly.

    Raises:
        UserError: they can't; names the params to change.
    """
    if batch_size % count:
        divisors = ", ".join(str(number) for number in range(1, batch_size + 1) if batch_size % number == 0)
        raise UserError(
            f"{count} processes can't share a batch of {batch_size} images evenly; set train.batch_size to a multiple "
            f"of {count}, or train.processes to one of {divisors}"
        )


def run_in_processes(main: Callable[[], None], params: TrainParams) -> None:
    """Run `main` here, or in as many processes as `train.processes` says; what torchrun started is one of several.

    Args:
        main: a function of a module; calls `join_group`.
        params: the `train` section.

    Raises:
        UserError: a process failed or was killed; all others have ended then.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # set by torchrun
        run_as_one_of_several(main)
    elif (count := count_processes(params)) > 1:
        start_processes(main, count)
    else:
        main()


def start_processes(main: Callable[[], None], count: int) -> None:
    """Start processes with the launcher that is behind torchrun, and wait for them."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # of the errors' texts
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            run_id="train",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        logging.disable(logging.CRITICAL)  # the launcher reports each failure in a page of its own
        # nor does anyone need to know which semaphores a killed process left; Python removes them
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker:UserWarning")
        try:
            elastic_launch(config, run_as_one_of_several)(main)
        except ChildFailedError as error:
            raise failure_of(error, count) from None
        except SignalException as error:
            if error.sigval.name == "SIGINT":
                raise KeyboardInterrupt from None
            sys.exit(128 + error.sigval)
        finally:
            logging.disable(logging.NOTSET)


def failure_of(error: Exception, count: int) -> Exception:
    """Turn the launcher's error into one that says why the first process to fail did so."""
    rank, failure = error.get_first_failure()
    if isinstance(failure.message, dict):  # the process raised an error
        kind, _, text = failure.message["message"].partition(": ")
        is_users = kind == UserError.__name__
        return UserError(text) if is_users else RuntimeError(failure.message["extraInfo"]["py_callstack"])
    how = f"was killed ({failure.signal_name()})" if failure.exitcode < 0 else f"ended with {failure.exitcode}"
    return UserError(
        f"process {rank + 1} of {count} {how}, which ended the training; if it was not you, the memory may have been "
        "too small; run `dvc repro` again to continue"
    )


def run_as_one_of_several(main: Callable[[], None]) -> None:
    """Run `main` in a process that a launcher started; the launcher's process reports its errors."""
    escape_unprintable()
    has_failed = True
    try:
        main()
        has_failed = False
    except OSError as error:
        raise UserError(f"{os_error_reason(error)} and run `dvc repro` again") from error
    except RuntimeError:
        time.sleep(ECHO_SECONDS)  # it may only say that another process has failed
        raise
    finally:
        # Gloo's threads would end in an abort; NCCL would wait for the other processes
        if distributed.is_initialized() and not (has_failed and torch.cuda.is_initialized()):
            distributed.destroy_process_group()


def join_group(device: torch.device) -> Group:
    """Connect this process with the others, and give it a GPU or a share of the CPU's threads; none if it is alone.

    Call it after `pick_device`: torch decides at the first computation how it computes.

    Raises:
        UserError: the device can't train in several processes, or has fewer GPUs than this machine has processes.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")  # as torchrun and its launcher set them
    defaults = ("0", "1", "0", "1")
    group = Group(*(int(os.environ.get(name, value)) for name, value in zip(names, defaults, strict=True)))
    if group.count == 1:
        return ALONE
    if device.type == "cuda":
        if group.local_count > (gpus := torch.cuda.device_count()):
            raise UserError(f"{group.local_count} processes on a machine where torch sees {gpus} GPUs; start {gpus}")
        torch.cuda.set_device(group.local_rank)
    elif device.type == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // group.local_count))
    else:
        raise UserError(f"train.device {device.type} can't train in several processes; set train.processes to 1")
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    if not group.is_first:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        warnings.simplefilter("ignore")
    return group
