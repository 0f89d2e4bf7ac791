"""Builds small GGUF files: metadata of several kinds and two tensors."""

from __future__ import annotations

import struct


def _text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def tiny_gguf(*, alignment: int = 64, version: int = 3, tensor_type: int = 0) -> bytes:
    pairs = [
        _text(b"general.architecture") + struct.pack("<I", 8) + _text(b"llama"),
        _text(b"general.alignment") + struct.pack("<II", 4, alignment),
        _text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + _text(b"a") + _text(b"bc"),
        _text(b"scores") + struct.pack("<IIQ2f", 9, 6, 2, 0.5, 1.5),
        _text(b"flag") + struct.pack("<I?", 7, True),
        _text(b"nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ3B", 0, 3, 1, 2, 3),
    ]
    tensors = [
        _text(b"first") + struct.pack("<IQQIQ", 2, 4, 8, 0, 0),
        _text(b"second") + struct.pack("<IQIQ", 1, 32, tensor_type, 128),
    ]
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + b"".join(tensors)
    header += bytes(-len(header) % alignment)
    return header + bytes(128) + bytes(128)
