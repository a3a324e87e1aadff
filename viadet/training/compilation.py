"""torch.compile of the network, for `train.compile`."""

import torch
from torch import nn

from viadet.project.errors import UserError


def compile_network(network: nn.Module, device: torch.device) -> None:
    """Have torch.compile translate a network in place at its first use; parameters and their names stay.

    Raises:
        UserError: torch.compile does not work here; most often there is no compiler.
    """
    try:
        torch.compile(_times_two)(torch.ones(8, device=device))
    except Exception as error:  # each backend has its own, from a missing compiler to a missing header
        reason = " ".join(str(error).partition("\n\n")[0].split())[:200]  # torch's advice on debugging follows
        raise UserError(
            f"train.compile is true, but torch.compile fails on this machine ({reason}); install a C++ compiler "
            "(g++ or clang; on CUDA also Triton), or set train.compile to false"
        ) from error
    network.compile()


def _times_two(values: torch.Tensor) -> torch.Tensor:
    return 2 * values
