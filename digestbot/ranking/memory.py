"""What was looked up, remembered within a bound."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sized
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Sized)

MOST = 500_000  # entries of all that one memory holds, at some 200 bytes: 20,000 topics' terms and the papers with them


class Memory(Generic[K, V]):
    """Asks `find` once for each key, until there is too much to remember: then it forgets all and begins anew."""

    def __init__(self, find: Callable[[K], V], *, most: int = MOST) -> None:
        self._find, self._most = find, most
        self._known: dict[K, V] = {}
        self._size = 0

    def get(self, key: K) -> V:
        found = self._known.get(key)
        return self._ask(key) if found is None else found

    def _ask(self, key: K) -> V:
        found = self._find(key)
        self._size += 1 + len(found)
        if self._size > self._most:
            self._known.clear()
            self._size = 1 + len(found)
        self._known[key] = found
        return found
