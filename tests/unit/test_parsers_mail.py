import io
import re
import struct
from dataclasses import replace
from email.message import EmailMessage, Message
from email.mime.application import MIMEApplication
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from indexer.formats import MAIL, OUTLOOK
from indexer.parsers.blocks import Limits, Member, Parsed
from indexer.parsers.mail.mailbox import parse_mailbox
from indexer.parsers.mail.message import parse_mail
from indexer.parsers.mail.outlook import parse_outlook
from rag.errors import SourceDamaged, SourceEncrypted, SourceTooLarge, SourceUnsupported
from tests.unit.mails import mail
from tests.unit.outlook_files import Tree, msg, outlook
from tests.unit.parsing import LIMITS, Result


@pytest.fixture
def read(tmp_path):
    def run(raw: bytes | EmailMessage, encoding: str = "latin-1") -> Result:
        file = tmp_path / "mail"
        file.write_bytes(raw if isinstance(raw, bytes) else raw.as_bytes())
        with file.open("rb") as opened:
            return Result(list(parse_mail(opened, encoding, LIMITS)))

    return run


def content(result: Result, name: str) -> bytes:
    return b"".join(result.members[name].content)


def test_headers_text_and_attachments(read):
    result = read(mail("Größe der Flüsse", "RIVERS\n\nThey run down.\n", notes_txt=b"note"))
    assert result.titles == ["Größe der Flüsse"]
    assert result.kinds() == [
        ("heading", "Größe der Flüsse"),
        ("paragraph", "From: Ann <ann@example.org>\nTo: bob@example.org\nDate: Mon, 02 Mar 2020 10:00:00 +0000"),
        ("paragraph", "RIVERS"),
        ("paragraph", "They run down."),
    ]
    assert content(result, "notes.txt") == b"note"


def test_a_long_table_of_an_html_mail_keeps_the_names_of_its_columns(read):
    cells = "".join(f"<tr><td>lake {n}</td><td>{n} m</td></tr>" for n in range(900))
    message = mail()
    message.set_content(f"<h1>Depths</h1><table><tr><th>name</th><th>depth</th></tr>{cells}</table>", subtype="html")
    tables = [block for block in read(message).blocks if block.kind == "table"]
    assert [block.header for block in tables] == [None, "name | depth"]
    assert [block.kind.value for block in read(message).blocks][2:] == ["paragraph", "table", "table"]


@pytest.mark.parametrize("field", ["Content-Type: text/plain; ", "Content-Disposition: inline; "])
@pytest.mark.parametrize(
    "parameters",
    [
        b"filename*=utf-8''a; filename*0=b; charset*=utf-8''a; charset*0=b; name*0=b; name*=c",
        b"filename*=\0''a; name*=\0''a; charset*=\0''a",
        b"boundary*=a; boundary*0=b",
    ],
)
def test_parameters_that_make_no_sense_cost_no_message(read, field, parameters):
    result = read(b"Subject: Rivers\n" + field.encode() + parameters + b"\n\nThey run.\n")
    assert result.titles == ["Rivers"]
    assert "They run." in result.text


def test_a_picture_whose_identifier_is_no_ascii_costs_no_message(read):
    lines = b'Subject: Rivers\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\nThey run down.\n--b\n'
    picture = "Content-Type: image/png\nContent-ID: <größe@a>\n\nx\n--b--\n"
    assert "They run down." in read(lines + picture.encode("latin-1")).text


@pytest.mark.timeout(10)
@pytest.mark.parametrize("field", ["Content-Type: application/pdf; ", "content-disposition: attachment; "])
def test_parameters_by_the_hundred_thousand_cost_no_time(read, field):
    part = field.encode() + b"filename=a.pdf; name=a.pdf;" + b"filename*0=a;" * 300_000 + b"\n\n%PDF\n"
    lines = (
        b'Subject: Rivers\nContent-Type: multipart/mixed; boundary="b"\n\n--b\n\nThey run down.\n--b\n',
        part,
        b"--b--\n",
    )
    assert list(read(b"".join(lines)).members) == ["a.pdf"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "others",
    [
        *(kind * count for kind in ("x=a;", 'x="a;b";') for count in (1, 2000, 100_000)),
        f"name={'a' * 5000};",
        "name*=\0''a;",
        "boundary*=\0''a; charset*=b; x*0=b; x*=c; name*0=b; name*=c; ",
    ],
)
def test_a_boundary_and_a_charset_count_wherever_they_stand(read, others):
    inner = f"Content-Type: text/plain; {others} charset=koi8-r\n\n".encode() + "Реки текут.".encode("koi8-r")
    head = f'Subject: Rivers\nContent-Type: multipart/mixed; {others} boundary="b;"\n\n'.encode()
    found = read(head + b"--b;\n" + inner + b"\n--b;\nContent-Type: text/plain; name=a.txt\n\nNote.\n--b;--\n")
    assert "Реки текут." in found.text
    assert list(found.members) == ["a.txt"]


