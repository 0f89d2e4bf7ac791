"""What is no text, and what only looks like it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import string
import uuid
from itertools import pairwise

import pytest

from rag.retrieval.flaws import Flaw, flaw_of

PROSE = (
    "The feed pump runs at forty bar and is checked each morning by the shift that leaves. Nobody may open it while it "
    "runs, and the key stays with the foreman. When the pressure falls the second pump starts by itself, and a lamp "
    "above the door is lit until somebody has written down the time. Both pumps were made in the same year, "
    "one by a workshop of this town and one across the river, whose engineers built them for ships and not for mills."
)
GERMAN = (
    "Die Speisepumpe läuft mit vierzig bar und wird jeden Morgen von der Schicht geprüft, die geht. Solange sie läuft, "
    "darf niemand sie öffnen, und der Schlüssel bleibt beim Vorarbeiter. Wenn der Druck fällt, läuft die zweite Pumpe "
    "von selbst an, und über der Tür brennt eine Lampe, bis jemand die Zeit aufgeschrieben hat."
)


def dna(number: int) -> str:
    return "".join("acgt"[byte % 4] for byte in hashlib.sha256(bytes([number])).digest()[:10])


POLISH = (
    "Pompa zasilająca pracuje pod ciśnieniem czterdziestu barów i co rano sprawdza ją zmiana, która kończy pracę. Gdy "
    "pompa pracuje, nikomu nie wolno jej otwierać, a klucz zostaje u brygadzisty. Jeżeli ciśnienie spada, druga pompa "
    "włącza się sama, a nad drzwiami świeci się lampa, dopóki ktoś nie zapisze godziny."
)
KOREAN = "급수 펌프는 사십 바로 돌아가며 매일 아침 교대하는 사람들이 살펴본다. " * 6
CHINESE = "泵以四十巴运行。" * 40
WELSH = (
    "Mae hen wlad fy nhadau yn annwyl i mi, Gwlad beirdd a chantorion, enwogion o fri; Ei gwrol ryfelwyr, gwladgarwyr "
    "tra mad, Tros ryddid gollasant eu gwaed. Gwlad, gwlad, pleidiol wyf i'm gwlad, Tra môr yn fur i'r bur hoff bau, "
    "O bydded i'r heniaith barhau. Hen Gymru fynyddig, paradwys y bardd, Pob dyffryn, pob clogwyn, i'm golwg "
    "sydd hardd; Trwy deimlad gwladgarol, mor swynol yw si Ei nentydd, afonydd, i mi."
)
CODE = '''
def checked(values: list[float], *, limit: float = 40.0) -> list[float]:
    """Values that are not above the limit, in their order."""
    kept = [value for value in values if value <= limit]
    if len(kept) != len(values):
        log.warning("left out", count=len(values) - len(kept), limit=limit)
    return kept


class Html2Text(Base64Reader, metaclass=ABCMeta):
    _CTX = re.compile(r"[^\\W\\d_]{3,}(?:xqz|ptr|cfg)")
'''
TABLE = "\n".join(f"| {year} | {year % 97} | {year * 3.7:.1f} | {year % 13} |" for year in range(1990, 2020))
NUMBERS = " ".join(f"{number % 90 + 10}" for number in range(0, 5000, 37))
ADDRESSES = "\n".join(f"https://example.org/papers/2019/{number}/parts/appendix-{number}.pdf" for number in range(9))
PATHS = "\n".join(f"usr/share/doc/packages/library-{number}/examples/second/program.c" for number in range(9))
FORMULAS = "\n".join(
    rf"The map $f_{{{n}}}\colon [0,{n}) \to (0,1]$ has $\frac{{a_{{{n}}}}}{{b}}$ for x in ({n},{n + 1}] and f(x)g[y)."
    for n in range(20)
)
HALF_OF_CODE = "\n".join(
    f"    }} else if (check(value{n})) {{ return rows[{n}].get(names[i]);\n  }}}}" for n in range(20)
)
SETTINGS = (
    "\n".join(f"RAG_LIMIT_OF_{name}_BYTES=/srv/{name}" for name in ("DATA", "INDEX", "LOGS", "MODELS", "SPOOL")) * 2
)
ROWS = "\n".join(f"2024-01-{day};Müller;Berlin;{day * 137.5:.2f};EUR;bezahlt" for day in range(10, 25))
LISTED = "\n".join(f"meeting_minutes_{year}_signed_final.pdf" for year in range(2001, 2020))
SEVERAL = "\n".join(f"first_name_last_name_{number}@example-company.org" for number in range(12))
ASKED = "问:什么是检索?答:检索是从文档集合中找到相关信息的过程(参见第三章)。" * 9
SUMS = "\n".join(
    f"{hashlib.sha256(name.encode()).hexdigest()}  {name}.pdf" for name in ("minutes", "plan", "rules", "map")
)
TESTS = "\n".join(f"test_what_is_left_out_of_searches_by_rule_{n}_is_told_to_whoever_asks" for n in range(9))
SLUGS = "\n".join(f"how-to-move-your-data-from-version-{n}-to-the-one-after-it" for n in range(9))
SHEET_FORMULA = (
    "=IF(AND(A2>5,B2<3),VLOOKUP(C2,Sheet2!$A$1:$F$200,3,FALSE),IFERROR(INDEX(Data!$B$2:$B$500,MATCH(1,(Data!$A$2:$A$500="
    'E2)*(Data!$C$2:$C$500=F2),0)),IF(G2="red","stop",IF(G2="green","go",IF(G2="amber","wait","unknown")))))'
)
FORMULA = r"u_t+u\frac{\partial{}u}{\partial{}x}=-\frac{1}{\rho}\frac{\partial{}p}{\partial{}x}+\nu\nabla^{2}u+" * 3
PLAIN_FORMULA = "x=(-b+sqrt(b^2-4*a*c))/(2*a)+(c_1*exp(-k_1*t)+c_2*exp(-k_2*t))*(1-exp(-(t-t_0)/tau))/(1+K_m/S)+" * 3
FORM = f"Name: Signature:\n{'_' * 60}\n\n{'_' * 60}\n\nRemarks:\n" + f"{'-' * 60}\n" * 4
DEVICES = "\n".join(f"{uuid.uuid5(uuid.NAMESPACE_DNS, str(number))} Lamp {number} kitchen" for number in range(20))
PEOPLE = "\n".join(
    f"{name} Rivers, {name.lower()}@example.org" for name in "Anna Berta Carl Dora Emil Frida Gustav".split()
)
CODES = "\n".join(f"{number:04X} {number + 15:04X} Thai" for number in range(0xA000, 0xB000, 64))
GENES = "\n".join(f"{n * 60 + 1:9d} " + " ".join(dna(n * 6 + m) for m in range(6)) for n in range(14))
NOISE = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(20))
UUENCODED = "".join(binascii.b2a_uu(NOISE[at : at + 45]).decode().rstrip(" \n") + "\n" for at in range(0, 630, 45))
STOCK = "\n".join(
    f"MOTOR, {colour:<16} 12 V, 3.5 A, CLASS B/F.. SHELF 55-{number}"
    for number, colour in enumerate("RED BLUE GREEN WHITE BLACK GREY BROWN PINK".split(), 110)
)
TUTORIAL = (
    "To see a file as text, run base64 file.bin, which prints lines such as these:\n\n"
    f"{base64.encodebytes(NOISE[:400]).decode()}\nTo undo it, run base64 -d."
)
TARGETS = "\n".join(
    f"{machine}-{system}"
    for machine in ("sparcv9", "thumbv7neon", "wasm32", "x86_64")
    for system in "apple-darwin unknown-linux-gnu unknown-linux-musl pc-windows-msvc unknown-freebsd".split()
)
TARGETS_OF_LINKS = "\n".join(
    f".. _{name}: docs/user/config.html#{name}-{other}"
    for name, other in pairwise("detailed dump embed figure inputs language literal output prune raw reference".split())
)
ONIONS = "\n".join(
    f"Shop {n} | http://{base64.b32encode(NOISE[n * 10 : n * 10 + 10]).decode().lower()}.onion/" for n in range(20)
)
HOSTS = "\n".join(f"{a}{b}{c}.com" for a in "kw" for b in "lmnqt" for c in ("jb", "mbc", "prtv", "sn", "tvx", "wcn"))
SYMBOLS = "\n".join(
    rf"\{a}{b} | \n{b}{a}"
    for a in ("eq", "succ", "prec", "lt", "gtr")
    for b in ("approx", "eqq", "circ", "sim", "less")
)
KEY = "The file's SHA-256 is 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08. Compare it before use."
TEXTS = [
    PROSE,
    GERMAN,
    POLISH,
    CHINESE,
    CODE,
    TABLE,
    TARGETS_OF_LINKS,
    ONIONS,
    HOSTS,
    SYMBOLS,
    STOCK,
    f"uuencode writes:\n\nbegin 644 a.bin\n{UUENCODED[:300]}\nend\n\n{PROSE}",
    NUMBERS,
    ADDRESSES,
    PATHS,
    FORMULAS,
    HALF_OF_CODE,
    WELSH,
    SETTINGS,
    ROWS,
    LISTED,
    SEVERAL,
    ASKED,
    SUMS,
    TESTS,
    SLUGS,
    FORM,
    SHEET_FORMULA,
    SHEET_FORMULA.replace(",", ";"),
    FORMULA,
    PLAIN_FORMULA,
    DEVICES,
    GENES,
    PEOPLE,
    CODES,
    TUTORIAL,
    TARGETS,
    KEY,
    "",
    "Yes.",
]

MINIFIED = "!function(t,e){var n=t[0],r=e.x;return n?r(n):e.x=function(i){o(i);for(var a=1;a<9;)a+=n.s[i]};}(a,{b:1});"


def in_another_alphabet(text: str) -> str:
    """As a font does that maps its letters wrongly."""
    return text.translate(str.maketrans(string.ascii_lowercase, "qgxkzvwjbfhmtcprydlnsuoiea"))


def damaged(text: str, share: float, signs: str) -> str:
    """Letters replaced by signs, which is always the same."""

    def drawn(match: re.Match[str]) -> str:
        one, other, *_ = hashlib.sha256(f"{match.start()}{match[0]}".encode()).digest()
        return signs[other % len(signs)] if one < share * 256 else match[0]

    return re.sub(r"[^\W\d_]", drawn, text)


def shifted(text: str, by: int) -> str:
    """The codes that a font's glyphs have where its letters are ``by`` further on."""
    return "".join(chr(ord(letter) - by) if "!" <= chr(max(ord(letter) - by, 0)) <= "~" else letter for letter in text)


