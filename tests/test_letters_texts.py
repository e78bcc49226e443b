from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letters.markup import STYLES, to_html, to_text
from letters.samples import SAMPLE
from letters.texts import TemplateError, check_subject, check_text, render, render_subject
from letters.variables import LISTS, VARIABLES, template_variables
from workflow.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "payloads"
VALUES = template_variables(SAMPLE)


def html(source: str, values: Mapping[str, Any] = VALUES) -> str:
    """The fragment without its styles. No value can spell one: quotes are escaped."""
    fragment = to_html(render(source, values, field="header"))
    for style in STYLES.values():
        fragment = fragment.replace(f' style="{style}"', "")
    return fragment


def text(source: str, values: Mapping[str, Any] = VALUES) -> str:
    return to_text(render(source, values, field="header"))


def named(name: str) -> dict[str, Any]:
    return template_variables(replace(SAMPLE, customer=replace(SAMPLE.customer, name=name)))


def refusal(source: str) -> TemplateError:
    with pytest.raises(TemplateError) as refused:
        check_text(source, field="header")
    return refused.value


def payloads(name: str) -> list[str]:
    path = PAYLOADS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside this checkout")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_every_documented_variable_can_be_used(name: str) -> None:
    if name in LISTS:
        check_text("{{ " + name + " | length }}", field="header")
    elif name.partition(".")[0] in LISTS.values():
        check_text("{% for invoice in invoices %}{{ " + name + " }}{% endfor %}", field="header")
    else:
        check_text("{{ " + name + " }}", field="header")


@pytest.mark.parametrize(
    ("source", "line", "nearest"),
    [
        ("{{ customer.nmae }}", 1, "customer.name"),
        ("Bonjour,\n\n{% for invoice in invoices %}\n{{ invoice.numbr }}\n{% endfor %}", 4, "invoice.number"),
        ("{% for line in invoices %}{{ line.balanc }}{% endfor %}", 1, "invoice.balance"),
        ("{{ compagny.name }}", 1, "company"),
        ("{{ totals.du }}", 1, "totals.due"),
        ("{% if totals.cuont > 1 %}x{% endif %}", 1, "totals.count"),
        ("{{ today | uper }}", 1, "upper"),
        ("{{ customer }}", 1, "customer.number"),
    ],
)
def test_a_misspelt_name_is_refused_with_its_line_and_the_name_meant(source: str, line: int, nearest: str) -> None:
    refused = refusal(source)
    assert (refused.field, refused.line, refused.nearest) == ("header", line, nearest)
    assert f"line {line}" in str(refused)
    assert nearest in str(refused)


def test_an_invoice_is_known_inside_its_loop_only() -> None:
    assert refusal("{{ invoice.number }}").line == 1


def test_a_syntax_error_names_its_line() -> None:
    refused = refusal("Bonjour,\n\n{% if totals.count %}")
    assert isinstance(refused, InvalidInput)
    assert refused.line == 3


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'A' * 10**9 }}",
        "{{ 'A' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000s' % 1 }}",
        "{{ today + today }}",
        "{{ today ~ today }}",
        "{{ '%1000000000s' | format(1) }}",
        "{{ today | center(1000000000) }}",
        "{{ today | replace('1', today) }}",
        "{{ today.ljust(1000000000) }}",
        "{{ range(10) }}",
        "{{ lipsum(100000) }}",
        "{{ [0] * 100 }}",
        "{% set a = today %}",
        "{% macro a() %}{% endmacro %}",
        "{% include 'layout.html.j2' %}",
        "{% import 'layout.html.j2' as x %}",
        "{% extends 'layout.html.j2' %}",
        "{% block a %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% call today() %}{% endcall %}",
        "{% with a = today %}{% endwith %}",
        "{% for i in invoices %}{% for j in invoices %}x{% endfor %}{% endfor %}",
        "{% for i in invoices recursive %}x{% endfor %}",
        "{% for a, b in invoices %}x{% endfor %}",
        "{% for letter in today %}{{ letter }}{% endfor %}",
        "{% for invoice in invoices %}x{% endfor %}" * 11,
        "{{ today | safe }}",
        "{{ today | default(*invoices) }}",
        "{{ today.__class__ }}",
        "{{ today['__class__'] }}",
        "{{ today | attr('__class__') }}",
        "{{ invoices | map(attribute='number') }}",
        "{{ company.items }}",
        "{{ company['name'] }}",
        "{% for i in invoices %}{{ loop.cycle('a') }}{% endfor %}",
        "{% for i in invoices %}{{ loop._iterable }}{% endfor %}",
        "{{ self }}",
        "{{ cycler }}",
        "{{ 1 is divisibleby(2) }}",
        "{{ level > today }}",
        "{{ " + "(" * 20_000 + " }}",
        "{{ " + "9" * 5_000 + " }}",
        "{{ level" + " and level" * 5_000 + " }}",
        "{{ not " * 40 + "level }}",
        "{% if level %}" * 40 + "{% endif %}" * 40,
        "x" * (64 * 1024 + 1),
        "é" * (32 * 1024 + 1),
        "Bonjour\x00",
        "\ue0000\ue001",
    ],
    ids=lambda source: source[:40],
)
def test_what_could_reach_out_or_fill_the_memory_is_refused_when_saved(source: str) -> None:
    assert refusal(source).field == "header"