def test_a_name_in_two_forms_that_make_no_sense_together_costs_only_the_name(read):
    bad = b"Content-Disposition: attachment; x*0=a; x*=b; filename*=utf-8''gr%C3%B6%C3%9Fe.pdf\n"
    lines = b'Subject: Rivers\nContent-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: application/pdf\n'
    assert list(read(lines + bad + b"\n%PDF\n--b--\n").members) == ["größe.pdf"]


@pytest.mark.parametrize(
    "line",
    [
        "<p><a href='x'>View in browser</a></p>",
        "<p>Unsubscribe | Privacy policy | Follow us</p>",
        "<ul><li>Unsubscribe<li>Terms of use<li>Facebook</ul>",
        "<td>View this email in your browser</td>",
        "<p>Newsletter abbestellen · Impressum · Datenschutz</p>",
        "<p>Se désabonner - Mentions légales</p>",
    ],
)
def test_links_of_a_newsletter_are_left_out(read, line: str):
    message = EmailMessage()
    message["Subject"] = "Locks"
    message.set_content(f"{line}<p>The lock opens at 9.</p>{line}", subtype="html")
    assert read(message).text == "Locks\n\nThe lock opens at 9.\n\n"


@pytest.mark.parametrize(
    "line", ["Privacy policy", "Unsubscribe", "How to unsubscribe: write to us.", "Unsubscribe | The lock is closed"]
)
def test_what_may_be_a_mail_s_own_words_stays(read, line: str):
    message = EmailMessage()
    more = "" if line == "Unsubscribe" else "<p>Open.</p>"
    message.set_content(f"<p>{line}</p>{more}", subtype="html")
    assert line in read(message).text


def test_the_plain_form_is_read_and_html_where_the_plain_one_is_a_stub(read):
    both = mail(text="Rivers run down to the sea.")
    both.add_alternative("<p>Rivers <b>run</b> down to the sea.</p>", subtype="html")
    assert read(both).of("paragraph")[1:] == ["Rivers run down to the sea."]
    stub = mail(text="No HTML?")
    stub.add_alternative("<table><tr><td>name<td>depth<tr><td>Inn<td>3 m</table><p>" + "It runs. " * 20, subtype="html")
    result = read(stub)
    assert result.of("table") == ["name | depth\nInn | 3 m"]
    assert "No HTML" not in result.text


def multipart(kind: str, *parts: Message) -> MIMEMultipart:
    return MIMEMultipart(kind, _subparts=parts)


def named(name: str) -> MIMEApplication:
    part = MIMEApplication(b"%PDF-", "pdf")
    part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def page(text: str) -> MIMEText:
    return MIMEText(f"<p>{text}</p>", "html")


PLAIN = MIMEText("Rivers run down.\n\nLakes do not.")
STUB = MIMEText("No HTML?")
TOP, END = page("Rivers <b>run</b> down."), page("Lakes do not.")
LONG = page("Rivers <b>run</b> down. " + "They run. " * 9)


@pytest.mark.parametrize(
    ("message", "text", "members"),
    [
        # Apple Mail, with an attachment within the text, and beside all.
        (
            multipart("alternative", PLAIN, multipart("mixed", TOP, named("map.pdf"), END)),
            "Rivers run down.\n\nLakes do not.\n\n",
            ["map.pdf"],
        ),
        (
            multipart("mixed", multipart("alternative", PLAIN, multipart("related", TOP, END)), named("map.pdf")),
            "Rivers run down.\n\nLakes do not.\n\n",
            ["map.pdf"],
        ),
        (
            multipart("alternative", multipart("mixed", PLAIN, named("map.pdf")), LONG),
            "Rivers run down.\n\nLakes do not.\n\n",
            ["map.pdf"],
        ),
        (multipart("alternative", STUB, multipart("mixed", TOP, named("map.pdf"), LONG)), None, ["map.pdf"]),
        (multipart("alternative", MIMEText(""), multipart("related", TOP)), "Rivers run down.\n\n", []),
        (multipart("alternative", TOP, multipart("related", TOP)), "Rivers run down.\n\n", []),
        (
            multipart("alternative", PLAIN, multipart("alternative", PLAIN, TOP)),
            "Rivers run down.\n\nLakes do not.\n\n",
            [],
        ),
    ],
)
def test_of_a_body_in_several_forms_one_is_read(read, message, text, members):
    result = read(message.as_bytes())
    assert list(result.members) == members
    if text is None:
        assert "No HTML" not in result.text
        assert result.text.count("down.") == 2
    else:
        assert result.text == text


