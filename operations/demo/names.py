"""Names for the demo's customers and their people; invented, with addresses under .example (RFC 2606)."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from workflow.facts import CustomerKind

TRADES: Final = (
    "Ateliers", "Boulangerie", "Brasserie", "Cabinet", "Carrelages", "Cave", "Charpentes", "Clinique", "Couverture",
    "Domaine", "Ébénisterie", "Électricité", "Établissements", "Fleurs", "Fromagerie", "Galerie", "Garage", "Hôtel",
    "Imprimerie", "Jardins", "Librairie", "Maison", "Menuiserie", "Optique", "Papeterie", "Pharmacie", "Pâtisserie",
    "Plomberie", "Restaurant", "Savonnerie", "Serrurerie", "Transports", "Traiteur", "Verrerie",
)  # fmt: skip
SURNAMES: Final = (
    "Abgrall", "Aubertin", "Barjolle", "Bessède", "Brémond", "Cazeneuve", "Chabrier", "Chauvency", "Coatmeur",
    "Crouzet", "Dalmasso", "Delaunoy", "Destouches", "Dubreuilh", "Escoffre", "Estradère", "Fauvergue", "Fonteneau",
    "Gastineau", "Gourvennec", "Grandcolas", "Guérande", "Hébrard", "Jaubertie", "Kerbiriou", "Labrousse",
    "Lafargue", "Larrieu", "Le Goascoz", "Lestrade", "Loustalot", "Malaurie", "Maréchaux", "Mesnager", "Montferrand",
    "Nédélec", "Noirmont", "Oustalet", "Pellegrin", "Peyronnet", "Pontcallec", "Quéméner", "Rabastens", "Rochebrune",
    "Roquefeuil", "Saint-Aubin", "Sarrazac", "Sauvageot", "Tardivel", "Thévenoux", "Trémolières", "Vauclair",
    "Verneuilh", "Vidalenc", "Villedary",
)  # fmt: skip
FIRST_NAMES: Final = (
    "Adèle", "Agnès", "Baptiste", "Camille", "Clément", "Denis", "Élodie", "Étienne", "Fatima", "François", "Gaëlle",
    "Hélène", "Inès", "Jérôme", "Karim", "Léa", "Loïc", "Maud", "Mehdi", "Nathalie", "Noé", "Océane", "Paul", "Quentin",
    "Romane", "Samir", "Solène", "Théo", "Valérie", "Yann", "Zoé",
)  # fmt: skip
FORMS: Final = ("SARL", "SAS", "EURL", "SA", "SNC")
TOWNS: Final = (
    "44000 Nantes", "35000 Rennes", "49100 Angers", "29200 Brest", "56000 Vannes", "85000 La Roche-sur-Yon",
    "72000 Le Mans", "33000 Bordeaux", "69002 Lyon", "75011 Paris", "59000 Lille", "31000 Toulouse",
)  # fmt: skip
STREETS: Final = (
    "rue des Tisserands", "quai du Halage", "place du Marché", "allée des Tilleuls", "rue du Vieux-Four",
    "avenue de la Gare", "impasse du Moulin", "boulevard des Arts",
)  # fmt: skip


class Named(NamedTuple):
    """A customer that is not made of a trade and a surname."""

    name: str
    kind: CustomerKind
    country: str
    currency: str


OTHERS: Final = (
    Named("Mairie de Sainte-Orlane", "public_body", "FR", "EUR"),
    Named("Lycée Jeanne-Vauclair", "public_body", "FR", "EUR"),
    Named("Communauté de communes du Val d'Aurenne", "public_body", "FR", "EUR"),
    Named("M. Armand Estradère", "consumer", "FR", "EUR"),
    Named("Mme Odile Quéméner", "consumer", "FR", "EUR"),
    Named("Thornbury & Lake Ltd", "professional", "GB", "GBP"),
    Named("Okonjo Interiors Ltd", "professional", "GB", "GBP"),
    Named("Marlowe Street Books Ltd", "professional", "GB", "GBP"),
    Named("Bluewater Fixtures LLC", "professional", "US", "USD"),
    Named("Harlan & Pike Inc.", "professional", "US", "USD"),
    Named("Ballymore Joinery Ltd", "professional", "IE", "EUR"),
    Named("Glenveagh Hotels Ltd", "professional", "IE", "EUR"),
    Named("Van Doorn Projecten BV", "professional", "NL", "EUR"),
)
ENGLISH_NAMES: Final = (
    "Alice Thorne",
    "Ben Okonjo",
    "Ciara Nolan",
    "Dana Pike",
    "Ewan Marsh",
    "Grace Harlan",
    "Pim Doorn",
)
ENGLISH_PLACES: Final = {"GB": "Bristol BS1", "US": "Portland, OR 97204", "IE": "Cork T12", "NL": "3011 Rotterdam"}


def plain(name: str) -> str:
    """The name as it may stand in a mail address: `Élodie Le Goascoz` is `elodie-le-goascoz`."""
    letters = unicodedata.normalize("NFKD", name.lower())
    words = "".join(
        one if one.isascii() and one.isalnum() else " " for one in letters if not unicodedata.combining(one)
    )
    return "-".join(words.split())
