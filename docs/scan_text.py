"""How much `scan_text` finds: a labelled set, made here, and the page docs/scan-text.md, which
`python -m docs.scan_text` writes.

Nobody's data: values are drawn by chance within the rules of their kind, with valid check digits.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from modelops_runtime.data.steps.scan_text import ENTITIES, finder

PAGE = Path(__file__).with_name("scan-text.md")
SEED, POSITIVES, NEGATIVES = 18, 40, 12
"""Texts of each kind with a value, and of each kind of text without one, in each language."""
REGIONS = {
    "English": ("US", "GB", "IE"),
    "German": ("DE", "AT", "CH"),
    "French": ("FR", "BE"),
    "Spanish": ("ES", "MX"),
    "Dutch": ("NL", "BE"),
    "Italian": ("IT", "CH"),
}
WITH = {
    "English": {
        "EMAIL_ADDRESS": ["Please write to {} by Friday.", "Contact: {}", "She ({}) has not answered yet"],
        "PHONE_NUMBER": ["Call me at {} after five.", "Phone: {}", "My number is {}, thanks"],
        "CREDIT_CARD": ["I paid with {} last week.", "Card: {}", "the card {} was refused, why?"],
        "IBAN_CODE": ["Transfer it to {}, please.", "IBAN: {}", "the account {} is closed"],
        "IP_ADDRESS": ["The request came from {} at noon.", "IP: {}", "host {} does not answer"],
        "US_SSN": ["My social security number is {}.", "SSN: {}", "number {} on the form is mine"],
    },
    "German": {
        "EMAIL_ADDRESS": ["Bitte schreiben Sie an {}.", "E-Mail: {}", "Frau Müller ({}) meldet sich noch"],
        "PHONE_NUMBER": ["Rufen Sie mich unter {} an.", "Tel.: {}", "meine Nummer ist {}, danke"],
        "CREDIT_CARD": ["Bezahlt habe ich mit {}.", "Kreditkarte: {}", "die Karte {} wurde abgelehnt"],
        "IBAN_CODE": ["Bitte auf {} überweisen.", "IBAN: {}", "das Konto {} ist gekündigt"],
        "IP_ADDRESS": ["Die Anfrage kam von {}.", "IP-Adresse: {}", "der Rechner {} antwortet nicht"],
        "US_SSN": ["Meine amerikanische Nummer ist {}.", "SSN: {}", "auf dem Formular steht {}"],
    },
    "French": {
        "EMAIL_ADDRESS": ["Écrivez à {} avant vendredi.", "Courriel : {}", "elle ({}) n'a pas répondu"],
        "PHONE_NUMBER": ["Appelez-moi au {} ce soir.", "Tél. : {}", "mon numéro est le {}, merci"],
        "CREDIT_CARD": ["J'ai payé avec la carte {}.", "Carte : {}", "la carte {} a été refusée"],
        "IBAN_CODE": ["Virez la somme sur {}.", "IBAN : {}", "le compte {} est fermé"],
        "IP_ADDRESS": ["La requête venait de {}.", "Adresse IP : {}", "la machine {} ne répond pas"],
        "US_SSN": ["Mon numéro américain est {}.", "SSN : {}", "le formulaire dit {}"],
    },
    "Spanish": {
        "EMAIL_ADDRESS": ["Escriba a {} antes del viernes.", "Correo: {}", "ella ({}) no ha contestado"],
        "PHONE_NUMBER": ["Llámeme al {} por la tarde.", "Tel.: {}", "mi número es {}, gracias"],
        "CREDIT_CARD": ["Pagué con la tarjeta {}.", "Tarjeta: {}", "rechazaron la tarjeta {}"],
        "IBAN_CODE": ["Transfiera el importe a {}.", "IBAN: {}", "la cuenta {} está cerrada"],
        "IP_ADDRESS": ["La petición vino de {}.", "Dirección IP: {}", "el equipo {} no responde"],
        "US_SSN": ["Mi número estadounidense es {}.", "SSN: {}", "el formulario dice {}"],
    },
    "Dutch": {
        "EMAIL_ADDRESS": ["Schrijf naar {} voor vrijdag.", "E-mail: {}", "zij ({}) heeft niet geantwoord"],
        "PHONE_NUMBER": ["Bel mij op {} na vijven.", "Tel.: {}", "mijn nummer is {}, bedankt"],
        "CREDIT_CARD": ["Ik betaalde met {}.", "Kaart: {}", "de kaart {} is geweigerd"],
        "IBAN_CODE": ["Maak het over naar {}.", "IBAN: {}", "de rekening {} is gesloten"],
        "IP_ADDRESS": ["Het verzoek kwam van {}.", "IP-adres: {}", "de computer {} reageert niet"],
        "US_SSN": ["Mijn Amerikaanse nummer is {}.", "SSN: {}", "op het formulier staat {}"],
    },
    "Italian": {
        "EMAIL_ADDRESS": ["Scriva a {} entro venerdì.", "E-mail: {}", "lei ({}) non ha risposto"],
        "PHONE_NUMBER": ["Mi chiami al {} dopo le cinque.", "Tel.: {}", "il mio numero è {}, grazie"],
        "CREDIT_CARD": ["Ho pagato con la carta {}.", "Carta: {}", "la carta {} è stata rifiutata"],
        "IBAN_CODE": ["Faccia un bonifico a {}.", "IBAN: {}", "il conto {} è chiuso"],
        "IP_ADDRESS": ["La richiesta veniva da {}.", "Indirizzo IP: {}", "il computer {} non risponde"],
        "US_SSN": ["Il mio numero americano è {}.", "SSN: {}", "sul modulo c'è {}"],
    },
}
WITHOUT = {
    "order": ["Order {}", "Bestellung {}", "Commande {}", "Pedido {}", "Bestelling {}", "Ordine {}"],
    "version": ["version {}", "Version {}", "version {}", "versión {}", "versie {}", "versione {}"],
    "date": ["on {}", "am {}", "le {}", "el {}", "op {}", "il {}"],
    "ISBN": ["ISBN {}", "ISBN {}", "ISBN {}", "ISBN {}", "ISBN {}", "ISBN {}"],
    "amount": ["total {}", "Summe {}", "total {}", "total {}", "totaal {}", "totale {}"],
    "article": ["item {}", "Artikel {}", "article {}", "artículo {}", "artikel {}", "articolo {}"],
    "parcel": ["parcel {}", "Paket {}", "colis {}", "paquete {}", "pakket {}", "pacco {}"],
    "handle": ["thanks {}", "danke {}", "merci {}", "gracias {}", "bedankt {}", "grazie {}"],
    "time": ["at {}", "um {}", "à {}", "a las {}", "om {}", "alle {}"],
    "place": ["at {}", "bei {}", "à {}", "en {}", "bij {}", "a {}"],
    "commit": ["commit {}", "Commit {}", "commit {}", "commit {}", "commit {}", "commit {}"],
}
"""Hard negatives: the sentence's beginning in each language, in the order of REGIONS."""


