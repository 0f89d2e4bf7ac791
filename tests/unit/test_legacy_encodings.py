"""Texts from before Unicode, and UTF-16 without a mark, are read as they were written."""

import io
from pathlib import PurePath

import pytest

from indexer.detection.legacy_encodings import one_byte_encoding
from indexer.detection.media_types import detect
from indexer.detection.mixed_encodings import two_encodings
from indexer.sources import scan_file
from rag.errors import SourceBinary

GERMAN = "Die Größe der Flüsse ist für die Städte wichtig. Über die Brücke führt ein schöner Weg.\n"
FRENCH = "L’été à la rivière, où l’eau coule déjà. Ça va être très agréable, n’est-ce pas ? Œuvre.\n"
ENGLISH = "It’s a “quoted” text – with dashes and a café. The rest of it is plain English prose.\n"
POLISH = "Rzeka płynie z gór do morza. Łódź jest pięknym miastem, a świat jest duży. Woda była zimna.\n"
CZECH = "Řeka teče z hor do moře. Voda je studená a ryby plavou hluboko pod ledem, říkají lidé.\n"
TURKISH = "İstanbul'da güneşli bir gün. Şehrin ırmağı çok uzun değil.\n"
RUSSIAN = "Реки текут с гор в море. Вода холодная, и рыба плавает глубоко под льдом.\n"
UKRAINIAN = "Річки течуть з гір у море. Їхня вода холодна, і риба плаває глибоко.\n"
GREEK = "Τα ποτάμια κυλούν από τα βουνά στη θάλασσα. Το νερό είναι κρύο.\n"
JAPANESE = "川は山から海へ流れる。水は冷たく、魚は深いところを泳いでいる。カタカナも使う。\n"
CHINESE = "河流从山上流向大海。水很冷，鱼在深处游动。城市的人口很多。\n"
TAIWANESE = "河流從山上流向大海。水很冷，魚在深處游動。城市的人口很多。\n"
KOREAN = "강은 산에서 바다로 흐른다. 물은 차갑고 물고기는 깊은 곳에서 헤엄친다.\n"
HEBREW = "הנהרות זורמים מההרים אל הים. המים קרים והדגים שוחים עמוק.\n"
ARABIC = "تتدفق الأنهار من الجبال إلى البحر. الماء بارد والأسماك تسبح في الأعماق.\n"
THAI = "แม่น้ำไหลจากภูเขาลงสู่ทะเล น้ำเย็นและปลาว่ายอยู่ลึก\n"
SPANISH = "¿Qué hora es? El niño comió una piña en el jardín de España. ¡Qué bonito está el corazón!\n"
PORTUGUESE = "João não sabe o que são as ações. A reunião começa às três. Você já leu à sua irmã?\n"
SWEDISH = "Kvinnan åt köttbullar och betalade 45,90 €. Mannen frågade om hon ville ha mer.\n"
MANY_LANGUAGES = GERMAN + FRENCH + SPANISH + SWEDISH + PORTUGUESE
ALL = [GERMAN, FRENCH, ENGLISH, POLISH, CZECH, TURKISH, RUSSIAN, UKRAINIAN, GREEK, JAPANESE, CHINESE, TAIWANESE, KOREAN,
       HEBREW, ARABIC, THAI]  # fmt: skip


def read(raw: bytes, name: str) -> str:
    return raw.decode(detect(PurePath(name), scan_file(io.BytesIO(raw))).encoding)


@pytest.mark.parametrize(
    "encoding",
    (
        "cp1252 cp1250 cp1251 koi8_u cp1253 cp1254 cp1255 cp1256 cp874 cp932 euc_jp gb18030 big5 cp949 mac_roman cp850"
    ).split(),
)
def test_words_of_one_encoding_line_by_line_are_not_taken_for_two(encoding):
    for text in ALL:
        try:
            raw = text.replace(" ", "\n").encode(encoding)
        except UnicodeEncodeError:
            continue
        assert two_encodings(raw, whole=True) is None, text


@pytest.mark.parametrize("second", [GERMAN, FRENCH, POLISH])
@pytest.mark.parametrize("first", [GERMAN, JAPANESE, RUSSIAN])
def test_lines_beside_utf8_are_read_in_their_own_encoding(first, second):
    encoding = "cp1250" if second is POLISH else "cp1252"
    assert read(first.encode() * 2 + second.encode(encoding) * 5, "a.txt") == first * 2 + second * 5


