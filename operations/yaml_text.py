"""YAML as a person writes it, without its traps: every plain value is text, so NO stays Norway and 007 stays 007."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import yaml

from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 1024 * 1024
_DEEPEST: Final = 20
# What no block holds as it is: controls, tabs among them, breaks that YAML would make plain ones, no characters at all.
_NO_BLOCK: Final = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

Answer = TypeVar("Answer")


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

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 - as PyYAML declares it
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Unwelcome(key.start_mark, "a key must be a word")
            if key.value in seen:
                raise _Unwelcome(key.start_mark, "is given twice")
            seen.add(key.value)
        return node


class _Unwelcome(yaml.MarkedYAMLError):
    """Something that YAML knows and we do not take."""

    def __init__(self, mark: Any, problem: str) -> None:  # noqa: ANN401 - two classes of PyYAML
        super().__init__(problem=problem, problem_mark=mark)


class Block(str):
    """A text that `dump` writes as a block, as it does those of several lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they stand, spaces at a line's end too: in Markdown they break the line."""

    def analyze_scalar(self, scalar: str) -> Any:  # noqa: ANN401 - PyYAML's own class
        analysis = super().analyze_scalar(scalar)
        analysis.allow_block = not _NO_BLOCK.search(scalar)
        return analysis

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = "|" if text and (isinstance(text, Block) or "\n" in text) else None
        return self.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(Block, _Dumper.represent_text)


def load(text: str) -> object:
    """Read one YAML document: mappings, lists and text, no other type. Raises InvalidInput, naming line and column."""
    return _parsed(text, _Loader.get_single_data)


def read(text: str) -> yaml.Node | None:
    """Read one YAML document as nodes, which know their lines; None where there is none. Raises InvalidInput."""
    return _parsed(text, _Loader.get_single_node)


def dump(value: object) -> str:
    """Write mappings, lists and text as `load` reads them, keys in their order."""
    written: str = yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)
    return written


def _parsed(text: str, ask: Callable[[_Loader], Answer]) -> Answer:
    if len(text) > LARGEST:
        raise InvalidInput(field="file", value=f"{len(text)} characters", reason="is larger than 1 MiB")
    try:
        return ask(_Loader(text))
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        said = wrong.problem or wrong.context or "cannot be read"
        reason = said if isinstance(wrong, _Unwelcome) else f"is no YAML: {said}"
        # Not the line itself: a secret may stand in it.
        raise InvalidInput(field=place, value=None, reason=reason) from None
    except yaml.YAMLError as wrong:
        raise InvalidInput(field="file", value=None, reason=f"is no YAML: {str(wrong).splitlines()[0]}") from None
    except (ValueError, OverflowError):
        reason = "is no YAML: an escape or a version in it is beyond all numbers"
        raise InvalidInput(field="file", value=None, reason=reason) from None
