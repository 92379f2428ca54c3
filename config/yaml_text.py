"""YAML as settings are written in: a key that stands twice is a fault, not the last one's value."""

from collections.abc import Iterator

import yaml


def read_yaml(text: str) -> tuple[object, list[str]]:
    """Return what a text holds, and a line for each key that stands in a mapping once more.

    Raises:
        yaml.YAMLError: It is none.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return yaml.safe_load(text), list(_repeated(node, "", set()))


def _repeated(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # an alias of what was looked at
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, each in enumerate(node.value):
            yield from _repeated(each, f"{path}{place}.", seen)
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{path}{key.value}", key.start_mark.line + 1
            if name in lines:
                yield f"{name}: stands twice, in lines {lines[name]} and {line}"
            lines.setdefault(name, line)
            yield from _repeated(value, f"{name}.", seen)