@pytest.mark.parametrize("text", TEXTS)
def test_prose_code_and_tables_are_text(text) -> None:
    assert flaw_of(text) is None


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        (base64.encodebytes(NOISE).decode(), Flaw.ENCODED),
        (base64.b64encode(NOISE).decode(), Flaw.ENCODED),
        (base64.urlsafe_b64encode(NOISE).decode(), Flaw.ENCODED),
        (f"-----BEGIN PRIVATE KEY-----\n{base64.encodebytes(NOISE).decode()}-----END PRIVATE KEY-----", Flaw.ENCODED),
        (UUENCODED, Flaw.ENCODED),
        (f"Here is the file.\n\nbegin 644 a.bin\n{UUENCODED}`\nend\n", Flaw.ENCODED),
        (NOISE.hex(), Flaw.ENCODED),
        (NOISE.hex(" "), Flaw.ENCODED),
        (MINIFIED * 4, Flaw.MINIFIED),
        (in_another_alphabet(PROSE), Flaw.GARBLED),
        *((shifted(text, by), Flaw.GARBLED) for text in (PROSE, GERMAN * 2, POLISH * 2) for by in (1, 2, 3, 29, 31)),
        (damaged(PROSE * 2, 0.4, string.ascii_lowercase), Flaw.GARBLED),
        (PROSE.replace("e", "|").replace("o", "0"), Flaw.GARBLED),
    ],
)
def test_what_nobody_can_read_is_no_text(text, flaw) -> None:
    assert flaw_of(text) is flaw


