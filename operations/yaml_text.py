"""YAML as a person writes it, without its traps: every plain value is text, so NO stays Norway and 007 stays 007."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Hashable

LARGEST: Final = 1024 * 1024
_DEEPEST: Final = 20


class _Loader(yaml.SafeLoader):
    """Builds mappings, lists and text; refuses what a reader would not see: a key twice, an alias, a tag."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, object]]] = {}  # noqa: RUF012 - as PyYAML declares it
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _Unwelcome(event.start_mark, "an alias is not taken: write the value out")
        if getattr(event, "tag", None) is not None:
            raise _Unwelcome(event.start_mark, "a tag is not taken: every value is text")
        if self._depth == _DEEPEST:
            raise _Unwelcome(event.start_mark, "is nested too deeply")
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002 - as PyYAML declares it
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Unwelcome(key.start_mark, "a key must be a word")
            if key.value in seen:
                raise _Unwelcome(key.start_mark, "is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Unwelcome(yaml.MarkedYAMLError):
    """Something that YAML knows and we do not take."""

    def __init__(self, mark: Any, problem: str) -> None:  # noqa: ANN401 - two classes of PyYAML
        super().__init__(problem=problem, problem_mark=mark)


def load(text: str) -> object:
    """Read one YAML document: mappings, lists and text, no other type. Raises InvalidInput, naming the line."""
    if len(text) > LARGEST:
        raise InvalidInput(field="file", value=f"{len(text)} characters", reason="is larger than 1 MiB")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, stricter than its own
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        number = mark.line if mark else 0
        said = wrong.problem or wrong.context or "cannot be read"
        reason = said if isinstance(wrong, _Unwelcome) else f"is no YAML: {said}"
        raise InvalidInput(field=f"line {number + 1}", value=_line(text, number), reason=reason) from None
    except yaml.YAMLError as wrong:
        raise InvalidInput(field="file", value=text[:40], reason=f"is no YAML: {str(wrong).splitlines()[0]}") from None


def dump(value: object) -> str:
    """Write mappings, lists and text as `load` reads them, keys in their order."""
    written: str = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=120)
    return written


def _line(text: str, number: int) -> str:
    lines = text.splitlines()
    return lines[number].strip() if number < len(lines) else ""
