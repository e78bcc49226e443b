"""What a check of rules may find, in the words that a person reads: how bad it is, what is wrong, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from workflow.facts import Language

Severity = Literal["error", "warning", "info"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A reminder of a chase: the level that the invoice has reached by it, on which day, by which rule.

    `rule` is None where it is not to be named.
    """

    level: int
    on: date
    rule: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chase:
    """What would become of an imaginary invoice that nobody pays. `traits`: in what it is not a plain one."""

    due_on: date
    traits: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know about a rule, or about all of a company's (`rule` is empty). `code` is a key of FINDINGS.

    `values` fill the words: texts, numbers and days. `examples` show it on imaginary invoices.
    """

    code: str
    company: str
    rule: str = ""
    values: Mapping[str, object]
    examples: tuple[Chase, ...] = ()

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return FINDINGS[self.code].severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A kind of finding: how bad it is, what is wrong and what to do, by language."""

    severity: Severity
    wrong: Mapping[Language, str]
    todo: Mapping[Language, str]


FINDINGS: Final[dict[str, Words]] = {
    "refused": Words(
        severity="error",
        wrong={"en": "refused: {reason}", "fr": "refus : {reason}"},
        todo={"en": "correct it", "fr": "à corriger"},
    ),
    "no_first": Words(
        severity="error",
        wrong={
            "en": "no active rule takes level 0, so no invoice is ever reminded",
            "fr": "aucune règle active ne prend le niveau 0 : aucune facture n'est jamais relancée",
        },
        todo={
            "en": "make or activate a rule with level = 0",
            "fr": "créer ou activer une règle avec level = 0",
        },
    ),
    "stuck": Words(
        severity="error",
        wrong={
            "en": "no active rule takes level {level}, so the rules for level {next} are never reached",
            "fr": "aucune règle active ne prend le niveau {level} : celles du niveau {next} ne sont jamais atteintes",
        },
        todo={
            "en": "make or activate a rule with level = {level}",
            "fr": "créer ou activer une règle avec level = {level}",
        },
    ),
    "ends_early": Words(
        severity="warning",
        wrong={
            "en": "no active rule takes level {level}: the chase ends after {level} of 3 reminders",
            "fr": "aucune règle active ne prend le niveau {level} : les relances s'arrêtent à {level} sur 3",
        },
        todo={
            "en": "make or activate a rule with level = {level}, unless it is meant so",
            "fr": "créer ou activer une règle avec level = {level}, sauf si c'est voulu",
        },
    ),
    "none_active": Words(
        severity="warning",
        wrong={
            "en": "no rule that counts is active: nothing is reminded on its own",
            "fr": "aucune règle qui compte n'est active : rien n'est relancé tout seul",
        },
        todo={
            "en": "activate them once they are right: relance rules activate RULE",
            "fr": "les activer une fois justes : relance rules activate RULE",
        },
    ),
    "no_rules": Words(
        severity="info",
        wrong={"en": "this company has no rule", "fr": "cette société n'a aucune règle"},
        todo={"en": "make one, or leave it so", "fr": "en créer une, ou laisser ainsi"},
    ),
    "any_level": Words(
        severity="warning",
        wrong={
            "en": "fixes no level: it takes an invoice through all of them, one each time it is due",
            "fr": "ne fixe aucun niveau : elle fait franchir à une facture tous les niveaux, un à chaque passage",
        },
        todo={
            "en": "add level = N to its filter, one rule a level",
            "fr": "ajouter level = N à son filtre, une règle par niveau",
        },
    ),
    "no_gap": Words(
        severity="warning",
        wrong={
            "en": "asks for no days since the last reminder: it may follow at once",
            "fr": "ne demande aucun délai depuis la dernière relance : elle peut suivre aussitôt",
        },
        todo={
            "en": "add days_since_reminder >= 8, or as many as your text promises",
            "fr": "ajouter days_since_reminder >= 8, ou le délai que votre texte annonce",
        },
    ),
    "hurried": Words(
        severity="warning",
        wrong={
            "en": "may follow the reminder before it within {days} days",
            "fr": "peut suivre la relance précédente en {days} jours",
        },
        todo={
            "en": "raise its days_since_reminder",
            "fr": "augmenter son days_since_reminder",
        },
    ),
    "overlap": Words(
        severity="error",
        wrong={
            "en": "takes the same invoices as {other}: on {day} both are due and select one with {traits};"
            " which of the two letters leaves is chance",
            "fr": "prend les mêmes factures que {other} : le {day} les deux passent et retiennent une facture"
            " avec {traits} ; laquelle des deux lettres part relève du hasard",
        },
        todo={
            "en": "let the filter of one exclude what the other takes",
            "fr": "exclure du filtre de l'une ce que prend l'autre",
        },
    ),
    "may_overlap": Words(
        severity="warning",
        wrong={
            "en": "takes the same invoices as {other} where one bears several tags: on {day} both are due and select"
            " one with {traits}",
            "fr": "prend les mêmes factures que {other} si l'une porte plusieurs tags : le {day} les deux passent et"
            " retiennent une facture avec {traits}",
        },
        todo={
            "en": "let the filter of one exclude the other's tag, unless nothing ever bears both",
            "fr": "exclure du filtre de l'une le tag de l'autre, sauf si rien ne porte jamais les deux",
        },
    ),
    "skips": Words(
        severity="error",
        wrong={
            "en": "skips invoices by the calendar: one due on {bad} never gets level {level}, one due on {good} does",
            "fr": "saute des factures selon le calendrier : échue le {bad}, une facture n'atteint jamais le niveau"
            " {level} ; échue le {good}, oui",
        },
        todo={
            "en": "ask for >= rather than for one exact number of days",
            "fr": "demander >= plutôt qu'un nombre exact de jours",
        },
    ),
    "unreached": Words(
        severity="warning",
        wrong={
            "en": "takes no invoice within {days} days, of all that were tried on the active rules",
            "fr": "ne prend aucune facture en {days} jours, parmi toutes celles essayées sur les règles actives",
        },
        todo={
            "en": "look whether what its filter asks for ever comes together: relance explain INVOICE --rule RULE",
            "fr": "vérifier que ce que demande son filtre se rencontre : relance explain FACTURE --rule RÈGLE",
        },
    ),
    "never_open": Words(
        severity="warning",
        wrong={
            "en": "{line} is due outside the send window only: what is due on {due} leaves on {leaves}",
            "fr": "{line} ne tombe que hors des heures d'envoi : ce qui passe le {due} part le {leaves}",
        },
        todo={
            "en": "move the schedule line into the company's hours, or the hours around it",
            "fr": "déplacer la ligne de calendrier dans les heures de la société, ou ces heures",
        },
    ),
    "by_hand": Words(
        severity="info",
        wrong={
            "en": "has no schedule line: it runs by hand only",
            "fr": "n'a aucune ligne de calendrier : elle ne passe qu'à la main",
        },
        todo={"en": "add one, or leave it so", "fr": "en ajouter une, ou laisser ainsi"},
    ),
    "held": Words(
        severity="warning",
        wrong={"en": "is held: {because}", "fr": "est retenue : {because}"},
        todo={"en": "relance release rule, when it is settled", "fr": "relance release rule, une fois réglé"},
    ),
    "account_held": Words(
        severity="warning",
        wrong={
            "en": "sends by the account {account}, which is held: {because}",
            "fr": "envoie par le compte {account}, qui est retenu : {because}",
        },
        todo={
            "en": "relance release account, once the cause is mended",
            "fr": "relance release account, une fois la cause réparée",
        },
    ),
    "no_password": Words(
        severity="warning",
        wrong={
            "en": "sends by the account {account}, whose password ({reference}) is not on this machine",
            "fr": "envoie par le compte {account}, dont le mot de passe ({reference}) n'est pas sur cette machine",
        },
        todo={
            "en": "set it wherever workers run; on this machine too, if they run here",
            "fr": "le définir là où tournent les workers ; ici aussi, s'ils y tournent",
        },
    ),
    "not_on_test": Words(
        severity="warning",
        wrong={
            "en": "may not run on a test instance, which this is: its runs are refused",
            "fr": "ne peut pas passer sur une instance de test, et c'en est une : ses exécutions sont refusées",
        },
        todo={"en": "set on_test_instance: true, if it may", "fr": "mettre on_test_instance: true, si elle le peut"},
    ),
    "text": Words(
        severity="error",
        wrong={"en": "{place} does not render: {reason}", "fr": "{place} ne peut pas être rendu : {reason}"},
        todo={"en": "correct the text", "fr": "corriger le texte"},
    ),
    "no_language": Words(
        severity="error",
        wrong={
            "en": "has no texts in {language}, the company's language, which stands in for those that are missing",
            "fr": "n'a pas de textes en {language}, la langue de la société, qui remplace celles qui manquent",
        },
        todo={"en": "add texts.{language}", "fr": "ajouter texts.{language}"},
    ),
    "no_tag": Words(
        severity="error",
        wrong={
            "en": "puts on the tag {tag}, which does not exist",
            "fr": "pose le tag {tag}, qui n'existe pas",
        },
        todo={"en": "make the tag, or leave it out", "fr": "créer le tag, ou l'enlever"},
    ),
    "no_filter_tag": Words(
        severity="warning",
        wrong={
            "en": "asks in its filter for the tag {tag}, which does not exist",
            "fr": "demande dans son filtre le tag {tag}, qui n'existe pas",
        },
        todo={"en": "make the tag, or correct its title", "fr": "créer le tag, ou corriger son titre"},
    ),
    "one_only": Words(
        severity="warning",
        wrong={
            "en": "puts on the tag {tag} of the category {category}, which allows one: the history on invoices is lost",
            "fr": "pose le tag {tag} de la catégorie {category}, qui n'en permet qu'un : l'historique est perdu",
        },
        todo={
            "en": "keep reminder tags in a category that allows several",
            "fr": "garder les tags de relance dans une catégorie qui en permet plusieurs",
        },
    ),
    "selects_none": Words(
        severity="info",
        wrong={"en": "its filter selects no invoice today", "fr": "son filtre ne retient aucune facture aujourd'hui"},
        todo={
            "en": "nothing, if that is so: relance preview RULE tells",
            "fr": "rien, si c'est le cas : relance preview RULE le dit",
        },
    ),
}
