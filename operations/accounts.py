"""Mail accounts: the servers that send, and in whose name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from psycopg.types.json import Jsonb

from letters.headers import check_address, check_header_name
from operations.acting import acting, existing, line, number, one_of, optional_line, person_name
from operations.evidence import check_evidence
from operations.mailboxes import check_mailbox
from store.companies import Auth
from store.people import ACCOUNTS, COMPANIES, USERS, lock_account
from store.saving import id_of, save
from workflow.doubt import POLICIES
from workflow.errors import InvalidInput
from workflow.servers import check_host, check_reference, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from store.connection import Connection
    from store.people import AccountLogin

SECURITY_MODES: Final = ("implicit-tls", "starttls-required", "plain")
MOST_KEY_HOURS: Final = 720


@dataclass(frozen=True, slots=True, kw_only=True)
class _InDoubt:
    """What is saved of what becomes of its mails in doubt."""

    doubt_policy: str
    evidence: dict[str, Any] | None
    key_header: str | None
    key_hours: int | None


def save_account(
    conn: Connection,
    *,
    name: str,
    company: str | None = None,
    user: str | None = None,
    from_name: str,
    from_address: str,
    host: str,
    port: int,
    security: str,
    ca_file: str | None = None,
    username: str | None = None,
    password_ref: str | None = None,
    max_connections: int = 8,
    per_minute: int | None = None,
    mailbox: Mapping[str, object] | None = None,
    auth: str = "password",
    doubt_policy: str = "hold",
    evidence: Mapping[str, object] | None = None,
    key_header: str | None = None,
    key_hours: int | None = None,
    because: str = "",
    by: str,
    today: date | None = None,
) -> int:
    """Save a mail account of a company or of a user, by its name. Returns the id. Raises InvalidInput.

    `password_ref` says where the password is (env:NAME, file:/PATH); the password itself is refused and never shown.
    A login that is not given stays as it was while host and port do, and is forgotten when they change: nobody gets
    it by pointing the account elsewhere. An empty username forgets it too. With `auth` xoauth2, what the reference
    leads to is an access token, read anew at each login. `mailbox`: where its bounces and answers arrive
    (operations.mailboxes).

    `doubt_policy` says what becomes of a mail in doubt (workflow.doubt): with evidence, `evidence` says where to look
    (workers.evidence: its kind and that channel's fields); with provider_key, the provider drops a second mail of the
    same `key_header` for `key_hours`.
    """
    if (company is None) == (user is None):
        raise InvalidInput(field="company", value=company, reason="an account belongs to a company or to a user")
    check_host(host, field="host")
    number(port, range(1, 65536), field="port")
    one_of(security, SECURITY_MODES, field="security")
    number(max_connections, range(1, 65), field="max_connections")
    number(per_minute, range(1, 1_000_001), field="per_minute")
    one_of(auth, get_args(Auth), field="auth")
    if password_ref is not None:
        check_reference(password_ref, field="password_ref")
    in_doubt = _in_doubt(doubt_policy, evidence, key_header, key_hours)
    name = line(name, field="name")
    values: dict[str, object] = {
        "name": name,
        "from_name": person_name(from_name, field="from_name"),
        "from_address": check_address(from_address, field="from_address"),
        "host": host,
        "port": port,
        "security": security,
        "ca_file": optional_line(ca_file, field="ca_file") if ca_file else None,
        "max_connections": max_connections,
        "per_minute": per_minute,
        "mailbox": None if mailbox is None else Jsonb(check_mailbox(mailbox)),
        "auth": auth,
    }
    with acting(conn, by=by, because=because, today=today):
        company_id = existing(id_of(conn, COMPANIES, {"code": company}), company, field="company") if company else None
        user_id = existing(id_of(conn, USERS, {"login": user}), user, field="user") if user else None
        before = lock_account(conn, name)
        if before and (before.company_id, before.user_id) != (company_id, user_id):
            raise InvalidInput(
                field="name", value=name, reason="is the account of somebody else; an account does not change hands"
            )
        login = _login(before, (host, port), username, password_ref)
        _check_login(host, security, auth, login)
        values |= {"company_id": company_id, "user_id": user_id, "username": login[0], "password_ref": login[1]}
        values |= asdict(in_doubt) | {"evidence": None if in_doubt.evidence is None else Jsonb(in_doubt.evidence)}
        return save(conn, ACCOUNTS, values)


def _in_doubt(
    policy: str, evidence: Mapping[str, object] | None, key_header: str | None, key_hours: int | None
) -> _InDoubt:
    """A policy with what it needs, and with nothing of another's. Raises InvalidInput."""
    one_of(policy, POLICIES, field="doubt_policy")
    needed = {"evidence": ["evidence"], "provider_key": ["key_header", "key_hours"]}.get(policy, [])
    for name, value in {"evidence": evidence, "key_header": key_header, "key_hours": key_hours}.items():
        if (value is not None) != (name in needed):
            reason = f"is missing: {policy} needs it" if name in needed else f"is of no use to {policy}"
            raise InvalidInput(field=name, value="(not shown)", reason=reason)
    number(key_hours, range(1, MOST_KEY_HOURS + 1), field="key_hours")
    return _InDoubt(
        doubt_policy=policy,
        evidence=None if evidence is None else check_evidence(evidence),
        key_header=None if key_header is None else check_header_name(key_header, field="key_header"),
        key_hours=key_hours,
    )


def _login(
    before: AccountLogin | None, server: tuple[str, int], username: str | None, password_ref: str | None
) -> tuple[str | None, str | None]:
    if username == "":
        return None, None
    if before and (before.host, before.port) == server:
        return username or before.username, password_ref or before.password_ref
    return username, password_ref


def _check_login(host: str, security: str, auth: str, login: tuple[str | None, str | None]) -> None:
    username, password_ref = login
    if (username is None) != (password_ref is None):
        missing = "username" if username is None else "password_ref"
        raise InvalidInput(field=missing, value=None, reason="username and password reference go together")
    if username is not None:
        line(username, field="username")
    elif auth == "xoauth2":
        raise InvalidInput(field="username", value=None, reason="is missing: an access token is somebody's")
    if security == "plain" and not is_loopback(host):
        raise InvalidInput(field="security", value=security, reason="plain is for servers on this machine only")
    if security == "plain" and username is not None:
        raise InvalidInput(field="security", value=security, reason="a password does not travel in plain text")
