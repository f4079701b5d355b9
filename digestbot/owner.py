"""Who holds a claim, and whether that process still lives."""

from __future__ import annotations

import enum
import hashlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


class Life(enum.Enum):
    HERE = "here"  # lives on this machine
    DEAD = "dead"  # lived on this machine, and has ended
    LOST_POWER = "lost power"  # lived on this machine before it was started the last time
    ELSEWHERE = "elsewhere"  # cannot be seen from here: only the lease tells

    @property
    def is_over(self) -> bool:
        return self in (Life.DEAD, Life.LOST_POWER)


_passes: set[str] = set()  # names this process uses right now


@contextmanager
def owner_name() -> Iterator[str]:
    """A name for this process and one pass of it, which counts as living until the block ends."""
    name = ":".join(
        (_machine(), _boot(), str(os.getpid()), _start_of(os.getpid()) or "0", secrets.token_hex(4))
    )
    _passes.add(name)
    try:
        yield name
    finally:
        _passes.discard(name)


os.register_at_fork(after_in_child=_passes.clear)


def is_ours(name: str) -> bool:
    """Whether this process uses the name right now."""
    return name in _passes


def life_of(name: str) -> Life:
    """Whether the pass of this name still lives. A name that cannot be read counts as elsewhere."""
    if name in _passes:
        return Life.HERE
    try:
        machine, boot, pid, start, _ = name.split(":")
        number = int(pid)
    except ValueError:
        return Life.ELSEWHERE
    if machine != _machine():
        return Life.ELSEWHERE
    if boot != _boot():
        return Life.LOST_POWER
    return Life.HERE if number != os.getpid() and _start_of(number) == start else Life.DEAD


@cache
def _machine() -> str:
    """The host, told apart from others of the same name, and from containers whose processes cannot be seen."""
    identity = "\n".join((socket.gethostname(), _read("/etc/machine-id"), _link("/proc/self/ns/pid")))
    return (
        f"{socket.gethostname().replace(':', '-')[:60]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    )


@cache
def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")[:8] or "0"


def _start_of(pid: int) -> str | None:
    """When a process started, in ticks since boot ('0' where the system does not tell); None: there is none."""
    if not Path("/proc/self/stat").exists():
        return _lives(pid)
    stat = _read(f"/proc/{pid}/stat")
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else None


def _lives(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "0"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
