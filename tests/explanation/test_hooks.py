import pytest
import torch
from torch import nn

from viadet.explanation.hooks import forward_hooks


def test_hooks_are_called_within_the_block_and_removed_even_after_an_error():
    module, called = nn.Identity(), []
    with pytest.raises(ValueError), forward_hooks([(module, lambda *_: called.append("hook"))]):
        module(torch.zeros(1))
        raise ValueError
    module(torch.zeros(1))
    assert called == ["hook"]
