"""Import made-up files of every kind into an empty database, each of them twice: wall, CPU and peak memory."""

from __future__ import annotations

import csv
import gc
import io
import os
import time
from typing import TYPE_CHECKING, Any

from benchmarks.meter import Meter, postmaster_of
from operations.companies import save_company
from operations.importing.imports import Said, import_file, recognise, understand
from scripts.embedded import throwaway
from store.connection import Connection, connect
from store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from operations.importing.fields import Kind


def measure(*, rows: int) -> dict[str, Any]:
    """Figures by kind, in the order in which a company would import."""
    with throwaway() as servers, connect(servers.database_url) as conn:
        migrate(conn)
        save_company(conn, code="ACME", name="Atelier Acme", by="system")
        conn.commit()
        meter = Meter({"python": [os.getpid()], "postgres": [postmaster_of(servers.folder)]})
        return {kind: _twice(conn, meter, kind, content) for kind, content in _files(rows).items()}


def _twice(conn: Connection, meter: Meter, kind: Kind, content: bytes) -> dict[str, Any]:
    first = _once(conn, meter, kind, content)
    return {"rows": first.pop("rows"), "first": first, "again": _once(conn, meter, kind, content)}


def _once(conn: Connection, meter: Meter, kind: Kind, content: bytes) -> dict[str, Any]:
    gc.collect()
    start = meter.read()
    said = Said(currency="EUR", dates="dmy")
    sheet, mapping = recognise(content, name=f"{kind}.csv", kind=kind, mapping=None, said=said)
    understood = understand(content, sheet, mapping, guessed=True)
    read_s = time.monotonic() - start.wall
    done = import_file(conn, understood, create_tags=True, dry_run=False, by="system")
    conn.commit()
    end = meter.read()
    if done.bad:
        raise RuntimeError(f"{kind}: {done.bad[:3]}")
    return {
        "rows": done.rows,
        "written": done.added + done.changed,
        "wall_s": round(end.wall - start.wall, 2),
        "of_it_reading_s": round(read_s, 2),
        "cpu_s": {name: round(end.cpu_s[name] - start.cpu_s[name], 2) for name in start.cpu_s},
        "peak_mib": round(end.peak_mib["python"]),
    }


def _files(rows: int) -> dict[Kind, bytes]:
    """As many rows of each kind, a third as many customers with one contact each."""
    customers = max(1, rows // 3)
    return {
        "customers": _csv(
            ["Code client", "Raison sociale", "Type", "Email", "Adresse", "CP", "Ville"],
            (
                [f"C{n}", f"Client {n}", "entreprise", f"c{n}@client.example", f"{n} rue X", "75002", "Paris"]
                for n in range(rows)
            ),
        ),
        "contacts": _csv(
            ["Client", "Nom", "Email", "Rôle"],
            ([f"C{n}", f"Contact {n}", f"compta{n}@client.example", "relance"] for n in range(rows)),
        ),
        "invoices": _csv(
            ["Client", "N° facture", "Date facture", "Échéance", "Montant TTC", "Mode de règlement"],
            (
                [f"C{n % customers}", f"FA-{n}", _day(n), _day(n, "12"), f"{100 + n % 900},{n % 100:02}", "virement"]
                for n in range(rows)
            ),
        ),
        "payments": _csv(
            ["Facture", "Montant", "Date règlement", "Référence"],
            ([f"FA-{n}", f"{50 + n % 900},{n % 100:02}", _day(n, "12"), f"VIR {n}"] for n in range(rows)),
        ),
        "tags": _csv(["Facture", "Étiquette"], ([f"FA-{n}", f"Lot {n % 7}"] for n in range(rows))),
    }


def _day(n: int, month: str = "10") -> str:
    return f"{1 + n % 28:02}/{month}/2026"


def _csv(header: list[str], rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