def test_a_text_can_do_what_letters_need() -> None:
    source = (
        "{% if totals.count > 1 and totals.due_amount >= 100 %}{{ company.name | upper }}{% elif level is odd %}x"
        "{% else %}y{% endif %} {{ 'a' if contact.name else 'b' }} {{ customer.number[:3] }} {{ invoices[0].number }}"
        " {{ (invoices | last).number }} {% for i in invoices if i.days_late > 30 %}{{ loop.index }}{% endfor %}"
        " {{ contact.name | default('-') }} {{ -level }} {{ not level }} {{ 'F' in customer.number }} {{ none }}"
    )
    check_text(source, field="header")
    assert text(source) == "ATELIERS MORVAN a C-0 FA-2026-0117 FA-2026-0140 12 Anne Le Goff -1 False False"


def test_a_missing_entry_is_an_error_never_an_empty_space() -> None:
    with pytest.raises(TemplateError, match="cannot be rendered"):
        render("{{ invoices[7].number }}", VALUES, field="footer")


def test_an_endless_text_stops_at_its_cap() -> None:
    many = template_variables(replace(SAMPLE, invoices=tuple(SAMPLE.invoices) * 300))
    with pytest.raises(TemplateError, match="512 KiB"):
        render("{% for invoice in invoices %}" + "x" * 2_000 + "{% endfor %}", many, field="header")


@pytest.mark.parametrize("payload", range(51))
def test_template_injections_are_refused_or_stand_there_as_text(payload: int) -> None:
    source = payloads("ssti_payloadbox.txt")[payload]
    try:
        check_text(source, field="header")
    except TemplateError:
        return
    assert "{{" not in source  # written for another engine: to this one it is text
    assert text(source) == to_text(render(source, {}, field="header"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("[x](javascript:1)", "[x](javascript:1)"),
        ("*a* _b_ `c`", "*a* _b_ `c`"),
        ("# Titre", "# Titre"),
        ("1. un", "1. un"),
        ('"><img src=x onerror=1>', "&quot;&gt;&lt;img src=x onerror=1&gt;"),
        ("{{7*7}}", "{{7*7}}"),
        ("![x](https://x.example/p.gif)", "![x](https://x.example/p.gif)"),
        ("<https://x.example>", "&lt;https://x.example&gt;"),
        ("&lt;", "&amp;lt;"),
        ("\\*", "\\*"),
    ],
)
def test_a_value_stands_in_the_mail_exactly_as_it_is(name: str, shown: str) -> None:
    assert html("{{ customer.name }}", named(name)) == f"<p>{shown}</p>\n"
    assert html("**{{ customer.name }}**", named(name)) == f"<p><strong>{shown}</strong></p>\n"
    assert text("{{ customer.name }}", named(name)) == name


@given(st.text(max_size=60))
def test_no_value_can_make_markup(name: str) -> None:
    shown = html("Bonjour {{ customer.name }}.", named(name))
    assert shown.replace("<br>", "").count("<") == 2
    assert shown.startswith("<p>Bonjour ")
    assert shown.endswith(".</p>\n")


def test_naughty_strings_stand_in_the_mail_as_text() -> None:
    for name in payloads("blns.txt"):
        assert html("{{ customer.name }}", named(name)).replace("<br>", "").count("<") == 2
        check_header = render_subject("{{ customer.name }}!", named(name), field="subject")
        assert "\n" not in check_header
        assert len(check_header) <= 200


def test_a_value_with_line_breaks_keeps_them() -> None:
    assert html("{{ company.address }}") == "<p>12 quai de la Fosse<br>44000 Nantes</p>\n"
    assert text("{{ company.address }}") == "12 quai de la Fosse\n44000 Nantes"