@pytest.mark.parametrize("share", [0.2, 0.3, 0.45, 0.6])
@pytest.mark.parametrize("signs", ["[](){}<>", "[](){}|!1l0I;:,.'`~^*", string.punctuation])
@pytest.mark.parametrize("text", [PROSE * 2, GERMAN * 3, POLISH * 3])
def test_words_torn_by_brackets_are_no_text(text, signs, share) -> None:
    assert flaw_of(damaged(text, share, signs)) is Flaw.GARBLED


def test_a_few_words_are_not_judged() -> None:
    assert flaw_of("Zqx wrv pfk jdgh.") is None


@pytest.mark.parametrize("unknown", ["\ue12f\uf0a3", "\ufffd\ufffd", "\U000f0123\ue001"])
def test_characters_that_nobody_knows_are_no_text_unless_they_are_few(unknown):
    words = KOREAN.split()
    assert flaw_of(" ".join(unknown + word if i % 2 else word for i, word in enumerate(words))) is Flaw.GARBLED
    assert flaw_of(" ".join(unknown[0] + word if i % 9 == 0 else word for i, word in enumerate(words))) is None


def test_numbers_of_characters_in_place_of_them_are_no_text():
    assert flaw_of("(cid:12)(cid:45)(cid:3) " * 20) is Flaw.GARBLED
    assert flaw_of("The program writes (cid:12) for each character that its font does not name. " * 9) is None
