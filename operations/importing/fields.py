"""What a file may say, by kind of import: each field with its type and the names that columns have for it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["customers", "contacts", "invoices", "payments", "tags"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
# line: one line of text; text: several; day, amount, count (a whole number), flag (yes or no); choice: one of its
# words; choices: several of them in one cell.
Type = Literal["line", "text", "day", "amount", "count", "flag", "choice", "choices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that a row may say. `names`: a column's likely names, likeliest first, as `plain` writes them.

    `words`: what a cell may say, as `plain` writes it, and what that means. `default`: said by an empty cell.
    """

    type: Type = "line"
    required: bool = False
    names: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _words(**meanings: str) -> dict[str, str]:
    return {word: meaning for meaning, words in meanings.items() for word in (plain(meaning), *_names(words))}


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[^a-z0-9]+")


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """A name or word as it is compared: small ASCII letters and figures, single spaces: N° Facture is n facture."""
    parted = _CAMEL.sub(" ", text.replace("°", " ").replace("œ", "oe"))
    letters = "".join(one for one in unicodedata.normalize("NFKD", parted) if not unicodedata.combining(one))
    return _BETWEEN.sub(" ", letters.lower()).strip()


YES: Final = frozenset(_names("yes,oui,true,vrai,1,x,y,o"))
NO: Final = frozenset(_names("no,non,false,faux,0,n,"))

_LANGUAGE = Field(
    type="choice",
    names=_names("language,langue,lang"),
    words=_words(fr="francais,french,fra,fre,fr fr", en="anglais,english,eng,en gb,en us"),
)
_COMPANY = Field(names=_names("company,societe,company code,code societe,business code,entite,division,seller,vendeur"))
_CURRENCY = Field(names=_names("currency,devise,invoice currency,code devise,currency code,monnaie"))
_CUSTOMER_NUMBER = _names(
    "customer number,customer,customer id,customer no,customer code,cust number,cust id,cust no,client,client number,"
    "client id,client code,code client,numero client,no client,n client,num client,compte client,code tiers,tiers,"
    "account number,account"
)
_INVOICE_NUMBER = _names(
    "invoice number,invoice no,invoice id,invoice,invoice ref,inv no,numero facture,numero de facture,no facture,"
    "n facture,n de facture,num facture,facture,reference facture,ref facture,code facture,numero piece,n piece,piece,"
    "document number,doc number,doc id,document"
)