def test_a_mail_that_is_cut_is_told(read):
    raw = multipart("mixed", PLAIN, named("map.pdf"), named("plan.pdf")).as_bytes()
    assert read(raw).notices == []
    result = read(raw[: raw.index(b"plan.pdf")])
    assert result.notices == ["It ends before its last part does: it may be cut, and attachments may be missing."]
    assert "map.pdf" in result.members


def test_pictures_of_a_form_that_is_not_read_are_left_out(read):
    picture = MIMEImage(b"\x89PNG", "png", name="logo.png")
    picture["Content-ID"] = "<logo>"
    shown = page("Rivers run. <img src='cid:logo'>")
    result = read(multipart("alternative", PLAIN, multipart("mixed", shown, picture)).as_bytes())
    assert (list(result.members), result.notices) == ([], ["1 picture of its text left out."])


def test_pictures_of_the_text_and_signatures_are_left_out(read):
    message = mail()
    message.add_alternative("<p>See <img src='cid:logo'></p>", subtype="html")
    message.get_payload()[1].add_related(b"\x89PNG", "image", "png", cid="<logo>", filename="logo.png")
    message.add_attachment(b"sig", maintype="application", subtype="pgp-signature", filename="s.asc")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="photo.png")
    result = read(message)
    assert list(result.members) == ["photo.png"]
    assert result.notices == ["1 picture of its text left out."]


def test_enclosed_messages_are_members_with_their_subjects(read):
    message = mail("Fwd: plans")
    message.add_attachment(mail("The plan / draft", "Dig here."))
    result = read(message)
    enclosed = read(content(result, "The plan - draft.eml"))
    assert enclosed.titles == ["The plan / draft"]
    assert "Dig here." in enclosed.text


def test_names_of_attachments_lose_their_folders_and_broken_characters(read):
    raw = b'Subject: x\nContent-Type: application/pdf; name="..\\\\..\\\\a/b/evil\xff.pdf"\n\n%PDF'
    assert list(read(raw).members) == ["evil\ufffd.pdf"]
    raw = b"Subject: x\nContent-Type: application/pdf\n\n%PDF"
    assert list(read(raw).members) == ["attachment.pdf"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\n\ntext", "Größe"),
        ("Subject: Größe\n\ntext".encode(), "Größe"),
        (b"Subject: =?nonsense?b?!!?=\n\ntext", "=?nonsense?b?!!?="),
        (b"Subject: folded\n over lines\n\ntext", "folded over lines"),
    ],
)
def test_subjects_are_decoded_or_left_as_they_are(read, raw, expected):
    assert read(raw).titles == [expected]


def test_texts_that_lie_about_their_encoding_are_read(read):
    head = b"Subject: x\nContent-Type: text/plain; charset="
    assert "Größe" in read(head + b"us-ascii\n\n" + "Größe".encode()).text
    assert "Größe" in read(head + b"utf-8\n\n" + "Größe".encode("cp1252")).text
    assert "Größe" in read(head + b"no-such\n\n" + "Größe".encode("cp1252")).text
    assert "text" in read("\ufeffSubject: x\n\ntext".encode("utf-16-le"), "utf-16-le").text


def test_encrypted_messages_are_refused(read):
    raw = b'Subject: x\nContent-Type: multipart/encrypted; boundary="b"\n\n'
    raw += b"--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n"
    raw += b"--b\nContent-Type: application/octet-stream\n\nhQEMA\n--b--\n"
    with pytest.raises(SourceEncrypted):
        read(raw)
    with pytest.raises(SourceEncrypted):
        read(b"Subject: x\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nMIIB")


def test_a_thousand_nested_parts_are_refused(read):
    raw = b"Subject: deep\n"
    for n in range(1000):
        raw += b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n)
    with pytest.raises(SourceDamaged, match="nest deeper"):
        read(raw + b"Content-Type: text/plain\n\ncore\n")


