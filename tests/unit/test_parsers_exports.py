"""Contacts, calendars, and messages as chat programs export them."""

import json

from indexer.formats import CALENDAR, CONTACTS, JSON
from tests.unit.parsing import parsed

VCARDS = """\
BEGIN:VCARD
VERSION:3.0
N:Larsen;Henrik;;;
FN:Henrik Larsen
ORG:Larsen Yachts;Rigging
item1.TEL;type=CELL;type=VOICE;type=pref:+45 12 34 56 78
ADR;TYPE=WORK:;;Havnegade 12;Svendborg;;5700;Denmark
PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQEASABIAAD
 2wBDAAgGBgcGBQgHBwcJCQgKDBQ
NOTE:Before nine\\, never on
  Fridays.\\nOwes us a winch.
END:VCARD
BEGIN:VCARD
VERSION:2.1
N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BC=
ller;J=C3=B6rg;;;
TEL;CELL:0171 2345678
END:VCARD
"""


def test_a_contact_is_a_record_in_words():
    assert [block.text for block in parsed(CONTACTS, VCARDS).blocks] == [
        (
            "Henrik Larsen\nOrganisation: Larsen Yachts, Rigging\nPhone (cell): +45 12 34 56 78\n"
            "Address (work): Havnegade 12, Svendborg, 5700, Denmark\n"
            "Before nine, never on Fridays.\nOwes us a winch.\n\n"
        ),
        "Müller, Jörg\nPhone (cell): 0171 2345678\n\n",
    ]


def test_an_appointment_is_a_record_in_words_without_zones_and_alarms():
    page = """\
BEGIN:VCALENDAR
X-WR-CALNAME:Kim
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
DTSTART:19700329T020000
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Europe/Berlin:20240305T090000
DTEND:20240305T083000Z
SUMMARY:Dentist
ORGANIZER;CN="Weiss, Dr.":MAILTO:weiss@example.org
DESCRIPTION:<p>Bring the <b>card</b></p>and 5 &gt\\; 4.
BEGIN:VALARM
DESCRIPTION:This is an event reminder
END:VALARM
LOCATION:Hauptstr. 5\\, Berlin
END:VEVENT
BEGIN:VTODO
SUMMARY:Passport
DUE;VALUE=DATE:20240730
END:VTODO
END:VCALENDAR
"""
    result = parsed(CALENDAR, page)
    assert result.titles == ["Kim"]
    assert [block.text for block in result.blocks] == [
        (
            "Dentist\nFrom: 2024-03-05 09:00 (Europe/Berlin)\nUntil: 2024-03-05 08:30 (UTC)\n"
            "Place: Hauptstr. 5, Berlin\nOrganiser: Weiss, Dr. <weiss@example.org>\nBring the card\nand 5 > 4.\n\n"
        ),
        "Passport\nDue: 2024-07-30\n\n",
    ]


def test_messages_of_chats_say_their_text_once():
    telegram = {
        "messages": [
            {
                "id": 2,
                "from": "Petra",
                "text": ["Meet at the ", {"type": "bold", "text": "old mill"}, " at 7:30"],
                "text_entities": [{"type": "plain", "text": "Meet at the "}, {"type": "bold", "text": "old mill"}],
            }
        ]
    }
    assert parsed(JSON, json.dumps(telegram)).text == (
        "messages.id: 2\nmessages.from: Petra\nmessages.text: Meet at the old mill at 7:30\n\n"
    )
    slack = {"type": "message", "ts": "1.2", "text": "It moved.", "blocks": [{"elements": [{"text": "It moved."}]}]}
    slack["user_profile"] = {"real_name": "Dana Smith", "avatar_hash": "g12"}
    assert parsed(JSON, json.dumps([slack])).text == "name: Dana Smith\ntype: message\nts: 1.2\ntext: It moved.\n\n"
    assert (
        parsed(JSON, '{"type": "message", "text": "a", "blocks": "b"}').text == "type: message\ntext: a\nblocks: b\n\n"
    )