@dataclass(frozen=True)
class Text:
    """A text with at most one value."""

    text: str
    language: str
    kind: str
    """An entity, or the kind of number that is none."""
    value: str


def labelled(seed: int = SEED) -> Iterator[Text]:
    """The set: the same for the same seed."""
    chance = random.Random(seed)
    for at, language in enumerate(REGIONS):
        for kind in ENTITIES:
            for number in range(POSITIVES):
                value = VALUES[kind](chance, language, number)
                templates = WITH[language][kind]
                yield Text(templates[number % len(templates)].format(value), language, kind, value)
        for kind, beginnings in WITHOUT.items():
            for number in range(NEGATIVES):
                text = beginnings[at].format(OTHERS[kind](chance, number))
                yield Text(text, language, kind, "")


@dataclass(frozen=True)
class Score:
    """Of one kind in one language."""

    found: int
    present: int
    right: int
    reported: int

    @property
    def recall(self) -> float:
        """Share of the values that are covered from their first to their last character."""
        return self.found / self.present

    @property
    def precision(self) -> float:
        """Share of the findings that are such a value."""
        return self.right / self.reported if self.reported else 1.0


def measured(seed: int = SEED) -> dict[tuple[str, str], Score]:
    """By kind and language."""
    find, counts = finder(ENTITIES, 0.4), Counter[tuple[str, str, str]]()
    for text in labelled(seed):
        begin = text.text.index(text.value) if text.value else 0
        end = begin + len(text.value)
        for first, last, kind in find(text.text):
            right = kind == text.kind and first < end and last > begin
            counts[kind, text.language, "reported"] += 1
            counts[kind, text.language, "right"] += right
            counts[kind, text.language, "found"] += right and first <= begin and last >= end
        counts[text.kind, text.language, "present"] += 1
    names = ("found", "present", "right", "reported")
    return {
        (kind, language): Score(*(counts[kind, language, name] for name in names))
        for kind in ENTITIES
        for language in REGIONS
    }


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("0123456789") for _digit in range(count))


