"""Changes of colours against torchvision's, and the same bytes of samples by code for any x86 CPU."""

import os
import subprocess
import sys

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from viadet.augmentation.colours import (
    change_brightness,
    change_contrast,
    change_saturation,
    random_distortion,
    random_jitter,
    turn_hue,
)


@pytest.fixture(scope="module")
def image():
    """Grey, the corners of the colour cube, and all between them, more than one chunk."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (3, 300, 400), dtype=torch.uint8, generator=generator)
    image[:, :50] = image[:1, :50]
    image[:, 50:100] = torch.randint(2, (3, 50, 400), dtype=torch.uint8, generator=generator) * 255
    image[:, 100:150] //= 32
    return image


@pytest.mark.parametrize(
    ("ours", "theirs", "amounts"),
    [
        (change_brightness, F.adjust_brightness, (0.7, 1.0, 1.3)),
        (change_contrast, F.adjust_contrast, (0.5, 1.0, 1.5)),
        (change_saturation, F.adjust_saturation, (0.5, 1.0, 1.5)),
        (turn_hue, F.adjust_hue, (-0.5, -0.3, -0.05, 0.0, 0.05, 1 / 6, 0.37, 0.5)),
    ],
)
def test_changes_are_those_of_torchvision_but_for_rounding(image, ours, theirs, amounts):
    for amount in amounts:
        changed = image.clone()
        ours(changed, amount)
        difference = (changed.int() - theirs(image, amount).int()).abs()
        assert int(difference.max()) <= 1
        assert float((difference > 0).float().mean()) < 0.02


def test_each_change_of_a_sample_has_the_given_probability_and_contrast_comes_first_or_last():
    torch.manual_seed(0)
    names = [[change.func.__name__ for change in random_distortion(0.5)] for _ in range(400)]
    for name in ("change_brightness", "change_contrast", "change_saturation", "turn_hue"):
        assert 160 < sum(name in drawn for drawn in names) < 240
    both = [drawn for drawn in names if {"change_contrast", "turn_hue"} <= set(drawn)]
    assert 0.3 < sum(drawn[-1] == "change_contrast" for drawn in both) / len(both) < 0.7
    assert random_distortion(0.0) == []
    assert [change.func.__name__ for change in random_distortion(1.0)].index("turn_hue") >= 2


def test_a_pasted_object_is_changed_in_any_order_within_its_ranges():
    torch.manual_seed(0)
    drawn = [random_jitter(0.05) for _ in range(60)]
    assert len({tuple(change.func.__name__ for change in changes) for changes in drawn}) == 6
    turns = [change.keywords["turns"] for changes in drawn for change in changes if change.func is turn_hue]
    assert -0.05 <= min(turns) < -0.03 < 0.03 < max(turns) <= 0.05


SAMPLES = """
import hashlib
import torch
from viadet.augmentation.augment import augment
from viadet.augmentation.copy_paste import CutOuts
from viadet.augmentation.objects import Scene
from viadet.project.params import AugmentParams

changes = dict(scale=[0.5, 2.0], flip=0.5, colour=0.9, channels=0.5, copy_paste=6, cluster=0.5, mosaic=0.5)
generator = torch.Generator().manual_seed(0)
image = torch.randint(256, (3, 170, 230), dtype=torch.uint8, generator=generator)
outline = torch.tensor([[20.0, 20.0], [150.0, 30.0], [140.5, 120.0], [30.0, 100.0]])
scene = Scene(image, [outline], [1])
cut_outs = CutOuts([scene], [((230, 170), [outline], [1])])
digest = hashlib.sha256()
for seed in range(12):
    torch.manual_seed(seed)
    sample = augment([scene] * 2, 0, cut_outs, AugmentParams(**changes, plain_epochs=0), (192, 160), (1, 2, 3))
    digest.update(sample.image.numpy().tobytes() + sample.boxes_xyxy.numpy().tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_samples_have_the_same_bytes_by_the_code_for_any_x86_cpu():
    """Also without AVX2 and by any of MKL's code: nothing of a sample is a sum of products whose order could differ."""
    printed = set()
    for capability, mkl in (("default", "COMPATIBLE"), ("avx2", "COMPATIBLE"), ("avx512", "AUTO")):
        environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "MKL_CBWR": mkl}
        result = subprocess.run([sys.executable, "-c", SAMPLES], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        printed.add(result.stdout)
    assert len(printed) == 1
