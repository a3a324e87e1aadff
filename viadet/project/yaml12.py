"""Reading YAML by the rules of YAML 1.2, with the library by which DVC reads params.yaml.

PyYAML keeps to YAML 1.1, in which `1e-4` is a word, `no` is false and `1:30` is 90.
"""

from typing import Any

from ruamel.yaml import YAML


def load_yaml(text: str) -> Any:
    """Read one YAML document; repeated keys and tags that would construct objects are refused.

    Raises:
        ruamel.yaml.YAMLError: the text is not valid.
    """
    return YAML(typ="safe").load(text)
