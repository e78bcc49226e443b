"""Parse one document in a process of its own, within limits of memory and time: bytes in, JSON out.

Whatever a document does to a parser (a PDF whose stream unpacks to gigabytes, an XML tree of millions of nodes) ends
this process and no other. It is started by operations.einvoices.read alone, with nothing in its environment.
"""

from __future__ import annotations

import json
import resource
import sys
from io import BytesIO
from typing import TYPE_CHECKING, Final, cast

from operations.einvoices.limits import CPU_S, LARGEST, MEMORY_BYTES
from operations.einvoices.syntaxes import NAMESPACES, OTHERS, SYNTAXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lxml.etree import _Element

# Nobody's invoice says any one thing so often, or at such length.
_MOST_VALUES: Final = 50
_LONGEST_VALUE: Final = 5000
_MOST_ATTACHED: Final = 50
_BEGINNING: Final = 1000
# The names that Factur-X 1.0, ZUGFeRD 2 and XRechnung give to the invoice in a PDF, which may carry other files too.
_NAMES: Final = ("factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml")


class Refused(Exception):  # noqa: N818 - what the document is
    """The document is not read, for this reason."""


def limited() -> None:
    """Bind this process: so much address space and processor time, and no file to write."""
    for what, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(what, (most, most))


def said_by(content: bytes) -> dict[str, object]:
    """What a document says: its format, whether it came in a PDF, and each field's texts. Raises Refused."""
    if not content.startswith(b"%PDF-"):
        if b"<" not in content[:_BEGINNING]:
            raise Refused("is neither a PDF nor XML")
        return {"pdf": False, **_said(_tree(content))}
    found: list[dict[str, object]] = []
    others: list[str] = []
    for attached in _attached(content):
        try:
            found.append(_said(_tree(attached)))
        except Refused as refused:
            others.append(str(refused))
    if not found:
        why = f"whose attached file {others[0]}" if others else "without an electronic invoice in it"
        raise Refused(f"is a PDF {why}")
    if any(one != found[0] for one in found):
        raise Refused("holds several electronic invoices that differ")
    return {"pdf": True, **found[0]}


def _attached(content: bytes) -> Iterator[bytes]:
    """The XML files attached to a PDF: those named as an invoice's is, else all."""
    from pypdf import PdfReader  # noqa: PLC0415 - 0.2 s, and only for PDFs
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted:
            raise Refused("is an encrypted PDF")
        named = [one for one in reader.attachment_list if one.name.lower().endswith(".xml")]
        if len(named) > _MOST_ATTACHED:
            raise Refused(f"is a PDF with more than {_MOST_ATTACHED} XML files attached")
        invoices = [one for one in named if one.name.lower() in _NAMES] or named
        # Both generations of ZUGFeRD use the same name but for its capitals, so it is the root that tells.
        for one in invoices:
            yield one.content
    except (PyPdfError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # pypdf raises what Python does where a file breaks the format's rules.
        raise Refused("is a PDF that cannot be read") from error


def _tree(content: bytes) -> _Element:
    from lxml import etree  # noqa: PLC0415 - after the limits are set

    if len(content) > LARGEST:
        raise Refused("is larger than 10 MiB")
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise Refused("is not well-formed XML") from error
    # No syntax of invoices has a document type; entities and external references begin with one.
    if root.getroottree().docinfo.internalDTD is not None:
        raise Refused("declares a document type, which no electronic invoice has")
    return root


def _said(root: _Element) -> dict[str, object]:
    if root.tag not in SYNTAXES:
        name = str(root.tag).rpartition("}")[2]
        raise Refused(OTHERS.get(name, f"is XML, and no electronic invoice: its root is {name[:60]}"))
    syntax, fields = SYNTAXES[root.tag]
    return {"syntax": syntax, "fields": {name: list(_texts(root, path)) for name, path in fields.items()}}


def _texts(root: _Element, path: str) -> Iterator[str]:
    found = cast("list[_Element]", root.xpath(path, namespaces=NAMESPACES))
    if len(found) > _MOST_VALUES:
        raise Refused(f"says the same thing {len(found)} times")
    for element in found:
        text = "".join(map(str, element.itertext())).strip()
        if len(text) > _LONGEST_VALUE:
            raise Refused("says something at a length that no invoice does")
        if text:
            yield text


def main() -> None:
    """Read a document from standard input, and write what it says, or why it is refused, to standard output."""
    limited()
    try:
        answer: dict[str, object] = {"said": said_by(sys.stdin.buffer.read(LARGEST + 1))}
    except Refused as refused:
        answer = {"refused": str(refused)}
    except MemoryError:
        answer = {"refused": f"takes more than {MEMORY_BYTES // 1024**2} MiB to read"}
    except Exception as error:  # noqa: BLE001 - this process's one boundary; the message may quote the document
        answer = {"refused": f"could not be read ({type(error).__name__})"}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
