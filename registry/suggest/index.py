"""Names of ontology terms and labels that curators mapped, as weighted words: how much of a query each name explains.

A word weighs more the fewer terms have it in a name, the better it told terms apart in curated labels, and, in a name,
the more often curators' labels for that term held it ("alpha-beta" of "CD4-positive, alpha-beta T cell" seldom is).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from cellzoo.registry.suggest.words import ABBREVIATIONS, words

Floats = NDArray[np.float32]
FOREIGN = 0.4
"""Weight of a word that no name has; 0 is a word of every name, 1 of none."""
ONCE = 0.5
"""Factor for such a word where fewer than two curated labels have it: most often a gene or a cluster."""
FLOOR, TRUST = 0.2, 2.0
"""Least factor of a word that does not tell terms apart; number of curated labels that outweigh not knowing."""
SPELLED, BEGUN, STANDS_FOR = 82, 0.5, 0.9
"""Least similarity (of 100) of a misspelled word; worth of a word whose beginning is given, of what one abbreviates."""
ASIDE = 0.5
"""Factor for words in parentheses at the end, which mostly say where the cells come from."""
_ASIDE = re.compile(r"(?<=\S)\s*\(([^()]*)\)\s*$")


@dataclass(frozen=True)
class Name:
    """One way to say a term."""

    text: str
    """As it is written."""
    row: int
    """Row of the term."""
    kind: str
    """label, synonym or curated."""
    study: str = ""
    """Study that used it, where it is curated."""


@dataclass(frozen=True)
class Match:
    """How well each name fits a query."""

    covered: Floats
    """Share of the weight of the query's words that the name has."""
    filled: Floats
    """Share of the weight of the name's words that the query has."""
    score: Floats
    """Harmonic mean of both."""
    around: Floats
    """`filled`, where words of the tissue count as if the query had them."""


