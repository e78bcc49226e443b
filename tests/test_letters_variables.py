from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from letters.samples import SAMPLE
from letters.variables import LISTS, VARIABLES, StatementLine, readable, template_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def names_of(variables: Mapping[str, Any]) -> Iterator[str]:
    """Every name that a text can use: fields of groups, and of the entries of lists, under their documented name."""
    for name, value in variables.items():
        match value:
            case dict():
                yield from (f"{name}.{field}" for field in value)
            case list():
                yield name
                yield from {f"{LISTS[name]}.{field}" for entry in value for field in entry}
            case _:
                yield name


def test_every_variable_is_documented_and_every_documented_one_exists() -> None:
    assert set(names_of(template_variables(SAMPLE))) == set(VARIABLES)


def test_every_variable_is_explained_in_both_languages() -> None:
    assert all(doc.fr.strip() and doc.en.strip() for doc in VARIABLES.values())


def test_templates_get_plain_values_only() -> None:
    def plain(value: object) -> bool:
        match value:
            case dict():
                return all(type(name) is str and plain(each) for name, each in value.items())
            case list():
                return all(map(plain, value))
            case _:
                return type(value) in {str, int, Decimal}

    assert plain(template_variables(SAMPLE))


def test_amounts_and_days_come_ready_to_read_and_ready_to_compare() -> None:
    invoice = template_variables(SAMPLE)["invoices"][0]
    assert invoice["balance"] == "1\u202f034,50\u00a0€"
    assert invoice["balance_amount"] == Decimal("1034.50")
    assert invoice["paid"] == "200,00\u00a0€"
    assert invoice["due_on"] == "1er octobre 2026"
    assert invoice["due_on_short"] == "01/10/2026"
    assert invoice["days_late"] == 54


def test_the_totals_add_up_over_the_mail() -> None:
    totals = template_variables(SAMPLE)["totals"]
    assert totals["due_amount"] == Decimal("13600.90")
    assert totals["numbers"] == "FA-2026-0117, FA-2026-0131, FA-2026-0140"
    assert (totals["count"], totals["days_late"], totals["oldest_due_on"]) == (3, 54, "1er octobre 2026")


def test_an_invoice_without_due_date_is_never_late() -> None:
    line = replace(SAMPLE.invoices[0], due_on=None)
    variables = template_variables(replace(SAMPLE, invoices=(line,)))
    assert variables["invoices"][0]["days_late"] == 0
    assert variables["invoices"][0]["due_on"] == ""
    assert variables["totals"]["oldest_due_on"] == ""


def test_an_invoice_that_falls_due_tomorrow_is_not_late() -> None:
    line = StatementLine(
        number="FA-1",
        issued_on=date(2026, 11, 1),
        due_on=date(2026, 11, 25),
        total=Decimal(1),
        balance=Decimal(1),
    )
    assert line.days_late(date(2026, 11, 24)) == 0


def test_the_reference_is_the_one_given_else_the_single_invoice_else_the_customer() -> None:
    assert template_variables(SAMPLE)["reference"] == "C-0042"
    assert template_variables(replace(SAMPLE, invoices=SAMPLE.invoices[:1]))["reference"] == "FA-2026-0117"
    assert template_variables(replace(SAMPLE, reference="RF18 5390"))["reference"] == "RF18 5390"


def test_what_no_reader_could_see_is_taken_out_of_a_value() -> None:
    assert readable("Le Goff\x00\x1b[31m") == "Le Goff\ufffd\ufffd[31m"
    assert readable("invoice\u202egnp.exe") == "invoicegnp.exe"
    assert readable("a\ue0000\ue001b") == "a\ufffd0\ufffdb"
    assert readable("12 quai\r\n44000 Nantes\tFR") == "12 quai\n44000 Nantes FR"
    assert readable("Société 中文 😀") == "Société 中文 😀"
