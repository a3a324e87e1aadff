"""Scalars and tables as DVC reads them."""

import math

import pytest
import yaml
from dvc.utils.serialize import load_yaml as load_yaml_as_dvc

from viadet.project.yaml12 import load_yaml

TABLE = """
    0 7 -7 +7 0777 08 0o17 0x1F 0b101 1_000
    1e-4 1e4 2E-3 12e03 1.5e3 1.e5 1. .5 -.5 +.5 .5e-1 .5e1 1.0e+3 1_0.5 0.0
    .inf -.inf .nan 1:30 1:30.5 1.2.3 1e 1e+ e5 _1
    true True TRUE false False FALSE yes no on off y n Yes NO
    null Null ~ nothing 2026-11-25 '1e-4' "no"
"""
SCALARS = TABLE.split()


@pytest.fixture
def as_dvc(tmp_path):
    def read(text):
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return load_yaml_as_dvc(str(path))

    return read


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_dvc_takes_it_for(as_dvc, scalar):
    text = f"value: {scalar}\n"
    value, expected = load_yaml(text)["value"], as_dvc(text)["value"]
    assert type(value) is type(expected)
    assert value == expected or (math.isnan(value) and math.isnan(expected))


def test_the_scalars_on_which_yaml_1_1_differs_are_in_the_table():
    differing = [scalar for scalar in SCALARS if repr(yaml.safe_load(scalar)) != repr(load_yaml(scalar))]
    assert {"1e-4", "no", "on", "1:30", "0777", "0o17"} <= set(differing)


@pytest.mark.parametrize(
    "text",
    [
        "a: &base {b: 1, c: 2}\nd:\n  <<: *base\n  c: 3\n",
        "a:\n- 1e-4\n- b: no\n",
        "a: ''\nb:\nc: |\n  1e-4\n",
        "a: [yes, 2e3, null]\n",
    ],
)
def test_a_table_is_what_dvc_takes_it_for(as_dvc, text):
    assert load_yaml(text) == as_dvc(text)


def test_a_key_that_is_there_twice_is_an_error():
    with pytest.raises(yaml.YAMLError, match="'lr' is there twice"):
        load_yaml("lr: 1\nlr: 2\n")
