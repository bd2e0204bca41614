"""A line in which threads wait for items."""

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Line(Generic[Item]):
    """Items that threads hand to threads, first come, first served.

    Args:
        most: weight of all items in it, unless it is one item alone.
        takers: threads that take; of a few items each leaves the others their share.
    """

    def __init__(self, most: int, takers: int = 1) -> None:
        self.most, self.takers = most, takers
        self._items: deque[tuple[Item, int]] = deque()
        self._weight = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item, weight: int = 1) -> None:
        """Append an item; wait while there is no room for its weight."""
        with self._changed:
            while not self.offer(item, weight):
                self._changed.wait()

    def offer(self, item: Item, weight: int = 1) -> bool:
        """Append an item if there is room for it now."""
        with self._changed:
            if self._weight and self._weight + weight > self.most:
                return False
            self._items.append((item, weight))
            self._weight += weight
            self._changed.notify_all()
            return True

    def take(self, count: int = 1) -> list[Item]:
        """Return up to `count` items, at least one; none if the line is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            share = min(count, -(-len(self._items) // self.takers))
            taken = [self._items.popleft() for _ in range(share)]
            self._weight -= sum(weight for _, weight in taken)
            self._changed.notify_all()
            return [item for item, _ in taken]

    def close(self) -> None:
        """Let takers end when it is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