def _email(chance: random.Random, _language: str, number: int) -> str:
    names = ["ann.lee", "b-o_b", "j.müller".replace("ü", "ue"), "maria+news", "x1", "o'neill".replace("'", ".")]
    domains = [
        "example.com",
        "mail.example.co.uk",
        "example.de",
        "exemple.fr",
        "ejemplo.es",
        "voorbeeld.nl",
        "esempio.it",
    ]
    address = f"{chance.choice(names)}{chance.randrange(100)}@{chance.choice(domains)}"
    return address.upper() if number % 10 == 0 else address


def _phone(chance: random.Random, language: str, number: int) -> str:
    region = chance.choice(REGIONS[language])
    kinds = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    example = phonenumbers.example_number_for_type(region, chance.choice(kinds))
    assert example is not None
    while True:
        digits = str(example.national_number)
        drawn = phonenumbers.PhoneNumber(example.country_code, int(digits[:-5] + _digits(chance, 5)))
        drawn.italian_leading_zero = example.italian_leading_zero
        if phonenumbers.is_valid_number_for_region(drawn, region):
            formats = (PhoneNumberFormat.NATIONAL, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.E164)
            written = str(phonenumbers.format_number(drawn, formats[number % 4 % 3]))
            return _spelled(written, number // 4 % 4)


def _spelled(number: str, way: int) -> str:
    """As people write it: as it is, with dots or hyphens, or without anything."""
    if not way:
        return number
    return re.sub(r"[ -]+", (".", "-", "")[way - 1], number.replace("(", "").replace(")", ""))


def _luhn(digits: str) -> str:
    """The check digit that follows."""
    doubled = [sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits))]
    return str(-sum(doubled) % 10)


def _card(chance: random.Random, _language: str, number: int) -> str:
    prefix, length = chance.choice([("4", 16), ("51", 16), ("55", 16), ("37", 15), ("6011", 16)])
    digits = prefix + _digits(chance, length - len(prefix) - 1)
    digits += _luhn(digits)
    groups = (4, 6, 5) if length == 15 else (4, 4, 4, 4)
    parts, at = [], 0
    for size in groups:
        parts.append(digits[at : at + size])
        at += size
    return ("", " ", "-")[number % 3].join(parts)


def _iban(chance: random.Random, language: str, number: int) -> str:
    letters = lambda count: "".join(chance.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _letter in range(count))  # noqa: E731
    country, account = {
        "English": ("GB", letters(4) + _digits(chance, 14)),
        "German": ("DE", _digits(chance, 18)),
        "French": ("FR", _digits(chance, 23)),
        "Spanish": ("ES", _digits(chance, 20)),
        "Dutch": ("NL", letters(4) + _digits(chance, 10)),
        "Italian": ("IT", letters(1) + _digits(chance, 22)),
    }[language]
    as_number = "".join(str(int(sign, 36)) for sign in f"{account}{country}00")
    iban = f"{country}{98 - int(as_number) % 97:02}{account}"
    return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4)) if number % 2 else iban


def _address(chance: random.Random, _language: str, number: int) -> str:
    if number % 4:
        return ".".join(str(chance.randrange(1, 255)) for _part in range(4))
    groups = [f"{chance.randrange(1, 2**16):x}" for _group in range(8)]
    return ":".join(groups) if number % 8 else f"2001:db8::{groups[0]}:{groups[1]}"


