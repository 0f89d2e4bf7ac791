"""What files that no parser reads are commonly called; a table of magic numbers knows rarer formats."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import PurePath

# Formats made of text that read as noise, and ones whose marks are told before anything else.
_MARKS: Final = (
    (re.compile(rb"%!PS(?:-Adobe|[\r\n])"), "a PostScript file"),
    (re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an old Microsoft Office document"),
    (re.compile(rb"SQLite format 3\x00"), "a SQLite database"),
    (re.compile(rb"070707[0-7]{70}|07070[12][\dA-Fa-f]{104}"), "a cpio archive"),
    (re.compile(rb"!<arch>\n(?!debian)[^\n]{58}`\n"), "an archive of ar, such as a library"),
    (re.compile(rb"GGUF[\x01-\x0f]\x00\x00\x00"), "a GGUF model"),
)
ZIP_MARKS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_JAVA: Final = "a Java program or library (JAR)"
_ANDROID: Final = "an Android app"
_ZIP_MEMBERS: Final = (
    (
        re.compile(rb"PK\x03\x04(?s:.{26})mimetypeapplication/vnd\.oasis"),
        "an OpenDocument file that is no text, sheet or slides",
    ),
    (re.compile(rb"PK\x03\x04(?s:.{26})AndroidManifest\.xml"), _ANDROID),
    (re.compile(rb"(?:PK\x03\x04(?s:.{26})META-INF/(?s:.{0,8}))?PK\x03\x04(?s:.{26})META-INF/MANIFEST\.MF"), _JAVA),
)
_ZIP_PROGRAMS: Final = {
    **dict.fromkeys((".jar", ".war", ".ear", ".aar", ".jmod"), _JAVA),
    **dict.fromkeys((".apk", ".aab", ".xapk"), _ANDROID),
    **dict.fromkeys((".whl", ".egg"), "a Python package"),
    **dict.fromkeys((".nupkg", ".snupkg"), "a NuGet package"),
    **dict.fromkeys((".vsix", ".xpi"), "an extension of another program"),
    ".ipa": "an iOS app",
    **dict.fromkeys((".appx", ".msix"), "a Windows app"),
}
_ZIP_SUFFIXES: Final = {
    **_ZIP_PROGRAMS,
    ".npz": "arrays of NumPy",
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".keras"), "a model's weights"),
    ".pages": "an Apple Pages document",
    ".numbers": "an Apple Numbers document",
    ".key": "an Apple Keynote presentation",
}
_TNEF: Final = "Outlook's bundle of attachments (TNEF)"
# What to do where an export to another format is no answer.
NEXT_STEPS: Final = {
    _TNEF: "Unpack it (`tnef` and `ytnef` do), or save the message in Outlook as .msg, and ingest that.",
    **dict.fromkeys(_ZIP_PROGRAMS.values(), "Ingest its source code or documentation; if it is data, name it .zip."),
}
# Where a mark stands, and the mark; the first that fits names the format.
_FORMATS: Final = tuple(
    (re.compile(rb"(?s).{%d}%b" % (at, mark)), name)
    for at, mark, name in (
        (0, rb"ID3[\x02-\x04]", "an MP3 recording"),
        (0, rb"RIFF....WAVE", "a WAV recording"),
        (0, rb"RIFF....AVI ", "an AVI video"),
        (0, rb"fLaC", "a FLAC recording"),
        (0, rb"OggS\x00(?=.{22,99}(?:vorbis|OpusHead|Speex|\x7fFLAC))", "an Ogg recording"),
        (0, rb"OggS\x00", "an Ogg recording or video"),
        (0, rb"FORM....AIF[FC]", "an AIFF recording"),
        (0, rb"MThd\x00\x00\x00\x06", "a MIDI file"),
        (4, rb"ftypM4[AB] ", "an MPEG-4 recording"),
        (4, rb"ftyp(?:hev[cx]|msf1)", "a sequence of HEIF images"),
        (4, rb"ftypqt  ", "a QuickTime video"),
        (4, rb"ftyp(?:3g|avc1|dash|iso[\dm]|mp4[12]|M4V)", "an MP4 video"),
        (0, rb"\x1aE\xdf\xa3(?=.{0,60}webm)", "a WebM video"),
        (0, rb"\x1aE\xdf\xa3(?=.{0,60}matroska)", "a Matroska video"),
        (0, rb"0&\xb2u\x8ef\xcf\x11\xa6\xd9", "a Windows Media recording or video"),
        (0, rb"\x00\x00\x01[\xb3\xba]", "an MPEG video"),
        (0, rb"MZ(?=.{58,4096}PE\x00\x00)", "a Windows program or library"),
        (0, rb"\x7fELF", "a program or library for Linux or the like"),
        (0, rb"!<arch>\ndebian", "a Debian package"),
        (0, rb"\x00asm", "a WebAssembly program"),
        (0, rb"PAR1", "a Parquet file"),
        (0, rb"\x78\x9f\x3e\x22", _TNEF),
        (0, rb"\x93NUMPY", "an array of NumPy"),
        (0, rb"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (0, rb"CDF[\x01\x02\x05]", "a NetCDF file"),
        (0, rb"MATLAB 5\.0 MAT-file", "a file of MATLAB's data"),
        (0, rb"RD[ABX][23]\n|[ABX]\n\x00\x00\x00[\x02\x03]", "a file of R's data"),
        (0, rb"<stata_dta>", "a data set of Stata"),
        (12, rb"\xc2\xea\x81\x60\xb3\x14", "a data set of SAS"),
        (128, rb"DICM", "a DICOM image"),
        (344, rb"n[+i]1\x00", "a NIfTI image"),
        (0, rb"ARROW1\x00", "an Arrow file"),
        (0, rb"\x03\xd9\xa2\x9ag\xfbK\xb5", "a KeePass database"),
        (0, rb"7z\xbc\xaf'\x1c", "a 7-Zip archive"),
        (0, rb"Rar!\x1a\x07", "a RAR archive"),
        (32_769, rb"CD001", "an image of a disc (ISO 9660)"),
    )
)
# Marks too short to trust without the name.
_NAMED: Final = {
    ".mp3": (re.compile(rb"\xff[\xe2-\xff]"), "an MP3 recording"),
    ".m4a": (re.compile(rb".{4}ftyp", re.DOTALL), "an MPEG-4 recording"),
    ".aac": (re.compile(rb"\xff[\xf0-\xff]"), "an AAC recording"),
    ".pyc": (re.compile(rb"..\r\n", re.DOTALL), "a compiled Python module"),
    ".exe": (re.compile(rb"MZ"), "a Windows program or library"),
}


def marked_name(path: PurePath, head: bytes) -> str | None:
    """The name of a format with its article, by a mark that no text begins with."""
    if head.startswith(ZIP_MARKS):
        return unread_zip(path, head)
    return next((name for mark, name in _MARKS if mark.match(head)), None)


def unread_zip(path: PurePath, head: bytes) -> str | None:
    """What a document is that is packed like an archive; its parts alone mean nothing."""
    name = next((name for member, name in _ZIP_MEMBERS if member.match(head)), None)
    return name or _ZIP_SUFFIXES.get(path.suffix.lower())


def common_name(path: PurePath, head: bytes) -> str | None:
    """The name of a format with its article; the file is known to be no text."""
    named = _NAMED.get(path.suffix.lower())
    if named is not None and named[0].match(head):
        return named[1]
    return next((name for mark, name in _FORMATS if mark.match(head)), None)
