"""Where the two syntaxes of EN 16931 keep what is read of an invoice: UN/CEFACT CII (D16B and later) and UBL 2.1.

One XPath expression a field, from the document's root; the BT and BG numbers are the standard's terms. Whatever an
expression finds is taken as text, in the document's order. None of it is judged here.
"""

from __future__ import annotations

from typing import Final

_CII: Final = "urn:un:unece:uncefact:data:standard:"
_UBL: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
NAMESPACES: Final = {
    "ram": f"{_CII}ReusableAggregateBusinessInformationEntity:100",
    "rsm": f"{_CII}CrossIndustryInvoice:100",
    "udt": f"{_CII}UnqualifiedDataType:100",
    "cac": f"{_UBL}CommonAggregateComponents-2",
    "cbc": f"{_UBL}CommonBasicComponents-2",
}

_TRADE: Final = "rsm:SupplyChainTradeTransaction"
_AGREED: Final = f"{_TRADE}/ram:ApplicableHeaderTradeAgreement"
_SETTLED: Final = f"{_TRADE}/ram:ApplicableHeaderTradeSettlement"
_SUMS: Final = f"{_SETTLED}/ram:SpecifiedTradeSettlementHeaderMonetarySummation"
_MEANS: Final = f"{_SETTLED}/ram:SpecifiedTradeSettlementPaymentMeans"
_TERMS: Final = f"{_SETTLED}/ram:SpecifiedTradePaymentTerms"


def _cii_party(name: str, place: str) -> dict[str, str]:
    party = f"{_AGREED}/ram:{place}"
    return {
        f"{name}": f"{party}/ram:Name",
        f"{name}_trading": f"{party}/ram:SpecifiedLegalOrganization/ram:TradingBusinessName",
        f"{name}_ids": f"{party}/ram:ID | {party}/ram:GlobalID | {party}/ram:SpecifiedLegalOrganization/ram:ID",
        f"{name}_vat": f"{party}/ram:SpecifiedTaxRegistration/ram:ID[@schemeID='VA']",
        f"{name}_email": f"{party}/ram:DefinedTradeContact/ram:EmailURIUniversalCommunication/ram:URIID",
        f"{name}_endpoint": f"{party}/ram:URIUniversalCommunication/ram:URIID[@schemeID='EM']",
    }


def _ubl_party(name: str, place: str) -> dict[str, str]:
    party = f"cac:{place}/cac:Party"
    legal = f"{party}/cac:PartyLegalEntity"
    return {
        f"{name}": f"{legal}/cbc:RegistrationName",
        f"{name}_trading": f"{party}/cac:PartyName/cbc:Name",
        f"{name}_ids": f"{party}/cac:PartyIdentification/cbc:ID | {legal}/cbc:CompanyID",
        f"{name}_vat": f"{party}/cac:PartyTaxScheme[cac:TaxScheme/cbc:ID='VAT']/cbc:CompanyID",
        f"{name}_email": f"{party}/cac:Contact/cbc:ElectronicMail",
        f"{name}_endpoint": f"{party}/cbc:EndpointID[@schemeID='EM']",
    }


def _ubl(kind: str) -> dict[str, str]:
    total = "cac:LegalMonetaryTotal"
    return {
        "number": "cbc:ID",  # BT-1
        "type": f"cbc:{kind}TypeCode",  # BT-3
        "issued": "cbc:IssueDate",  # BT-2
        # BT-9; a credit note has no DueDate of its own.
        "due": "cbc:DueDate | cac:PaymentMeans/cbc:PaymentDueDate | cac:PaymentTerms/cbc:PaymentDueDate",
        "terms": "cac:PaymentTerms/cbc:Note",  # BT-20
        "currency": "cbc:DocumentCurrencyCode",  # BT-5
        "total": f"{total}/cbc:TaxInclusiveAmount",  # BT-112
        "prepaid": f"{total}/cbc:PrepaidAmount",  # BT-113
        "payable": f"{total}/cbc:PayableAmount",  # BT-115
        "means": "cac:PaymentMeans/cbc:PaymentMeansCode",  # BT-81
        "iban": "cac:PaymentMeans/cac:PayeeFinancialAccount/cbc:ID",  # BT-84
        "preceding": "cac:BillingReference/cac:InvoiceDocumentReference/cbc:ID",  # BT-25
        **_ubl_party("seller", "AccountingSupplierParty"),  # BG-4
        **_ubl_party("buyer", "AccountingCustomerParty"),  # BG-7
    }


CII: Final = {
    "number": "rsm:ExchangedDocument/ram:ID",
    "type": "rsm:ExchangedDocument/ram:TypeCode",
    "issued": "rsm:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString",
    "due": f"{_TERMS}/ram:DueDateDateTime/udt:DateTimeString",
    "terms": f"{_TERMS}/ram:Description",
    "currency": f"{_SETTLED}/ram:InvoiceCurrencyCode",
    "total": f"{_SUMS}/ram:GrandTotalAmount",
    "prepaid": f"{_SUMS}/ram:TotalPrepaidAmount",
    "payable": f"{_SUMS}/ram:DuePayableAmount",
    "means": f"{_MEANS}/ram:TypeCode",
    "iban": f"{_MEANS}/ram:PayeePartyCreditorFinancialAccount/ram:IBANID"
    f" | {_MEANS}/ram:PayeePartyCreditorFinancialAccount/ram:ProprietaryID",
    "preceding": f"{_SETTLED}/ram:InvoiceReferencedDocument/ram:IssuerAssignedID",
    **_cii_party("seller", "SellerTradeParty"),
    **_cii_party("buyer", "BuyerTradeParty"),
}

# By the root's expanded name: what the syntax is called, and its fields.
SYNTAXES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    f"{{{NAMESPACES['rsm']}}}CrossIndustryInvoice": ("cii", CII),
    f"{{{_UBL}Invoice-2}}Invoice": ("ubl", _ubl("Invoice")),
    f"{{{_UBL}CreditNote-2}}CreditNote": ("ubl-credit-note", _ubl("CreditNote")),
}
# What looks like an e-invoice and is another thing, by its root's local name.
OTHERS: Final = {
    "CrossIndustryDocument": "is a ZUGFeRD 1 invoice, a format that EN 16931 replaced: ask for Factur-X, CII or UBL",
    "FatturaElettronica": "is an Italian FatturaPA invoice: only Factur-X, CII and UBL are read",
    "SCRDMCCBDACIOMessageStructure": "is an order (Order-X), no invoice",
    "CrossDomainAcknowledgementAndResponse": "is an answer of a platform, no invoice",
    "Order": "is an order, no invoice",
    "ApplicationResponse": "is an answer of a platform, no invoice",
}