def test_a_thousand_parts_side_by_side_are_too_many(read):
    raw = b'Subject: wide\nContent-Type: multipart/mixed; boundary="b"\n\n'
    raw += b"--b\nContent-Type: application/x-thing\n\nx\n" * 500
    with pytest.raises(SourceTooLarge, match="more than 100 files"):
        read(raw + b"--b--\n")


def outlook_read(message: Tree) -> Result:
    return Result(list(parse_outlook(io.BytesIO(outlook(message)), "utf-8", LIMITS)))


def test_messages_within_outlook_messages_are_mails_with_their_own_attachments(read):
    inner = msg("Innermost", "Dig deeper.", attached=[("deep.txt", b"gold" * 2000)])
    plan = msg(
        "Der Plan / Größe",
        html="<p>Grabt <b>hier</b>, Jürgen.".encode(),
        sender="Ann",
        attached=[("Übersicht.csv", b"a,b\n1,2\n"), ("", inner), ("again.bin", b"\x00\x01")],
    )
    result = outlook_read(msg("Fwd", "See below.", attached=[("plan.txt", b"none"), ("ignored", plan)]))
    assert "See below." in result.text
    assert list(result.members) == ["plan.txt", "Der Plan - Größe.eml"]
    assert content(result, "plan.txt") == b"none"
    enclosed = read(content(result, "Der Plan - Größe.eml"))
    assert enclosed.titles == ["Der Plan / Größe"]
    assert enclosed.of("paragraph") == ["From: Ann <a@b>", "Grabt hier, Jürgen."]
    assert list(enclosed.members) == ["Übersicht.csv", "Innermost.eml", "again.bin"]
    assert content(enclosed, "Übersicht.csv") == b"a,b\n1,2\n"
    deepest = read(content(enclosed, "Innermost.eml"))
    assert "Dig deeper." in deepest.text
    assert content(deepest, "deep.txt") == b"gold" * 2000


def test_headers_of_outlook_messages_are_those_that_outlook_shows():
    sent = "From: =?UTF-8?B?SsO8cmdlbg==?= <j@x>\nTo: other@x\nDate: Mon, 02 Mar 2020 10:00:00 +0000\n\n"
    known = [(1, "Bob", "bob@x"), (1, "eve@x", "eve@x"), (2, "Cid", "/o=EX/cn=Cid"), (3, "Dan", "dan@x")]
    shown = outlook_read(msg("s", "t", sender="Ann", headers=sent, recipients=known)).of("paragraph")[0]
    assert shown == "From: Ann <a@b>\nTo: Bob <bob@x>, eve@x\nCc: Cid\nDate: Mon, 02 Mar 2020 10:00:00 +0000"
    shown = outlook_read(msg("s", "t", headers=sent)).of("paragraph")[0]
    assert shown == "From: Jürgen <j@x>\nTo: other@x\nDate: Mon, 02 Mar 2020 10:00:00 +0000"


def test_what_cannot_be_read_within_an_outlook_message_costs_itself_alone(read):
    thing = {"CONTENTS": b"ole"}
    secret = msg("Secret", kind="IPM.Note.SMIME", attached=[("smime.p7m", b"MIIB")])
    deep = msg("bottom")
    for n in range(12):
        deep = msg(f"level {n}", attached=[("", deep)])
    torn = {"__properties_version1.0": b"\x1f\0\x37\0" * 16}
    held = [("drawing", thing), ("", secret), ("", deep), ("", torn)]
    result = outlook_read(msg("All", "Well.", attached=held))
    assert list(result.members) == ["drawing", "Secret.eml", "level 11.eml", "attachment-4.bin"]
    with pytest.raises(SourceDamaged, match="attachment"):
        content(result, "attachment-4.bin")
    with pytest.raises(SourceUnsupported, match="another program"):
        content(result, "drawing")
    with pytest.raises(SourceEncrypted):
        read(content(result, "Secret.eml"))
    with pytest.raises(SourceTooLarge, match="one within the other"):
        content(result, "level 11.eml")


def test_torn_outlook_messages_are_damaged(tmp_path):
    file = tmp_path / "a.msg"
    for raw in (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), b"none"):
        file.write_bytes(raw)
        with file.open("rb") as opened, pytest.raises(SourceDamaged, match="Outlook"):
            list(parse_outlook(opened, "utf-8", LIMITS))


