"""The drop folder: what waits in `incoming`, and where it goes once it is read.

`incoming` is read by one process at a time (a lock on the folder itself). A file is moved after its papers are
committed, so a crash in between leaves it to be read again, with everything known.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from digestbot.errors import DigestbotError

SETTLE_S = 1.0
_MAX_NAME_BYTES = 255
_MAX_SUFFIX_BYTES = 100  # a longer one is cut as part of the name


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies in `incoming`: files that can be read now, those whose size or time still changes, and folders."""

    settled: tuple[Path, ...] = ()
    growing: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()


class DropFolder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.incoming = path / "incoming"
        self.done = path / "done"
        self.rejected = path / "rejected"
        self.held = path / "held"

    def make(self) -> None:
        """Makes the folders where they are missing."""
        for folder in (self.incoming, self.done, self.rejected, self.held):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Holds `incoming` for one process; waits for another to finish."""
        descriptor = os.open(self.incoming, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def look(self) -> Waiting:
        """Looks twice, a second of real time apart, where anything waits. Oldest first."""
        first, folders = self._look()
        if not first:
            return Waiting(folders=folders)
        time.sleep(SETTLE_S)
        second, folders = self._look()
        names = sorted(second, key=lambda name: (second[name][1], name))
        settled = tuple(self.incoming / name for name in names if first.get(name) == second[name])
        growing = tuple(self.incoming / name for name in names if first.get(name) != second[name])
        return Waiting(settled, growing, folders)

    def _look(self) -> tuple[dict[str, tuple[int, int]], tuple[Path, ...]]:
        """Size and time of change (ns) of every file to be read, and the folders between them."""
        try:
            with os.scandir(self.incoming) as entries:
                names = [entry.name for entry in entries if is_drop_name(entry.name)]
        except FileNotFoundError:
            return {}, ()
        found, folders = {}, []
        for name in sorted(names):
            try:
                status = os.lstat(self.incoming / name)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(self.incoming / name)
            else:
                found[name] = (status.st_size, status.st_mtime_ns)
        return found, tuple(folders)

    def stamp(self, path: Path) -> tuple[int, int, int] | None:
        """What tells a file from one that took its place or grew meanwhile; None where it is gone."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def move(self, path: Path, to: Path, *, report: Mapping[str, object] | None = None) -> Path:
        """Moves a file into one of the folders, never over another file; beside it a report, where given, whose
        path is then the new one. Raises DigestbotError where it stays."""
        claims: list[Path] = []
        try:
            to.mkdir(parents=True, exist_ok=True)
            claims = _claim_name(to, path.name, with_report=report is not None)
            if report is not None:
                text = json.dumps({**report, "path": shown(claims[0])}, ensure_ascii=False, indent=1)
                claims[1].write_text(text + "\n", encoding="utf-8", errors="replace")
            shutil.move(path, claims[0])  # `incoming` may be a file system of its own
        except OSError as error:
            for claim in claims:
                with suppress(OSError):
                    claim.unlink()
            raise DigestbotError(
                f"{path}: was read, but cannot be moved to {to}: {error.strerror}; mend the rights of both folders"
            ) from error
        return claims[0]


def is_drop_name(name: str) -> bool:
    """Whether a name is meant to be read; others are hidden or still being written."""
    return not name.startswith(".") and not name.endswith((".part", ".tmp"))


def shown(name: str | Path) -> str:
    """A name as text that can be stored and shown, whatever bytes it has."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in text)


def _report_path(target: Path) -> Path:
    return target.with_name(target.name + ".report.json")


def _claim_name(folder: Path, name: str, *, with_report: bool) -> list[Path]:
    """Claims a name that nothing in the folder has, and that of its report, by making them; `drop.txt` becomes
    `drop-2.txt` if need be."""
    stem, dot, suffix = name.partition(".")
    if not stem or len(os.fsencode(suffix)) > _MAX_SUFFIX_BYTES:
        stem, dot, suffix = name, "", ""
    stem = _cut(stem, _MAX_NAME_BYTES - len(os.fsencode(dot + suffix)) - 20)
    for number in range(1, 1_000_000):
        target = folder / (f"{stem}-{number}{dot}{suffix}" if number > 1 else f"{stem}{dot}{suffix}")
        try:
            claims = [target, _report_path(target)] if with_report else [target]
            for made, claim in enumerate(claims):
                try:
                    os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
                except OSError:
                    for other in claims[:made]:
                        other.unlink()
                    raise
        except FileExistsError:
            continue
        return claims
    raise FileExistsError(0, "no free name is left")


def _cut(stem: str, length: int) -> str:
    """At most so many bytes of the name, whole characters."""
    while len(os.fsencode(stem)) > max(length, 1):
        stem = stem[:-1]
    return stem
