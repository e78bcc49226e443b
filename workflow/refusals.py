"""How mail servers word their refusals, in English and our neighbours' languages, and how reports tell the moment.

Each list is what servers were seen to say; what is in none of them is no evidence of anything.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Stage = Literal["connect", "mail", "rcpt", "data", ""]


def stage(text: str) -> Stage:
    """The SMTP command that was answered, as reporting systems tell it; empty where they do not."""
    for name, pattern in _STAGES.items():
        if pattern.search(text):
            return name
    return ""


def plain(text: str) -> str:
    """Lower case without addresses, and of links only the names of block lists: they are no words of the answer."""
    text = _ADDRESS.sub(" ", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return " ".join(_LINK.sub(lambda link: " blocklist " if _BLOCK_LIST.search(link[0]) else " ", text).lower().split())


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_ADDRESS: Final = re.compile(r"[^\s<>()\[\]\"',;:@]{1,64}@[\w.-]{1,255}")
_LINK: Final = re.compile(r"\bhttps?://\S{1,2000}", re.IGNORECASE)
_BLOCK_LIST: Final = re.compile(
    r"spamhaus|spamcop|dnsbl|uribl|surbl|sorbs|barracudacentral|/rbl|\brbl\.|\bbl\b", re.IGNORECASE
)

_STAGES: Final[dict[Stage, re.Pattern[str]]] = {
    "rcpt": re.compile(
        r"(?i)in reply to\s+rcpt to|after\s+rcpt\b|did not like our rcpt|does not like recipient|\[rcpt_to\]|"
        r"\bneed rcpt|no valid recipients|(?:>>>|<<<)[ \t]*rcpt to:[^\n]{0,400}\n\s{0,80}(?:received )?(?:<<<|>>>)"
    ),
    "data": re.compile(
        r"(?i)in reply to\s+(?:end of\s+)?data|after\s+(?:end of\s+)?data|did not like our (?:final )?(?:data|eom)|"
        r"end of data|failed after i sent the message|\(data\)"
    ),
    "mail": re.compile(r"(?i)in reply to\s+mail from|after\s+mail from|did not like our mail|does not like sender"),
    "connect": re.compile(
        r"(?i)after\s+(?:initial connection|helo|ehlo|starttls)|in reply to\s+(?:helo|ehlo|starttls|auth)|"
        r"while performing the (?:initial )?(?:greeting|helo|ehlo)"
    ),
}

# In the order in which they are asked; what comes first names the reason.
SOFT: Final[dict[str, re.Pattern[str]]] = {
    "mailbox_full": _any(
        r"(?:mail ?box|inbox|mail ?folder|account|mail ?file|maildir)\b.{0,40}\b(?:full|exceed|over ?quota|limit)",
        r"over ?(?:the )?(?:disk |mail |storage )?quota|quota\b.{0,30}\b(?:exceed|full|reached|violation)",
        r"exceed\w{0,3}\b.{0,40}\b(?:quota|storage|mailbox|disk|local limit)|not enough (?:disk |storage )?space",
        r"(?:insufficient|out of) (?:system |disk )?(?:storage|space)|no space left|disk (?:is )?full",
        r"bo[iî]te.{0,40}pleine|quota d[eé]pass[eé]|postfach.{0,30}voll|buz[oó]n.{0,20}lleno|casella.{0,30}piena",
    ),
    "too_large": _any(
        r"(?:message|mail|size|attachment)\b.{0,40}\b(?:too (?:big|large)|exceed\w{0,3}\b.{0,40}\b(?:limit|maximum))",
        r"exceed\w{0,3}\b.{0,40}\b(?:message|size|length)|(?:maximum|max) (?:message |mail )?size|trop volumineux",
    ),
    "virus": _any(r"\bvirus|malware|infected|trojan|phish"),
    "authentication": _any(
        r"\bspf\b|\bdkim\b|\bdmarc\b|authenticat|\brdns\b|reverse (?:dns|lookup|hostname|host|map)|\bptr\b|dns ptr",
        r"(?:ip|host) ?name lookup|cannot find your (?:reverse )?hostname|fcrdns|mismatches client ip",
        r"helo\b.{0,30}\breject",
    ),
    "spam": _any(
        r"\bspam|junk|unsolicited|bulk (?:e-?)?mail|\bube\b|black ?list|block ?list|deny ?list|\b(?:dns)?[rb]bls?\b",
        r"reputation|complaint|abus(?:e|ive)|\(bl\)",
    ),
    "relaying": _any(
        r"\brelay\w{0,3}\b.{0,40}\b(?:denied|prohibited|not|reject|refused)",
        r"(?:not|cannot|can't|won't|unable|denied?).{0,40}\brelay\w{0,3}\b(?! recipient)",
        r"rcpthosts|not a gateway",
    ),
    "loop": _any(
        r"(?:too many|count|exceeded).{0,20}\bhops?|hop count|mail (?:forwarding )?loop|loops? back|loop detected"
    ),
    "rate": _any(
        r"too (?:many|much|fast)|rate ?limit|frequency limit|throttl|limit exceeded",
        r"exceed\w{0,3}\b.{0,30}\b(?:rate|limit)",
        r"(?:ip|sender|connection)\b.{0,20}\b(?:rate|limited)|max(?:imum)? (?:number of )?(?:connection|recipient)",
    ),
    "delayed": _any(
        r"warning message only|still (?:be )?(?:trying|retried)|will (?:be retried|continue to)|no need to resend",
        r"has been delayed|delivery delayed|not yet (?:been )?(?:delivered|received)",
    ),
    "unreachable": _any(
        r"tim(?:ed|e) ?-?out|message (?:has )?expired|expired\b.{0,30}\b(?:deliver|queue)",
        r"(?:in|on) (?:the )?(?:mail )?queue too long",
        r"connection\b.{0,30}\b(?:refused|lost|reset|closed|dropped|died|fail)",
        r"(?:could|can|did|was)(?: ?n[o']t| unable).{0,40}\bconnect",
        r"unable to connect|establish an smtp connection|(?:not|un) ?reach(?:able|ed)|no route|network error",
        r"socket error",
        r"retry time|retry timeout|delivery time expired|too old|gave up|name service error",
        r"host not found, try again",
    ),
    "temporary": _any(
        r"try again(?! with)|tr(?:y|ied) (?:it )?later|temporar|deferred|gr[ea]y-?list",
        r"veuillez (?:r[eé])?essayer|plus tard",
    ),
    "sender_refused": _any(
        r"sender\b.{0,40}\b(?:reject|refus|denied|invalid|not|unknown|verif|blocked)|(?:invalid|unknown|bad) sender",
        r"return[- ]path|envelope (?:from|sender)|purported responsible",
        r"(?:your|sending) (?:domain|address|server|ip)\b",
        r"invalid ip|sending mail of domain|messages? from .{0,40}(?:reject|refus|not accept)",
    ),
    "content": _any(
        r"content|header|8-?bit|attachment|mime\b|from: |bare lf|subject\b.{0,20}\breject|transaction failed",
        r"message (?:was )?(?:rejected|refused|not accepted)|rfc ?\d{4}|not (?:rfc )?complian",
    ),
    "suspended": _any(
        r"disabled|suspended|inactive|in-?activ|locked|frozen|deactivated|discontinued|not active|on hold|expired",
        r"d[eé]sactiv|suspendu|currently unavailable",
    ),
    "policy": _any(
        r"polic(?:y|ies)|block(?:ed|ing)|bloqu|banned|denied|prohibit|forbidden",
        r"not (?:allowed|permitted|authori[sz]ed)",
        r"refus|restrict|permission|security|by (?:the )?(?:administrator|recipient)|filter|only accept|must be",
    ),
    "system": _any(
        r"(?:system|internal|server|local|software|configuration|i/o|mailer)\b.{0,20}\b(?:error|failure|problem)",
        r"couldn't create|can't create|cannot (?:open|create|write|lock)|procmail|pipe to",
        r"command (?:died|failed)|exit(?:ed)? (?:code|status)",
        r"service\b.{0,20}\b(?:un|not )available|resources|no such file|maildrop",
        r"could not (?:load|complete|open)|not configured",
    ),
}

NO_DOMAIN_FOR_SURE: Final = _any(
    r"nxdomain|null mx|\bmx .{0,30}record indicated no smtp service|(?:domain|host) does ?n[o']t accept (?:e-?)?mail",
    r"domain name not found|no such domain|(?:domain|host) (?:does ?n[o']t|not) exist",
)
NO_DOMAIN: Final = _any(
    r"(?:domain|host)(?: ?name)? (?:is |was )?(?:unknown|not (?:be )?(?:found|known|valid)|invalid|nonexist)",
    r"(?:unknown|no such|invalid|nonexistent|bad) (?:mail )?(?:host|domain)",
    r"domain\b.{0,60}(?:could ?n[o']t be found|does ?n[o']t (?:exist|receive (?:e-?)?mail))",
    r"\bhost \S{1,255} not found|could ?n[o']t find (?:a mail exchanger|any host)",
    r"unroute?able mail domain|nonexistent domain|domaine.{0,30}(?:inconnu|n'existe pas|introuvable)",
)
_SOMEBODY: Final = (
    r"(?:user ?(?:id|name)?|recipient(?:'s)?(?: name| address)?|mailbox|mail ?address|e-?mail address|address(?:ee)?|"
    r"account|alias|local[- ]part|person|destination)"
)
NO_MAILBOX: Final = _any(
    rf"\b{_SOMEBODY}\b.{{0,60}}\b(?:unknown|not (?:be )?(?:known|found|exist|recogni[sz]ed|"
    rf"listed|valid|registered|our)|invalid|does ?n[o']t exist|doesnt exist|no longer|non-?existent)",
    rf"\b(?:unknown|no such|invalid|non-?exist[ae]nt|not a valid|not a known|bad|illegal)\b.{{0,30}}\b{_SOMEBODY}\b",
    r"no (?:such )?(?:mailbox|account|user|one|person|recipient)\b.{0,20}\b(?:here|name|found|exist)",
    r"does ?n[o']t have an? .{0,40}account|not listed in|not our customer",
    r"no longer (?:works?|with|valid|in use|exists?)",
    r"(?:was ?n[o']t|could ?n[o']t be|not) found (?:at|in|by)|recip(?:ient)?notfound|address not found",
    r"unrout(?:e)?able address",
    r"invalid final delivery|no mailbox|no such (?:local|virtual|e-?mail)",
    r"(?:utilisateur|destinataire|adresse|bo[iî]te|compte).{0,60}"
    r"(?:inconnue?|invalide|inexistante?|n'existe (?:pas|plus)|introuvable)",
    r"(?:empf[aä]nger|benutzer|adresse|postfach).{0,60}(?:unbekannt|nicht gefunden|existiert nicht)",
    r"(?:usuario|destinatari[oa]|direcci[oó]n|indirizzo|utente|casella).{0,60}"
    r"(?:desconocid|no existe|inesistente|sconosciut|non esiste|trovare)",
)
# No filter says this of somebody who is there; 416 is how Orange and La Poste number an invalid recipient.
NO_MAILBOX_FOR_SURE: Final = _any(
    r"\buser\b.{0,20}\b(?:does ?n[o']t|do not) have an? .{1,40}\baccount|\b(?:ofr|lpn)\d{0,5}_416\b"
)
# An enhanced code of permanent failure.
CODE: Final = re.compile(r"(?<![\d.])(5\.\d{1,3}\.\d{1,3})(?!\.?\d)")
# Microsoft 365 says 5.4.1 with these words for an address that its directory does not have.
EDGE_BLOCKING: Final = re.compile(r"recipient address rejected: access denied")
