"""A drop as bytes: opened safely, unpacked within bounds, counted and hashed on the way."""

from __future__ import annotations

import codecs
import errno
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

from digestbot.errors import DropError

HEAD_BYTES = 64 * 1024
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_WHOLE_BYTES = 64 * 1024 * 1024
# A .gz of zeros unpacks to a thousand times its size, text to at most thirty times.
BOMB_FROM_BYTES = 16 * 1024 * 1024
BOMB_RATIO = 200
_BLOCK = 256 * 1024


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Counted(io.RawIOBase):
    """The file's own bytes, counted and hashed as they are read."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self.count = 0
        self.hash: _Hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        got = self._raw.readinto(view) or 0
        self.count += got
        self.hash.update(bytes(view[:got]))
        return got

    def close(self) -> None:
        self._raw.close()
        super().close()


class Source:
    """One drop opened for reading. `head` holds its first 64 KiB, `size` its length on disk in bytes.

    All readers raise DropError for what cannot be unpacked. Use as a context manager.
    """

    def __init__(self, path: Path, raw: io.FileIO | None = None) -> None:
        """raw: the file, opened already, which may then be a pipe or behind a link."""
        self.path = path
        raw = raw or _open_regular(path)
        self.size = os.fstat(raw.fileno()).st_size
        self._counted = _Counted(raw)
        self._stream: io.BufferedIOBase = io.BufferedReader(self._counted, _BLOCK)
        self._unpacked = 0
        assert isinstance(self._stream, io.BufferedReader)
        self._packed = self._stream.peek(2)[:2] == b"\x1f\x8b"
        if self._packed:
            self._stream = gzip.GzipFile(fileobj=self._stream, mode="rb")
        self._ahead = b""
        self._trouble: DropError | None = None  # what came up after some bytes of the head
        try:
            self.head = self._fill(HEAD_BYTES)
        except DropError:
            self.close()
            raise

    @property
    def position(self) -> int:
        """How many of the file's `size` bytes are read."""
        return self._counted.count

    def sha256(self) -> str:
        """Of the file's own bytes; reads on to its end."""
        while self._counted.read(_BLOCK):
            pass
        return self._counted.hash.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """The lines with their ends, those of UTF-16 in UTF-8. What goes beyond 16 MiB in a line is dropped, so that
        memory stays flat."""
        line = bytearray()
        for block in self._whole_ends():
            pieces = block.splitlines(keepends=True)
            rest = b"" if pieces[-1].endswith((b"\n", b"\r")) else pieces.pop()
            for piece in pieces:
                if line:
                    line += piece[: MAX_LINE_BYTES - len(line)]
                    piece = bytes(line)
                    line.clear()
                yield piece
            line += rest[: MAX_LINE_BYTES - len(line)]
        if line:
            yield bytes(line)

    def _whole_ends(self) -> Iterator[bytes]:
        """All of it in blocks that end in no half of a line end."""
        wide = self.head.startswith(UTF_16_MARKS)
        decoder = codecs.getincrementaldecoder("utf-16")("replace") if wide else None
        held = b""
        while block := self._read():
            if decoder:
                block = decoder.decode(block).encode("utf-8", "replace")
            block = held + block
            held = b"\r" if block.endswith(b"\r") else b""
            if block := block[: len(block) - len(held)]:
                yield block
        if held:
            yield held

    def whole(self) -> bytes:
        """All of it, for formats that cannot be read in parts; at most 64 MiB."""
        blocks = []
        length = 0
        while block := self._read():
            blocks.append(block)
            length += len(block)
            if length > MAX_WHOLE_BYTES:
                raise DropError(
                    f"more than {MAX_WHOLE_BYTES // 2**20} MiB, too much for this format; split it or use JSON Lines"
                )
        return b"".join(blocks)

    def refuse_bomb(self) -> None:
        """Raises DropError where what is packed is one; for what is given up after its head."""
        while self._packed and self._unpacked <= MAX_WHOLE_BYTES and self._read():
            pass

    def close(self) -> None:
        self._stream.close()
        self._counted.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, size: int) -> bytes:
        try:
            while len(self._ahead) < size and (block := self._unpack(size)):
                self._ahead += block
        except DropError as error:
            if not self._ahead:
                raise
            self._trouble = error
        return self._ahead[:size]

    def _read(self) -> bytes:
        block, self._ahead = self._ahead, b""
        if not block and self._trouble:
            raise self._trouble
        return block or self._unpack(_BLOCK)

    def _unpack(self, size: int) -> bytes:
        try:
            block = self._stream.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DropError(f"the compressed data is damaged or ends early ({error})") from error
        except OSError as error:
            raise DropError(f"cannot be read: {error.strerror or error}") from error
        self._unpacked += len(block)
        if (
            self._packed
            and self._unpacked > BOMB_FROM_BYTES
            and self._unpacked > BOMB_RATIO * self._counted.count
        ):
            raise DropError(
                f"unpacks to over {BOMB_RATIO} times its size: refused as a compression bomb; unpack it yourself"
                " if it is none"
            )
        return block


def _open_regular(path: Path) -> io.FileIO:
    """Opens a file, without waiting for a FIFO's other end and without following a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DropError("a link; put the file itself here") from error
        if error.errno == errno.ENXIO:  # a socket
            raise DropError("not a file") from error
        raise DropError(f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise DropError(f"cannot be opened: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DropError("not a file")
    return io.FileIO(descriptor, "rb", closefd=True)


def decode(data: bytes) -> str:
    """Text of bytes in UTF-8 or UTF-16 (with a byte order mark), else in what old Windows programs write."""
    if data.startswith(UTF_16_MARKS):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def decode_head(data: bytes) -> str:
    """The same for the beginning of a file, which may end within a character."""
    if data.startswith(UTF_16_MARKS):
        return data[: len(data) // 2 * 2].decode("utf-16", "replace")
    for missing in range(4):
        try:
            return data[: len(data) - missing].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", "replace")