def test_a_damaged_outlook_message_that_lost_attachments_says_so():
    raw = outlook(msg("Seas", "They are salt.", attached=[(f"{name}.txt", b"salt") for name in "abc"]))
    assert Result(list(parse_outlook(io.BytesIO(raw), "utf-8", LIMITS))).notices == []
    raw = raw.replace(
        "__attach_version1.0_#00000001".encode("utf-16-le"), "__attack_version1.0_#00000001".encode("utf-16-le")
    )
    result = Result(list(parse_outlook(io.BytesIO(raw), "utf-8", LIMITS)))
    assert list(result.members) == ["a.txt", "c.txt"]
    assert result.notices == ["It should hold 1 attachment more: it may be damaged."]


def test_an_outlook_message_of_impossible_sectors_is_damaged():
    raw = bytearray(outlook(msg("Seas", "They are salt.", attached=[("a.txt", b"salt")])))
    raw[33] ^= 1  # the size of its small sectors
    with pytest.raises(SourceDamaged, match="Outlook"):
        list(parse_outlook(io.BytesIO(raw), "utf-8", LIMITS))


def test_the_registry_names_these_parsers():
    from indexer.parsers.registry import PARSERS, load_parser

    assert load_parser(PARSERS[MAIL]) is parse_mail
    assert load_parser(PARSERS[OUTLOOK]) is parse_outlook


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("iso-8859-1", "“so”".encode("cp1252"), "“so”"),
        ("iso-8859-1", "“so”".encode(), "“so”"),
        ("gb2312", "朱镕基".encode("gb18030"), "朱镕基"),
        ("us-ascii", "Реки текут с гор в море.".encode("koi8_r"), "Реки текут с гор в море."),
        ("", "Die Größe der Flüsse zählt.".encode("cp850"), "Die Größe der Flüsse zählt."),
    ],
)
def test_encodings_of_mails_are_what_programs_mean_by_their_names(read, charset, raw, text):
    said = f"; charset={charset}" if charset else ""
    head = f"Subject: x\nContent-Type: text/plain{said}\nContent-Transfer-Encoding: 8bit\n\n"
    assert read(head.encode() + raw).of("paragraph") == [text]


def mailbox(*messages: bytes | EmailMessage, end: bytes = b"\n") -> bytes:
    """As mboxrd: a mark before each message, and no line of a message that looks like one."""
    held = b""
    for message in messages:
        raw = message if isinstance(message, bytes) else message.as_bytes()
        raw = re.sub(rb"^(>*From )", rb">\1", raw, flags=re.MULTILINE)
        held += b"From - Mon May 04 10:00:00 2020\n" + raw.replace(b"\r\n", b"\n") + b"\n"
    return held.replace(b"\n", end)


def read_mailbox(raw: bytes, encoding: str = "latin-1", limits: Limits = LIMITS) -> list[Parsed]:
    return list(parse_mailbox(io.BytesIO(raw), encoding, limits))


