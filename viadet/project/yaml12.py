"""Reading YAML with PyYAML by the rules of YAML 1.2, as DVC reads params.yaml.

PyYAML alone keeps to YAML 1.1, in which `1e-4` is a word, `no` is false and `1:30` is 90.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

TAG = "tag:yaml.org,2002:"
PLAIN_TAGS = ("null", "merge", "timestamp", "value")  # read the same in both versions
PATTERNS = {  # DVC's, from ruamel.yaml; the first that matches decides
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "int": (r"[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", "-+0123456789"),
}


class Yaml12Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the numbers and booleans of YAML 1.2; a key that is there twice is an error."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(TAG) in PLAIN_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Make a table; PyYAML alone would take the last of several values."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != f"{TAG}merge"]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _construct_int(loader: Yaml12Loader, node: yaml.ScalarNode) -> int:
    digits = loader.construct_scalar(node).replace("_", "")
    sign = digits[0] if digits[0] in "+-" else ""
    bare = digits.removeprefix(sign)
    base = {"0b": 2, "0o": 8, "0x": 16}.get(bare[:2])
    return int(sign + (bare[2:] if base else bare), base or 10)


for _name, (_pattern, _first) in PATTERNS.items():
    Yaml12Loader.add_implicit_resolver(TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))
Yaml12Loader.add_constructor(f"{TAG}int", _construct_int)


def load_yaml(text: str) -> Any:
    """Read one YAML document; tags that would construct objects are refused.

    Raises:
        yaml.YAMLError: the text is not valid.
    """
    return yaml.load(text, Yaml12Loader)
