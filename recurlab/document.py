"""A YAML text as plain values, or what is wrong with it. The only place that knows YAML.

Every job of a workflow reads some, so nothing else is imported here. What a text may hold is bounded before any value
of it is made: a text of a few hundred characters can stand for billions of nodes.
"""

import re
from collections import Counter
from typing import Any

import yaml

from recurlab.files import MOST_WHOLE, read_bytes

MOST_BYTES = 2**18  # of a file; the longest experiment here has 12,385
MOST_NODES = 20_000  # aliases written out; the most here are 1,945
MOST_DEPTH = 30  # the most here is 9; libyaml takes quadratic time for brackets, and its stack overflows at 100,000


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML with four repairs: a repeated key is noted (PyYAML keeps the last one silently), 1e-3 is a number as
    in YAML 1.2 (PyYAML reads a text), a date stays the text it is (no setting is a date), and a whole number has at
    most 64 bits.
    """

    def construct_mapping(self, node, deep=False):
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<")
        line = node.start_mark.line + 1
        repeated = [f"key '{key}' stands {n} times in the mapping of line {line}" for key, n in keys.items() if n > 1]
        self.repeated = [*getattr(self, "repeated", []), *repeated]
        return super().construct_mapping(node, deep)

    def whole(self, node) -> int:
        value = self.construct_yaml_int(node)
        if not -MOST_WHOLE <= value < MOST_WHOLE:
            raise ValueError(f"line {node.start_mark.line + 1}: a whole number of more than 64 bits")
        return value


_FLOAT, _DATE, _WHOLE = (f"tag:yaml.org,2002:{name}" for name in ("float", "timestamp", "int"))
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _DATE]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT, re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
_Loader.add_constructor(_WHOLE, _Loader.whole)


def parse(text: str) -> tuple[Any, list[str]]:
    """A YAML text as plain values, and what is wrong with it: size, syntax, tags or repeated keys."""
    try:
        _refuse_unfit(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data(), getattr(loader, "repeated", [])
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        return None, [" ".join(str(error).split())]
    except (ValueError, TypeError) as error:  # a number too long to be read, a list as a key
        return None, [f"not readable as YAML ({error})"]


def _refuse_unfit(text: str) -> None:
    """ValueError for a text that is nested too deeply, has a tag, or too many nodes with its aliases written out."""
    sizes: dict[str, int] = {}  # anchor -> nodes
    holding: list[tuple[str, int]] = []  # from the document inwards: anchor, and the nodes before it
    total = 0
    for event in yaml.parse(text, _Loader):
        place = f"line {event.start_mark.line + 1}"
        if getattr(event, "tag", None) is not None:
            raise ValueError(f"{place}: the tag {event.tag}; wanted texts, numbers, true, false, null, lists, mappings")
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = holding.pop()
            sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            total += 1
        if isinstance(event, yaml.CollectionStartEvent):
            holding.append((event.anchor, total - 1))
            sizes[event.anchor] = MOST_NODES  # an alias inside of what it stands for would have no end
        if len(holding) > MOST_DEPTH or total > MOST_NODES:
            raise ValueError(f"{place}: more than {MOST_DEPTH} levels or {MOST_NODES:,} values, aliases written out")


def load(path) -> tuple[dict, list[str]]:
    """The mapping in a YAML file and what is wrong with its text; {} if it holds none."""
    try:
        content, problems = parse(read_bytes(path, MOST_BYTES).decode())
    except UnicodeDecodeError as error:
        return {}, [f"not readable ({error})"]
    except (OSError, ValueError) as error:
        return {}, [f"not readable ({str(error).removeprefix(f'{path}: ')})"]
    if isinstance(content, dict):
        return content, problems
    return {}, problems or [f"got {repr(content)[:60]}, wanted a mapping of keys to values"]
