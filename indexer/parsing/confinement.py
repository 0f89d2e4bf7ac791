"""What the kernel denies a process that reads files of strangers: to write, to delete, to reach the network.

Landlock (Linux 5.13; https://docs.kernel.org/userspace-api/landlock.html), a network namespace of its own, which most
containers refuse, and a filter of system calls that refuses sockets; none needs privileges. A kernel or a container
that has none of them leaves what the process denies itself. ``rag doctor`` tells what there is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1
_PARENT_DEATH_SIGNAL: Final = 1
_NO_NEW_PRIVILEGES: Final = 38
_NEW_USER_AND_NETWORK: Final = 0x10000000 | 0x40000000

_WRITE_FILE: Final = 1 << 1
# Writing and removing, making files of every kind: bits 1 and 4 to 12. Each later version of the interface has more.
_CHANGES: Final = {1: _WRITE_FILE | 0x1FF0, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_TCP: Final = {4: 0b11}
# Abstract sockets and signals of others.
_SCOPES: Final = {6: 0b11}

_SET_SECCOMP, _SECCOMP_FILTER = 22, 2
_IO_URING: Final = 425
# How a process calls the kernel (AUDIT_ARCH of x86-64, 32-bit x86, 64-bit and 32-bit ARM): what makes sockets there.
# All four stand in every filter, for a 64-bit process may call as a 32-bit one does.
_SOCKETS: Final = {
    0xC000003E: (41, _IO_URING),
    0x40000003: (102, 359, _IO_URING),
    0xC00000B7: (198, _IO_URING),
    0x40000028: (281, _IO_URING),
}
_NOT_X32: Final = 0xFFFFFFFF ^ 0x40000000
_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER_AT, _CALLED_AS_AT = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # EPERM


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def confine() -> tuple[bool, bool]:
    """Confine this process, for good; returns whether files are safe from it, and whether it has no network.

    It ends with the one that forked it.
    Files that are open stay so, and every file can be read that its user can read. To be called before it has threads.
    """
    if sys.platform != "linux":
        return False, False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    isolated = _has_left_network(libc)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # or the next two are refused
    version = int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _GET_VERSION))
    files = version >= 1 and _restrict(libc, version)
    return files, _has_no_sockets(libc) or isolated


def confinement() -> tuple[bool, bool]:
    """What ``confine`` comes to on this machine, tried in a process of its own."""
    command = [sys.executable, "-P", "-B", "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    told = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)  # noqa: S603 - this module
    files, network = told.stdout.split()
    return files == "True", network == "True"


def described(files: bool, network: bool) -> str:  # noqa: FBT001
    """What ``confine`` returned, in words."""
    changes = "can change no file" if files else "can change the files that this user can (no Landlock here)"
    return f"{changes}, and {'have no network' if network else 'have the network (no seccomp, no namespace here)'}"


def _has_left_network(libc: ctypes.CDLL) -> bool:
    return int(libc.unshare(_NEW_USER_AND_NETWORK)) == 0


def _has_no_sockets(libc: ctypes.CDLL) -> bool:
    instructions = b"".join(struct.pack("=HBBI", *each) for each in _refusal_of_sockets())
    program = _Program(len(instructions) // 8, instructions)
    libc.prctl(_SET_SECCOMP, _SECCOMP_FILTER, ctypes.byref(program), 0, 0)
    # Asked, not taken for granted: of a processor that is not in the table the filter refuses nothing.
    made = int(libc.socket(2, 2, 0))
    if made >= 0:
        os.close(made)
    return made < 0


def _refusal_of_sockets() -> list[tuple[int, int, int, int]]:
    """A classic BPF program: code, steps over if so, if not, operand."""
    program = [(_LOAD, 0, 0, _CALLED_AS_AT)]
    for called_as, numbers in _SOCKETS.items():
        found = [(_IF_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
        body = [(_LOAD, 0, 0, _NUMBER_AT), (_AND, 0, 0, _NOT_X32), *found, (_RETURN, 0, 0, _ALLOW)]
        program += [(_IF_EQUAL, 0, len(body) + 1, called_as), *body, (_RETURN, 0, 0, _REFUSE)]
    return [*program, (_RETURN, 0, 0, _ALLOW)]


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
        return int(libc.syscall(_RESTRICT_SELF, ruleset, 0)) == 0
    finally:
        os.close(ruleset)


def _since(bits: dict[int, int], version: int) -> int:
    return sum(more for since, more in bits.items() if since <= version)


if __name__ == "__main__":
    sys.stdout.write("{} {}\n".format(*confine()))