def _ssn(chance: random.Random, _language: str, number: int) -> str:
    area = chance.choice([each for each in range(1, 900) if each not in (666,)])
    parts = f"{area:03}", f"{chance.randrange(1, 100):02}", f"{chance.randrange(1, 10_000):04}"
    return ("-", " ")[number % 4 == 0].join(parts)


VALUES: dict[str, Callable[[random.Random, str, int], str]] = {
    "EMAIL_ADDRESS": _email,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _address,
    "US_SSN": _ssn,
}


def _isbn(chance: random.Random, number: int) -> str:
    group, publisher, title = chance.choice(["0", "2", "3", "84", "90", "88"]), _digits(chance, 4), _digits(chance, 4)
    body = f"978{group}{publisher}{title}"
    body = body[:12].ljust(12, "7")
    check = -sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10
    return f"978-{body[3]}-{body[4:8]}-{body[8:12]}-{check}" if number % 2 else f"{body}{check}"


OTHERS: dict[str, Callable[[random.Random, int], str]] = {
    "order": lambda chance, number: (f"2024-{_digits(chance, 8)}", f"A{_digits(chance, 9)}", _digits(chance, 8))[
        number % 3
    ],
    "version": lambda chance, number: ".".join(str(chance.randrange(0, 30)) for _part in range(3 + number % 2)),
    "date": lambda chance, number: (
        f"{chance.randrange(1, 29):02}.{chance.randrange(1, 13):02}.{chance.randrange(1950, 2030)}",
        f"{chance.randrange(1950, 2030)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}",
        f"{chance.randrange(1, 29):02}/{chance.randrange(1, 13):02}/{chance.randrange(1950, 2030)}",
    )[number % 3],
    "ISBN": _isbn,
    "amount": lambda chance, number: (
        f"{chance.randrange(1000):03}.{chance.randrange(1000):03},{chance.randrange(100):02} €",
        f"${chance.randrange(1000):03},{chance.randrange(1000):03}.{chance.randrange(100):02}",
    )[number % 2],
    "article": lambda chance, number: _digits(chance, 13 if number % 2 else 6),
    "parcel": lambda chance, number: "00" + _digits(chance, 18) if number % 2 else f"1Z{_digits(chance, 16)}",
    "handle": lambda chance, number: (f"@ann{chance.randrange(100)}", "a@b", "ann at example dot com")[number % 3],
    "time": lambda chance, number: f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}",
    "place": lambda chance, number: f"{chance.uniform(35, 60):.4f}, {chance.uniform(-5, 25):.4f}",
    "commit": lambda chance, number: f"{chance.getrandbits(160):040x}"[: 40 if number % 2 else 8],
}


def page() -> str:
    """The page's text."""
    scores = measured()
    names = " | ".join(REGIONS)
    lines = [*HEAD.format(kinds=", ".join(WITHOUT)).splitlines(), "", f"| kind | {names} |"]
    lines.append("|---|" + "---|" * len(REGIONS))
    for kind in ENTITIES:
        cells = (scores[kind, language] for language in REGIONS)
        lines.append(
            f"| `{kind}` | " + " | ".join(f"{100 * s.recall:.0f} / {100 * s.precision:.0f}" for s in cells) + " |"
        )
    return "\n".join([*lines, "", NEVER])


HEAD = f"""# What scan_text finds

Measured, and written, by `python -m docs.scan_text` (part of `make generate`) on a labelled set that it makes: in each
language {POSITIVES} sentences with a value of each kind, in several spellings, and {NEGATIVES} with each of these hard
negatives: {{kinds}}.
The values are valid by the rules of their kind, and are nobody's.

Each cell is **recall / precision** in percent: the share of the values that are covered from their first to their last
character, and the share of the findings that are right."""
NEVER = """**Never found:** names, postal addresses, dates of birth, numbers of passports and national numbers of other
countries, user names, plates, and what is written in words (“ann at example dot com”). A phone number without its
country's code is found where it is valid in one of the step's `regions`, and has at least seven digits. A number that
happens to be valid as one of a phone or card is found as one, and four numbers with dots as an IP address, unless a
word for a version stands before them.

Texts of your own have spellings that this set has not: look at a sample before you rely on it, and leave out (`drop`)
columns of free text that nobody needs.
"""


if __name__ == "__main__":
    PAGE.write_text(page())
