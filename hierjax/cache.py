"""A small cache of compiled programs, least recently used out first."""

import collections
import threading
from collections.abc import Callable, Hashable
from typing import Any


class ProgramCache:
    """Remember what was built under a key; what cannot be hashed is built anew each time.

    Parameters
    ----------
    size
        Most entries kept: compiled programs hold memory.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: collections.OrderedDict[Hashable, Any] = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, build: Callable[[], Any]) -> Any:
        """Return the entry of `key`, calling `build` when there is none."""
        try:
            hash(key)
        except TypeError:
            return build()
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        entry = build()
        with self._lock:
            self._entries[key] = entry
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return entry

    def clear(self) -> None:
        """Forget every entry."""
        with self._lock:
            self._entries.clear()
