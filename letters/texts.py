"""The user's texts: checked when a rule is saved, rendered when a mail is made, harmless in between.

A text is Markdown with Jinja2 and the variables of letters.variables. See letters.vetting for what it may say and
letters.markup for how values stay values.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from letters.markup import Marked, mark, taken_apart, to_line
from letters.samples import SAMPLES
from letters.variables import template_variables
from letters.vetting import FILTERS, LOOP_FIELDS, MAX_SOURCE_BYTES, TESTS, TemplateError, vet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["MAX_SUBJECT_CHARACTERS", "TemplateError", "check_subject", "check_text", "render", "render_subject"]

MAX_SUBJECT_CHARACTERS: Final = 200
_MAX_RENDERED_CHARACTERS: Final = 512 * 1024
# A tag alone on its line leaves no line behind, so that a list made in a loop stays one list; a tag at the end of a
# sentence keeps its line break (Jinja2's own trim_blocks would eat it, and with it the paragraph).
_STANDING_ALONE = re.compile(r"^[ \t]*(\{%(?:(?!%\}|\{\{)[^\n])*)(?<![-+])%\}[ \t]*\n", re.MULTILINE)
# Controls other than tab and line breaks, lone surrogates, and the private marks of letters.markup.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ue000\ue001]")


class _OutputTooLargeError(Exception):
    """A text that would fill the memory: stopped while it is written."""


def _capped(parts: Iterable[str]) -> str:
    written: list[str] = []
    room = _MAX_RENDERED_CHARACTERS
    for part in parts:
        room -= len(part)
        if room < 0:
            raise _OutputTooLargeError
        written.append(part)
    return "".join(written)


class _Environment(ImmutableSandboxedEnvironment):
    """Names, fields of our own dicts, positions in lists and texts; nothing of Python's objects is in reach."""

    concat = staticmethod(_capped)

    def getattr(self, obj: Any, attribute: str) -> Any:  # noqa: ANN401 - Jinja2's own signature
        """Read a field of a dict or of a loop, never an attribute of an object."""
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in LOOP_FIELDS:
            return getattr(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # noqa: ANN401 - Jinja2's own signature
        """Take an entry of a list or a part of a text; never fall back to attributes."""
        try:
            return obj[argument]
        except (LookupError, TypeError, ValueError):
            return self.undefined(obj=obj, name=str(argument))


def _environment() -> _Environment:
    # Autoescape would escape for HTML before the Markdown is parsed: letters.markup escapes each value where it lands.
    environment = _Environment(undefined=jinja2.StrictUndefined, finalize=mark, optimized=False, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


_ENVIRONMENT: Final = _environment()


def check_text(source: str, *, field: str) -> None:
    """Refuse a header or footer that could fail later: syntax, unknown names, what texts may not do.

    Rendered once with each sample, so that a comparison of a text with a number fails now. Raises TemplateError.
    """
    for sample in SAMPLES:
        render(source, template_variables(sample), field=field)


def check_subject(source: str, *, field: str) -> None:
    """Refuse a subject as check_text does, and one that leaves nothing to read. Raises TemplateError."""
    for sample in SAMPLES:
        render_subject(source, template_variables(sample), field=field)


def render(source: str, variables: Mapping[str, Any], *, field: str) -> Marked:
    """Render a text with the variables of `template_variables`. Raises TemplateError for a text that cannot be."""
    template = _compiled(source, field)
    try:
        return taken_apart(template.render(variables))
    except _OutputTooLargeError:
        _refuse(field, source, "makes a text of more than 512 KiB")
    except (jinja2.TemplateRuntimeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        _refuse(field, source, f"cannot be rendered: {error}")


def render_subject(source: str, variables: Mapping[str, Any], *, field: str) -> str:
    """Render a subject: one line of at most 200 characters, cut with an ellipsis where values make it longer."""
    line = to_line(render(source, variables, field=field))
    if not line:
        _refuse(field, source, "leaves the subject empty")
    return line if len(line) <= MAX_SUBJECT_CHARACTERS else f"{line[: MAX_SUBJECT_CHARACTERS - 1].rstrip()}…"


@lru_cache(maxsize=512)
def _compiled(source: str, field: str) -> jinja2.Template:
    """Vet, then compile: nothing that was not vetted is ever compiled, whoever calls."""
    if len(source) > MAX_SOURCE_BYTES or len(source.encode("utf-8", "replace")) > MAX_SOURCE_BYTES:
        _refuse(field, source, "is longer than 64 KiB")
    forbidden = _FORBIDDEN.search(source)
    if forbidden is not None:
        line = source.count("\n", 0, forbidden.start()) + 1
        _refuse(field, source, f"the character U+{ord(forbidden[0]):04X} is not allowed", line=line)
    vet(_parsed(source, field), field=field)
    return _ENVIRONMENT.from_string(_without_empty_lines(source))


def _without_empty_lines(source: str) -> str:
    """Move the line break behind a lonely tag into the tag: it prints nothing there, and line numbers stay true."""
    return _STANDING_ALONE.sub(r"\1\n%}", source.replace("\r\n", "\n"))


def _parsed(source: str, field: str) -> nodes.Template:
    try:
        return _ENVIRONMENT.parse(_without_empty_lines(source))
    except jinja2.TemplateSyntaxError as error:
        _refuse(field, source, error.message or "is not a template", line=error.lineno)
    except RecursionError:
        _refuse(field, source, "nested too deeply")
    except ValueError:  # Python reads no number of more than 4,300 digits
        _refuse(field, source, "a number is too long")


def _refuse(field: str, source: str, reason: str, *, line: int | None = None) -> NoReturn:
    shown = source if line is None else source.split("\n")[line - 1].strip()
    raise TemplateError(field=field, value=shown, reason=reason, line=line) from None
