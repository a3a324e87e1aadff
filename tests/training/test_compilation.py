"""`train.compile`: the network is compiled in place, or one line says that there is no compiler."""

import shutil

import pytest
import torch
from torch import nn

from viadet.project.errors import UserError
from viadet.training.compilation import compile_network

CPU = torch.device("cpu")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _no_code_of_earlier_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()


def test_without_a_compiler_one_line_says_what_to_install():
    from torch._inductor import config

    message = r"^train\.compile is true, but torch\.compile fails .*compiler.*; install a C\+\+ compiler"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(UserError, match=message) as error:
        compile_network(nn.Linear(2, 2), CPU)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler here")
def test_a_compiled_network_computes_the_same_and_keeps_the_names_of_its_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU()).eval()
    images, names = torch.rand(1, 3, 8, 8), list(network.state_dict())
    expected = network(images)
    compile_network(network, CPU)
    torch.testing.assert_close(network(images), expected)
    assert list(network.state_dict()) == names
