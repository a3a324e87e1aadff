"""Values as DVC reads them."""

import pytest
from dvc.utils.serialize import load_yaml as load_yaml_as_dvc
from ruamel.yaml import YAMLError

from viadet.project.params import load_yaml

TEXT = "a: [1e-4, 2E-3, .5, 0777, 0o17, no, on, yes, 1:30, true, ~]\nb: &base {c: 1, d: 2}\ne:\n  <<: *base\n  c: 3\n"


def test_values_are_those_that_dvc_reads(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    values = load_yaml(TEXT)
    assert values == load_yaml_as_dvc(str(tmp_path / "params.yaml"))
    assert values["a"] == [0.0001, 0.002, 0.5, 777, 15, "no", "on", "yes", "1:30", True, None]
    assert values["e"] == {"c": 3, "d": 2}


def test_a_repeated_key_is_an_error():
    with pytest.raises(YAMLError, match='duplicate key "lr"'):
        load_yaml("lr: 1\nlr: 2\n")
