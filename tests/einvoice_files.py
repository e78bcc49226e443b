"""Electronic invoices as tests make them: CII and UBL with everyday values, and a PDF that carries files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from pypdf import PdfWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = (
    'xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100" '
    'xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100" '
    'xmlns:udt="urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100"'
)


def cii(
    *,
    number: str = "FA-2026-0100",
    type_code: str = "380",
    due: str = "20261101",
    terms: str = "30 jours net",
    payable: str = "100.00",
    total: str = "120.00",
    currency: str = "EUR",
    means: tuple[str, ...] = ("30",),
    buyer: str = "Dupont SARL",
    buyer_id: str = "C-1",
    seller: str = "Nord SAS",
    seller_siren: str = "",
    preceding: str = "",
    head: str = "",
    extra: str = "",
) -> bytes:
    """A CII invoice; an empty `due` leaves the day out. `head` stands before the root, `extra` in the settlement."""
    day = f'<ram:DueDateDateTime><udt:DateTimeString format="102">{due}</udt:DateTimeString></ram:DueDateDateTime>'
    paid = "".join(
        f"<ram:SpecifiedTradeSettlementPaymentMeans><ram:TypeCode>{code}</ram:TypeCode>"
        "<ram:PayeePartyCreditorFinancialAccount><ram:IBANID>FR76 3000 6000 0112 3456 7890 189</ram:IBANID>"
        "</ram:PayeePartyCreditorFinancialAccount></ram:SpecifiedTradeSettlementPaymentMeans>"
        for code in means
    )
    reference = f"<ram:IssuerAssignedID>{preceding}</ram:IssuerAssignedID>"
    before = f"<ram:InvoiceReferencedDocument>{reference}</ram:InvoiceReferencedDocument>"
    legal = f"<ram:SpecifiedLegalOrganization><ram:ID>{seller_siren}</ram:ID></ram:SpecifiedLegalOrganization>"
    return f"""{head}<rsm:CrossIndustryInvoice {_NAMES}>
<rsm:ExchangedDocument><ram:ID>{number}</ram:ID><ram:TypeCode>{type_code}</ram:TypeCode>
<ram:IssueDateTime><udt:DateTimeString format="102">20261002</udt:DateTimeString></ram:IssueDateTime>
</rsm:ExchangedDocument>
<rsm:SupplyChainTradeTransaction><ram:ApplicableHeaderTradeAgreement>
<ram:SellerTradeParty><ram:Name>{seller}</ram:Name>{legal if seller_siren else ""}</ram:SellerTradeParty>
<ram:BuyerTradeParty>{f"<ram:ID>{buyer_id}</ram:ID>" if buyer_id else ""}<ram:Name>{buyer}</ram:Name>
<ram:DefinedTradeContact><ram:EmailURIUniversalCommunication><ram:URIID>achats@dupont.example</ram:URIID>
</ram:EmailURIUniversalCommunication></ram:DefinedTradeContact></ram:BuyerTradeParty>
</ram:ApplicableHeaderTradeAgreement><ram:ApplicableHeaderTradeSettlement>
<ram:InvoiceCurrencyCode>{currency}</ram:InvoiceCurrencyCode>{paid}{extra}
<ram:SpecifiedTradePaymentTerms><ram:Description>{terms}</ram:Description>{day if due else ""}
</ram:SpecifiedTradePaymentTerms>
<ram:SpecifiedTradeSettlementHeaderMonetarySummation><ram:GrandTotalAmount>{total}</ram:GrandTotalAmount>
<ram:TotalPrepaidAmount>20.00</ram:TotalPrepaidAmount><ram:DuePayableAmount>{payable}</ram:DuePayableAmount>
</ram:SpecifiedTradeSettlementHeaderMonetarySummation>{before if preceding else ""}
</ram:ApplicableHeaderTradeSettlement></rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>
""".encode()


def ubl(
    *, kind: str = "Invoice", type_code: str = "380", due: str = "2026-11-01", number: str = "FA-2026-0100"
) -> bytes:
    """A UBL invoice or credit note."""
    schema = "urn:oasis:names:specification:ubl:schema:xsd:"
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<{kind} xmlns="{schema}{kind}-2" xmlns:cac="{schema}CommonAggregateComponents-2"
 xmlns:cbc="{schema}CommonBasicComponents-2">
<cbc:ID>{number}</cbc:ID><cbc:IssueDate>2026-10-02</cbc:IssueDate>{f"<cbc:DueDate>{due}</cbc:DueDate>" if due else ""}
<cbc:{kind}TypeCode>{type_code}</cbc:{kind}TypeCode><cbc:DocumentCurrencyCode>EUR</cbc:DocumentCurrencyCode>
<cac:AccountingSupplierParty><cac:Party><cac:PartyLegalEntity><cbc:RegistrationName>Nord SAS</cbc:RegistrationName>
</cac:PartyLegalEntity></cac:Party></cac:AccountingSupplierParty>
<cac:AccountingCustomerParty><cac:Party><cac:PartyName><cbc:Name>Dupont</cbc:Name></cac:PartyName><cac:PartyLegalEntity>
<cbc:RegistrationName>Dupont SARL</cbc:RegistrationName></cac:PartyLegalEntity></cac:Party>
</cac:AccountingCustomerParty>
<cac:PaymentMeans><cbc:PaymentMeansCode>30</cbc:PaymentMeansCode></cac:PaymentMeans>
<cac:PaymentTerms><cbc:Note>30 jours net</cbc:Note></cac:PaymentTerms>
<cac:LegalMonetaryTotal><cbc:TaxInclusiveAmount currencyID="EUR">120</cbc:TaxInclusiveAmount>
<cbc:PayableAmount currencyID="EUR">100.5</cbc:PayableAmount></cac:LegalMonetaryTotal>
</{kind}>""".encode()


def pdf(attached: Mapping[str, bytes]) -> bytes:
    """A PDF of one blank page that carries these files."""
    writer = PdfWriter()
    writer.add_blank_page(width=100, height=100)
    for name, content in attached.items():
        writer.add_attachment(name, content)
    written = BytesIO()
    writer.write(written)
    return written.getvalue()