def test_every_element_of_a_letter_carries_its_own_look() -> None:
    source = "# A\n\nB [c](https://x.example)\n\n- d\n\n3. e\n\n> f"
    fragment = to_html(render(source, VALUES, field="header"))
    for tag in ("h1", "p", "ul", "li", "blockquote"):
        assert f'<{tag} style="{STYLES[tag]}">' in fragment
    assert f'<a style="{STYLES["a"]}" href="https://x.example">' in fragment
    assert f'<ol style="{STYLES["ol"]}" start="3">' in fragment


def test_raw_html_and_images_are_shown_not_obeyed() -> None:
    assert html("<b>x</b> ![x](https://x.example/p.gif)").count("<") == 4
    assert "<img" not in html("![x](https://x.example/p.gif)")
    assert "<b>" not in html("<b>x</b>")
    assert "<pre" not in html("    x\n\n```\ny\n```")


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("[site](https://x.example/é?a=1&b=2)", "https://x.example/%C3%A9?a=1&amp;b=2"),
        ("[site](HTTP://x.example)", "HTTP://x.example"),
        ("[us](mailto:{{ company.email }})", "mailto:compta@ateliers-morvan.example"),
        ("[site]({{ company.web }})", "https://ateliers-morvan.example"),
        (
            "[{{ company.name }}](https://x.example/?c={{ customer.name }})",
            "https://x.example/?c=Menuiserie%20Le%20Goff",
        ),
    ],
)
def test_links_lead_to_web_and_mail(source: str, address: str) -> None:
    assert f'<a href="{address}">' in html(source)


@pytest.mark.parametrize(
    "source",
    [
        "[x](javascript:alert(1))",
        "[x](data:text/html,x)",
        "[x](file:///etc/passwd)",
        "[x](//x.example)",
        "[x]({{ customer.name }})",
        "[x](java{{ customer.name }})",
        "<javascript:alert(1)>",
    ],
)
@pytest.mark.parametrize("name", ["javascript:alert(1)", "script:alert(1)", ' " onclick="x', "//x.example"])
def test_links_lead_nowhere_else(source: str, name: str) -> None:
    assert "href" not in html(source, named(name))


def test_a_value_cannot_leave_its_link() -> None:
    shown = html("[x](https://x.example/{{ customer.name }})", named('" onclick="alert(1)\n> <b>'))
    assert shown.count('"') == 2
    assert shown.count("<") == 4


def test_a_list_made_in_a_loop_is_one_list() -> None:
    source = "Factures :\n\n{% for invoice in invoices %}\n- {{ invoice.number }}\n{% endfor %}\n\nMerci"
    assert text(source) == "Factures :\n\n- FA-2026-0117\n- FA-2026-0131\n- FA-2026-0140\n\nMerci"
    assert html(source).count("<li>FA-") == 3


def test_a_tag_at_the_end_of_a_sentence_keeps_its_paragraph() -> None:
    assert (
        text("Bonjour{% if contact.name %} {{ contact.name }}{% endif %}\n\nMerci") == "Bonjour Anne Le Goff\n\nMerci"
    )


def test_the_plain_text_is_wrapped_but_amounts_are_not_broken() -> None:
    wrapped = text("- " + "mot " * 17 + "montant {{ totals.due }} à régler " + "mot " * 17)
    assert all(len(line) <= 78 for line in wrapped.split("\n"))
    assert all(line.startswith(("- ", "  ")) for line in wrapped.split("\n"))
    assert VALUES["totals"]["due"] in wrapped


@given(st.text(alphabet=" ab-\u00a0é", max_size=400))
def test_wrapping_loses_no_word(source: str) -> None:
    assert "".join(text(source).split()) == "".join(source.split())


def test_a_subject_is_one_line() -> None:
    assert render_subject("Relance\n {{ company.address }}", VALUES, field="subject") == (
        "Relance 12 quai de la Fosse 44000 Nantes"
    )


def test_a_long_name_does_not_stop_a_reminder() -> None:
    subject = render_subject("Relance {{ customer.name }}", named("n" * 10_000), field="subject")
    assert len(subject) == 200
    assert subject.endswith("…")


def test_a_subject_that_says_nothing_is_refused() -> None:
    with pytest.raises(TemplateError, match="subject: leaves the subject empty"):
        check_subject("{% if level > 3 %}x{% endif %}", field="subject")
