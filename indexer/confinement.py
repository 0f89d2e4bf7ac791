"""What the kernel denies a process that reads files of strangers: to write, to delete, to reach the network.

Landlock (Linux 5.13; https://docs.kernel.org/userspace-api/landlock.html) and a network namespace of its own; neither
needs privileges. A kernel or a container that has none of them leaves what the process denies itself.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38
_NEW_USER_AND_NETWORK: Final = 0x10000000 | 0x40000000

_WRITE_FILE: Final = 1 << 1
# Writing and removing, making files of every kind: bits 1 and 4 to 12. Each later version of the interface has more.
_CHANGES: Final = {1: _WRITE_FILE | 0x1FF0, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP: Final = {4: 0b11}
# Abstract sockets and signals of others.
_SCOPES: Final = {6: 0b11}


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


def confine() -> tuple[bool, bool]:
    """Confine this process, for good; returns whether files are safe from it, and whether it has no network.

    Files that are open stay so, and every file can be read that its user can read. To be called before it has threads.
    """
    if sys.platform != "linux":
        return False, False
    libc = ctypes.CDLL(None, use_errno=True)
    isolated = libc.unshare(_NEW_USER_AND_NETWORK) == 0
    version = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION))
    if version < 1:
        return False, isolated
    return _restrict(libc, version), isolated or version >= min(_TCP)


def _restrict(libc: ctypes.CDLL, version: int) -> bool:
    asked = _Ruleset(*(_since(each, version) for each in (_CHANGES, _TCP, _SCOPES)))
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(ctypes.sizeof(asked)), 0)
    if ruleset < 0:
        return False
    try:
        nowhere = os.open(os.devnull, os.O_PATH)
        try:
            rule = _PathBeneath(_WRITE_FILE, nowhere)
            libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(nowhere)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # or the next is refused
        return int(libc.syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _since(bits: dict[int, int], version: int) -> int:
    return sum(more for since, more in bits.items() if since <= version)