FIELDS: Final[dict[Kind, dict[str, Field]]] = {
    "customers": {
        "number": Field(required=True, names=("number", "numero", "code", *_CUSTOMER_NUMBER)),
        "name": Field(
            required=True,
            names=_names(
                "name,nom,customer name,name customer,client name,nom client,nom du client,raison sociale,"
                "denomination,company name,libelle,intitule,vendor name"
            ),
        ),
        "kind": Field(
            type="choice",
            names=_names("kind,type,customer kind,customer type,type client,type de client,nature,categorie"),
            words=_words(
                professional="professionnel,pro,business,b2b,entreprise,societe,company",
                public_body="public,organisme public,collectivite,administration,b2g",
                consumer="particulier,individual,private,b2c,consommateur",
                unknown="inconnu",
            ),
        ),
        "language": _LANGUAGE,
        "email": Field(
            names=_names("email,e mail,mail,courriel,adresse mail,adresse email,adresse e mail,email address")
        ),
        "postal_address": Field(type="text", names=_names("postal address,address,adresse,adresse postale")),
        "street": Field(
            type="text", names=_names("street,rue,voie,adresse 1,adresse1,address line 1,address 1,address1")
        ),
        "postcode": Field(names=_names("postcode,post code,postal code,zip,zip code,code postal,cp")),
        "city": Field(names=_names("city,town,ville,localite,commune")),
        "country": Field(names=_names("country,pays,country code,code pays")),
        "payment_terms_days": Field(
            type="count",
            names=_names(
                "payment terms days,payment terms,terms,delai de paiement,delai paiement,delai,echeance jours"
            ),
        ),
        "payment_method": Field(
            names=_names(
                "payment method,mode de paiement,mode paiement,mode de reglement,mode reglement,moyen de paiement"
            )
        ),
        "excluded": Field(type="flag", names=_names("excluded,exclu,ne pas relancer,no reminder,no reminders")),
    },
    "contacts": {
        "customer": Field(required=True, names=_CUSTOMER_NUMBER),
        "name": Field(
            required=True, names=_names("name,nom,contact,contact name,nom contact,nom du contact,full name")
        ),
        "email": Field(
            required=True,
            names=_names(
                "email,e mail,mail,courriel,contact email,adresse mail,adresse email,adresse e mail,email address"
            ),
        ),
        "roles": Field(
            type="choices",
            names=_names("roles,role,fonction,usage"),
            words=_words(
                dunning="relance,relances,reminders,reminder", billing="facturation,factures,invoicing,invoices"
            ),
        ),
        "language": _LANGUAGE,
    },
    "invoices": {
        "company": _COMPANY,
        "customer": Field(required=True, names=_CUSTOMER_NUMBER),
        "number": Field(required=True, names=("number", "numero", *_INVOICE_NUMBER, "reference", "ref")),
        "issued_on": Field(
            type="day",
            required=True,
            names=_names(
                "issued on,invoice date,issue date,date facture,date de facture,date de la facture,date emission,"
                "date d emission,date piece,date de piece,document date,document create date,emission,emise le,date"
            ),
        ),
        "due_on": Field(
            type="day",
            names=_names(
                "due on,due date,echeance,date echeance,date d echeance,due in date,payment due,payment due date,"
                "net due date,date limite,date limite de paiement"
            ),
        ),
        "total": Field(
            type="amount",
            required=True,
            names=_names(
                "total,total ttc,montant ttc,ttc,invoice amount,invoice total,total amount,amount incl tax,"
                "gross amount,amount,montant,montant total,total open amount"
            ),
        ),
        "currency": _CURRENCY,
        "payment_method": Field(
            names=_names(
                "payment method,mode de paiement,mode paiement,mode de reglement,mode reglement,moyen de paiement"
            )
        ),
        "commercial_state": Field(
            type="choice",
            names=_names("commercial state,state,status,etat,statut,etat facture,statut facture,invoice status"),
            words=_words(
                open="ouverte,ouvert,a payer,due,unpaid,impayee,impaye,en cours,sent,envoyee,validee",
                disputed="litige,en litige,contestee,conteste,dispute,in dispute",
                refused="refusee,refuse,rejected,rejetee",
                cancelled="annulee,annule,canceled,void,annulation",
                paid="payee,paye,reglee,regle,soldee,solde,settled,closed,cloturee",
            ),
        ),
        "factored": Field(type="flag", names=_names("factored,affacturage,affacturee,factor,cedee")),
        "dunning_contact": Field(names=_names("dunning contact,contact relance,contact de relance")),
        "billing_contact": Field(names=_names("billing contact,contact facturation,contact de facturation")),
    },
    "payments": {
        "company": _COMPANY,
        "customer": Field(names=_CUSTOMER_NUMBER),
        "invoice": Field(names=_INVOICE_NUMBER),
        "amount": Field(
            type="amount",
            required=True,
            names=_names(
                "amount,montant,amount paid,paid amount,paid,montant paye,montant regle,montant reglement,"
                "payment amount,settled,settled amount,credit,total,invoice amount,montant ttc"
            ),
        ),
        "currency": _CURRENCY,
        "received_on": Field(
            type="day",
            required=True,
            names=_names(
                "received on,payment date,paid on,paid date,date paid,date paiement,date de paiement,date reglement,"
                "date de reglement,settled date,settlement date,clear date,clearing date,payee le,reglee le,"
                "date valeur,value date,date operation,date"
            ),
        ),
        "reference": Field(
            names=_names(
                "reference,ref,payment reference,reference paiement,reference reglement,payment id,transaction id,"
                "numero reglement,numero paiement,n reglement,n paiement"
            )
        ),
        "kind": Field(
            type="choice",
            names=_names("kind,nature"),
            words=_words(payment="paiement,reglement,virement,cheque", credit_note="avoir,credit,credit note"),
        ),
    },
    "tags": {
        "company": _COMPANY,
        "invoice": Field(names=("number", "numero", *_INVOICE_NUMBER)),
        "customer": Field(names=_CUSTOMER_NUMBER),
        "tag": Field(required=True, names=_names("tag,tags,etiquette,etiquettes,label,labels,libelle")),
    },
}
