"""Forward hooks that are removed again, even after an error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def forward_hooks(hooks: Iterable[tuple[nn.Module, Callable]]) -> Iterator[None]:
    """Call each hook after every forward pass of its module, within the block only.

    Args:
        hooks: modules with their hooks, as `register_forward_hook` takes them.
    """
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
