"""Cards of older schema versions, brought to today's: one step a version, comments and order kept."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, runtime_checkable

Card = MutableMapping[str, Any]


@runtime_checkable
class Ordered(Protocol):
    """A mapping that can take a key in the middle, as ruamel.yaml's that keep comments do."""

    def insert(self, pos: int, key: str, value: Any) -> None:
        """Put a key at a position."""


def upgrade(card: Card) -> list[str]:
    """Change a card of an older schema version in place and return what was changed, in words; nothing if it is new.

    What is no card of a known older version is left as it is: the schema says what is wrong with it.
    """
    said: list[str] = []
    while (step := STEPS.get(card["schema_version"] if type(card.get("schema_version")) is int else 0)) is not None:
        said += step(card)
        card["schema_version"] += 1
    return said


def _layers_of_their_own(card: Card) -> list[str]:
    """1 to 2: which matrix holds the counts moved from ``counts.layer`` to ``layers.counts``."""
    counts = card.get("counts")
    if not isinstance(counts, MutableMapping) or "layer" not in counts or "layers" in card:
        return []
    layers = {"counts": counts.pop("layer")}
    if isinstance(card, Ordered):
        card.insert(list(card).index("counts"), "layers", layers)
    else:
        card["layers"] = layers
    return ["counts.layer moved to layers.counts"]


STEPS: dict[int, Callable[[Card], list[str]]] = {1: _layers_of_their_own}
"""Schema version -> the step to the next one."""