class Index:
    """All names of the terms of a field."""

    def __init__(self, names: Sequence[Name]) -> None:
        self.names = names
        self.words = [words(name.text) for name in names]
        self.text = [" ".join(found) for found in self.words]
        self.rows = np.asarray([name.row for name in names], dtype=np.int64)
        self.curated = np.asarray([name.kind == "curated" for name in names], dtype=np.bool_)
        self._vocabulary: dict[str, int] = {}
        code = self._vocabulary
        lists = [sorted({code.setdefault(word, len(code)) for word in found}) for found in self.words]
        start = np.cumsum([0, *map(len, lists)])
        flat = np.fromiter((word for one in lists for word in one), np.int64, int(start[-1]))
        self._has = sp.csr_matrix((np.ones(len(flat), np.float32), flat, start), shape=(len(names), len(code)))
        self._spelling = [word for word in code if _is_plain(word)]
        self._similar: dict[str, tuple[NDArray[np.int64], Floats]] = {}
        self._weight, in_name = self._weights()
        self._weighted = self._has @ sp.diags(in_name)
        self._total = np.asarray(self._weighted.sum(axis=1)).ravel() + 1e-6

    def match(self, text: str, around: Sequence[str] = ()) -> Match:
        """Return how well each name fits a text; ``around`` are words of the tissue it is used in."""
        found = dict.fromkeys(words(text))
        aside = set()
        if (last := _ASIDE.search(text)) and (main := words(text[: last.start()])):
            aside = set(words(last[1])) - set(main)
        best = np.zeros(len(self._vocabulary), np.float32)
        covered = np.zeros(len(self.names), np.float32)
        total = 1e-6
        for word in found:
            at, worth = self._near(word)
            top = int(worth.argmax()) if len(worth) else -1
            known = float(worth[top]) if len(worth) else 0.0
            weight = known * (float(self._weight[at[top]]) if known else 0) + (1 - known) * FOREIGN * ONCE
            weight *= ASIDE if word in aside else 1
            total += weight
            if len(at):
                one = np.zeros_like(best)
                one[at] = worth
                best = np.maximum(best, one)
                covered += weight * np.minimum(self._has @ one, 1)
        covered /= total
        filled = (self._weighted @ best) / self._total
        around_too = best.copy()
        around_too[[code for word in around if (code := self._vocabulary.get(word)) is not None]] = 1
        with_tissue = (self._weighted @ around_too) / self._total if around else filled
        return Match(covered, filled, 2 * covered * filled / (covered + filled + 1e-6), with_tissue)

    def _near(self, word: str) -> tuple[NDArray[np.int64], Floats]:
        """Return the words of names that are this one, its meaning, a misspelling or a longer form, and their worth."""
        if word not in self._similar:
            worth = {word: 1.0} if word in self._vocabulary else {}
            for meant in words(ABBREVIATIONS.get(word, "")):
                worth.setdefault(meant, STANDS_FOR)
            if len(word) > 3 and _is_plain(word):
                found = process.extract(word, self._spelling, scorer=fuzz.ratio, score_cutoff=SPELLED, limit=8)
                for other, ratio, _ in found:
                    worth.setdefault(other, (ratio / 100) ** 2)
                if word not in self._vocabulary or len(word) < 7:
                    for other in self._spelling:
                        if other.startswith(word):
                            worth.setdefault(other, BEGUN)
            known = {self._vocabulary[other]: value for other, value in worth.items() if other in self._vocabulary}
            at = np.fromiter(known, np.int64, len(known))
            self._similar[word] = at, np.fromiter(known.values(), np.float32, len(known))
        return self._similar[word]

    def _weights(self) -> tuple[Floats, Floats]:
        """Return the weight of each word in a query and in a name."""
        size = len(self._vocabulary)
        terms = int(self.rows.max(initial=0)) + 1
        own = np.flatnonzero(~self.curated)
        of_term = sp.csr_matrix((np.ones(len(own), np.float32), (self.rows[own], own)), shape=(terms, len(self.names)))
        frequency = np.asarray(((of_term @ self._has) > 0).sum(axis=0)).ravel()
        rare = np.where(frequency > 0, np.log((terms + 1) / (frequency + 1)) / np.log(terms + 1), FOREIGN)
        meant: dict[int, Counter[int]] = defaultdict(Counter)
        asked, held = np.zeros(size), np.zeros(size)
        of_label = {name.row: set(found) for name, found in zip(self.names, self.words, strict=True) if _is_label(name)}
        seen = set()
        for name, found in zip(self.names, self.words, strict=True):
            if name.kind != "curated":
                continue
            said = {*found, *(word for short in found for word in words(ABBREVIATIONS.get(short, "")))}
            for word in {*found, *of_label.get(name.row, ())}:
                key = word, name.study, name.row
                if key in seen:
                    continue
                seen.add(key)
                code = self._vocabulary[word]
                if word in found:
                    meant[code][name.row] += 1
                if word in of_label.get(name.row, ()):
                    asked[code] += 1
                    held[code] += word in said
        number, same = np.zeros(size), np.zeros(size)
        for code, counts in meant.items():
            number[code] = n = counts.total()
            same[code] = sum(c * (c - 1) for c in counts.values()) / max(1, n * (n - 1))
        telling = (number * np.sqrt(same) + TRUST * 0.5) / (number + TRUST)
        weight = rare * np.where((frequency == 0) & (number < 2), ONCE, FLOOR + telling)
        said_rate = (held + TRUST * 0.6) / (asked + TRUST)
        return weight.astype(np.float32), (weight * (0.1 + said_rate)).astype(np.float32)

    @cached_property
    def initials(self) -> dict[str, list[int]]:
        """Return the initials of names of two to six words -> the rows of their terms."""
        found: dict[str, set[int]] = defaultdict(set)
        for name in self.names:
            parts = [part.lower() for part in re.findall(r"\w+", name.text) if part not in {"of", "the", "and", "in"}]
            if name.kind != "curated" and 2 <= len(parts) <= 6:
                short = "".join(part[0] for part in parts)
                found[short].add(name.row)
                if len(parts) > 2 and parts[-1] == "cell":
                    found[short[:-1]].add(name.row)
        return {short: sorted(rows) for short, rows in found.items()}


def _is_plain(word: str) -> bool:
    return len(word) > 3 and word.isalpha()


def _is_label(name: Name) -> bool:
    return name.kind == "label"