def messages_of(found: list[Parsed]) -> list[tuple[str, bytes]]:
    return [(each.name, b"".join(each.content)) for each in found if isinstance(each, Member)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_every_message_of_a_mailbox_is_one_of_its_own(read, end):
    text = "From here it runs.\n>From there, too.\nFrom: is no header\n"
    sent = [mail("One", text), mail("Größe/2", notes_txt=b"note"), mail("One", "Third.\n")]
    found = messages_of(read_mailbox(mailbox(*sent, end=end)))
    assert [name for name, _raw in found] == ["One.eml", "Größe-2.eml", "One.eml"]
    assert read(found[0][1]).of("paragraph")[1:] == [text.strip()]
    assert content(read(found[1][1]), "notes.txt") == b"note"
    assert found[2][1].endswith(b"Third." + end + end)
    assert not any(b"10:00:00 2020" in raw for _name, raw in found)


def test_a_mailbox_is_read_in_whatever_pieces_it_comes(read, monkeypatch):
    monkeypatch.setattr("indexer.parsers.mail.mailbox._LINE_BYTES", 80)
    monkeypatch.setattr("indexer.parsers.mail.mailbox.PART_BYTES", 50)
    raw = mailbox(mail("One", "From " + "x" * 150 + "\nFrom: y\n"), b"Subject: Two\n\n" + b"z" * 75 + b"From a\nb: c\n")
    found = messages_of(read_mailbox(raw))
    assert [name for name, _raw in found] == ["One.eml", "Two.eml"]
    assert found[1][1] == b"Subject: Two\n\n" + b"z" * 75 + b"From a\nb: c\n\n"


def test_a_mailbox_of_one_message_is_this_message():
    found = Result(read_mailbox(mailbox(mail("Alone"))))
    assert (found.titles, found.members) == (["Alone"], {})
    wide = b"\xff\xfe" + mailbox(mail("One"), mail("Two")).decode().encode("utf-16-le")
    assert list(Result(read_mailbox(wide, "utf-16")).members) == ["One.eml", "Two.eml"]


def test_messages_that_were_deleted_are_told():
    kept, gone = (f"X-Mozilla-Status: {status}\nSubject: {status}\n\ntext\n".encode() for status in ("0001", "0009"))
    found = Result(read_mailbox(mailbox(kept, gone, b"X-Mozilla-Status: no\nSubject: odd\n\ntext\n")))
    assert list(found.members) == ["0001.eml", "odd.eml"]
    assert found.notices == ["1 deleted message left out."]


def test_a_mailbox_is_within_the_limits_of_containers():
    raw = mailbox(*[mail()] * 5)
    with pytest.raises(SourceTooLarge, match="more than 4 files"):
        read_mailbox(raw, limits=replace(LIMITS, members=4))
    large = mailbox(mail("Small"), mail("Large", "x" * 5000))
    small, big = [each for each in read_mailbox(large, limits=replace(LIMITS, member_bytes=4000)) if each is not None]
    assert b"".join(small.content)
    with pytest.raises(SourceTooLarge):
        b"".join(big.content)


SAVED = b"""From: <Saved by Blink>
Snapshot-Content-Location: https://example.org/
Subject: Locks
MIME-Version: 1.0
Content-Type: multipart/related; type="text/html"; boundary="b"

--b
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable
Content-Location: https://example.org/

<html><head><title>Locks</title></head><body><h1>Locks</h1><p>How a lock works.</p><h2>Gates</h2><p>They =C3=B6pen.</p>=
</body></html>
--b
Content-Type: text/css
Content-Location: cid:css-1@mhtml.blink

p { color: red }
--b--
"""


def test_a_page_that_a_browser_saved_is_that_page(read):
    found = read(SAVED)
    assert found.titles == ["Locks"]
    assert found.of("heading") == ["Locks", "Gates"]
    assert "Blink" not in found.text
    assert "They öpen." in found.text
    assert not found.members


def test_a_message_to_somebody_is_no_saved_page(read):
    found = read(SAVED.replace(b"Subject:", b"To: jan@example.org\nSubject:"))
    assert found.of("heading") == ["Locks"]
    assert "To: jan@example.org" in found.text
    assert list(found.members) == ["attachment.css"]


@pytest.mark.parametrize("more", ["", "Content-Transfer-Encoding: 8bit\n", "Content-Transfer-Encoding: base64\n"])
def test_a_charset_with_nul_in_its_name_costs_no_text(more):
    raw = f"Subject: Pier\nContent-Type: text/plain; charset=utf\0\n{more}\n".encode()
    raw += b"SGVsbG8=" if "base64" in more else b"Hello \xc3\xbc"
    assert "Hello" in Result(list(parse_mail(io.BytesIO(raw), "latin-1", LIMITS))).text


@pytest.mark.timeout(10)
def test_a_message_whose_parts_lead_in_circles_is_refused_before_they_are_read():
    raw = bytearray(outlook(msg("Seas", "They are salt.")))
    (table,) = struct.unpack_from("<I", raw, 76)
    (small,) = struct.unpack_from("<I", raw, 60)
    struct.pack_into("<I", raw, 512 * (table + 1) + 4 * small, small)  # the table of small parts goes on in itself
    struct.pack_into("<I", raw, 64, 1 << 22)  # and has so many sectors
    with pytest.raises(SourceDamaged, match="its parts are larger than it is"):
        list(parse_outlook(io.BytesIO(raw), "utf-8", LIMITS))


def test_a_size_that_a_storage_states_counts_for_nothing():
    raw = bytearray(outlook(msg("Seas", "They are salt.", attached=[("a.txt", b"salt")])))
    (directory,) = struct.unpack_from("<I", raw, 48)
    name = "__attach_version1.0_#00000000".encode("utf-16-le")
    struct.pack_into("<I", raw, raw.index(name, 512 * (directory + 1)) + 120, 1 << 21)
    found = Result(list(parse_outlook(io.BytesIO(raw), "utf-8", LIMITS)))
    assert "They are salt." in found.text
    assert content(found, "a.txt") == b"salt"