@pytest.mark.parametrize("times", [1, 30])
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.md"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *((GERMAN, encoding) for encoding in ("cp1252", "latin-1", "mac_roman", "cp850")),
        (FRENCH, "cp1252"),
        (FRENCH, "mac_roman"),
        (ENGLISH, "cp1252"),
        (ENGLISH, "mac_roman"),
        *((text, encoding) for text in (POLISH, CZECH) for encoding in ("cp1250", "iso8859-2")),
        (TURKISH, "cp1254"),
        *((RUSSIAN, encoding) for encoding in ("cp1251", "koi8_r", "cp866", "iso8859-5", "mac_cyrillic")),
        (UKRAINIAN, "cp1251"),
        (UKRAINIAN, "koi8_u"),
        (GREEK, "cp1253"),
        *((JAPANESE, encoding) for encoding in ("cp932", "euc_jp", "iso2022_jp")),
        (CHINESE, "gb18030"),
        (TAIWANESE, "big5"),
        (KOREAN, "cp949"),
        (HEBREW, "cp1255"),
        (ARABIC, "cp1256"),
        (THAI, "cp874"),
        *((SPANISH + PORTUGUESE, encoding) for encoding in ("cp1252", "mac_roman", "cp850")),
        (GERMAN + FRENCH, "cp1252"),
        (MANY_LANGUAGES, "cp1252"),
        *((POLISH + CZECH, encoding) for encoding in ("cp1250", "iso8859-2")),
        (GERMAN + POLISH, "cp1250"),
        (FRENCH + TURKISH, "cp1254"),
    ],
)
def test_encodings_of_before_are_found(text, encoding, name, times):
    assert read(text.encode(encoding) * times, name) == text * times


def test_records_of_a_mainframe_are_read():
    text = "0001 CASINGHEAD GAS   (BIG)      BERRY, MARIA R.   19991231 " * 20
    assert read(text.encode("cp037"), "a.dat") == text
    assert one_byte_encoding(("user@example.org é " * 20).encode("latin-1")) != "cp037"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ALL)
def test_wide_characters_of_every_script_are_read(text, encoding):
    assert read(text.encode(encoding), "a.txt") == text


@pytest.mark.parametrize(
    "raw", [b"\x7fXYZ" + bytes(range(32)) * 40, b"\x7fXYZ\x00\x00" + b"XX" * 4000, bytes(range(256)) * 20]
)
def test_bytes_that_only_look_like_wide_characters_are_no_text(raw):
    with pytest.raises(SourceBinary):
        detect(PurePath("a.dat"), scan_file(io.BytesIO(raw)))


@pytest.mark.parametrize(
    "text", [GREEK.encode("cp1253"), HEBREW.encode("cp1255"), "测试文字".encode("gb18030"), b"ascii"]
)
def test_what_cannot_be_told_by_its_letters_is_left_to_statistics(text):
    assert one_byte_encoding(text) is None


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman"])
def test_a_guess_without_a_language_is_doubtful(encoding):
    def doubtful(raw: bytes, name: str = "a.txt") -> bool:
        return detect(PurePath(name), scan_file(io.BytesIO(raw))).doubtful

    assert doubtful(MANY_LANGUAGES.encode(encoding))
    assert not any(doubtful(text.encode(encoding)) for text in (GERMAN, FRENCH, ENGLISH, SPANISH, PORTUGUESE))
    assert not doubtful(MANY_LANGUAGES.encode())
    stated = f"<html><head><meta charset={encoding}></head><body><p>{MANY_LANGUAGES}"
    assert not doubtful(stated.encode(encoding), "a.html")
    assert not any(doubtful(text.encode(code)) for text, code in ((RUSSIAN, "cp1251"), (JAPANESE, "cp932")))


@pytest.mark.parametrize(
    ("label", "text", "encoding"),
    [("iso-8859-1", "“so”", "cp1252"), ("gb2312", "镕基", "gb18030"), ("shift_jis", "①髙", "cp932")],
)
def test_names_of_encodings_mean_what_they_mean_on_the_web(label, text, encoding):
    page = f"<html><head><meta charset='{label}'></head><body><p>{text}".encode(encoding)
    assert text in read(page, "a.html")


ASCII_LINES = "Plain lines of figures: 12, 15 and 17.\n" * 5000  # beyond what is looked at first


@pytest.mark.parametrize(
    ("late", "encoding"),
    [
        (GERMAN, "cp1252"),
        ("Müller;groß;12\n", "cp1252"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (JAPANESE * 3, "cp932"),
        (GERMAN.rstrip("\n"), "cp1252"),
    ],
)
def test_letters_that_come_late_are_read_in_their_encoding(late, encoding):
    text = ASCII_LINES + late
    assert read(text.encode(encoding), "rows.csv") == text
    one_line = text.replace("\n", " ")
    assert read(one_line.encode(encoding), "a.txt") == one_line


def test_late_lines_of_another_encoding_do_not_change_what_is_utf8():
    for late in (GERMAN, GERMAN * 5):
        assert read((RUSSIAN + ASCII_LINES).encode() + late.encode("cp1252"), "a.log") == RUSSIAN + ASCII_LINES + late
    torn = (RUSSIAN + ASCII_LINES + RUSSIAN).encode()[:-2]
    assert detect(PurePath("a.log"), scan_file(io.BytesIO(torn))).encoding == "utf-8"


@pytest.mark.parametrize("late", [bytes(range(128, 256)) * 2, b"\xd8\x00" * 40, b"\xff\xfe" + b"w\x00" * 30])
def test_late_bytes_that_are_no_text_cost_no_words_before_them(late):
    text = ASCII_LINES[:100_000]
    found = detect(PurePath("a.log"), scan_file(io.BytesIO(text.encode() + late))).encoding
    assert (text.encode() + late).decode(found, errors="replace").startswith(text)
