"""The label space of a classifier: leaves of a Cell Ontology sub-graph, and every ancestor as a set of leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cellzoo.errors import InputError
from cellzoo.registry.fields import UNKNOWN
from cellzoo.registry.ontology import Ontology, load

THRESHOLD = 0.5
"""Probability that a call must reach by default."""
RELATIONS = ("is_a",)
"""A cell type is what it is a kind of; nothing else makes one label a part of another."""


@dataclass(frozen=True)
class LabelSpace:
    """A version of an ontology and the leaves that a classifier predicts.

    The leaves are the most specific types seen in training. A seen type with exactly one seen leaf below it is a leaf
    too, the rest of that type: otherwise every CD8 T cell would be called naive where naive is the one subtype seen.
    """

    ontology: str
    """Prefix of the ontology: ``CL``."""
    version: str
    """Its release."""
    leaves: tuple[str, ...]
    """Term ids in the order of the network's outputs."""
    nodes: dict[str, tuple[int, ...]]
    """Term id -> the leaves it stands for, for every leaf and every term above one, the most specific first."""
    labels: dict[str, str]
    """Term id -> label, for every node."""

    @classmethod
    def from_seen(cls, seen: Iterable[str], prefix: str = "CL") -> LabelSpace:
        """Return the label space of the term ids seen in training; ``unknown`` is not a label."""
        ontology = load(prefix)
        terms = sorted(set(seen) - {UNKNOWN})
        if not terms:
            raise InputError("no cell has a known cell type: there is nothing to learn.")
        above = {term: set(_above(ontology, term)) for term in terms}
        leaves = [term for term in terms if not any(term in above[other] for other in terms)]
        for term in sorted(set(terms) - set(leaves), key=lambda one: (-len(above[one]), one)):  # the deepest first
            if sum(term in above.get(leaf, ()) for leaf in leaves) == 1:
                leaves.append(term)
        if len(leaves) < 2:
            raise InputError(f"a classifier needs at least two cell types, found {terms}.")
        leaves.sort()
        return cls.from_leaves(ontology, leaves)

    @classmethod
    def from_leaves(cls, ontology: Ontology, leaves: Sequence[str]) -> LabelSpace:
        """Return the label space with these leaves, every term above them a node."""
        nodes: dict[str, list[int]] = {}
        depth: dict[str, int] = {}
        for index, leaf in enumerate(leaves):
            for term in (leaf, *_above(ontology, leaf)):
                nodes.setdefault(term, []).append(index)
                depth[term] = depth.get(term) or len(_above(ontology, term))

        def rank(term: str) -> tuple[int, bool, int, str]:
            """Fewer leaves first; over the same leaves a name that people use, then the one further down."""
            several = len(nodes[term]) > 1
            return len(nodes[term]), several and not ontology.is_common(term), -depth[term], term

        order = sorted(nodes, key=rank)
        return cls(
            ontology.prefix,
            ontology.version,
            tuple(leaves),
            {term: tuple(nodes[term]) for term in order},
            {term: ontology.label(term) for term in order},
        )

    def __len__(self) -> int:
        return len(self.leaves)

    def label(self, term: str) -> str:
        """Return the label of a node; ``unknown`` is its own label."""
        return UNKNOWN if term == UNKNOWN else self.labels[term]

    def members(self, term: str) -> tuple[int, ...]:
        """Return the leaves that a label stands for: those at or below it, else those just above it, else none.

        A label finer than the label space ("memory B cell" where "B cell" is a leaf) stands for that leaf.
        """
        if term == UNKNOWN:
            return ()
        if term in self.nodes:
            return self.nodes[term]
        above = set(_above(load(self.ontology, self.version), term))
        found = [leaf for leaf in self.leaves if leaf in above]
        nearest = [leaf for leaf in found if not any(leaf in self._above_leaf[other] for other in found)]
        return tuple(self.leaves.index(leaf) for leaf in nearest)

    def targets(self, terms: Sequence[str], learning: bool = False) -> np.ndarray:
        """Return which leaves each cell's label stands for, bool (cells, leaves); a row of False cannot be judged.

        For ``learning`` a label that is itself a leaf stands for that leaf alone, also where another leaf lies below.
        """
        unique, inverse = np.unique(np.asarray(terms, dtype=str), return_inverse=True)
        rows = np.zeros((len(unique), len(self)), dtype=bool)
        for row, term in zip(rows, map(str, unique), strict=True):
            own = learning and term in self.leaves
            row[[self.leaves.index(term)] if own else list(self.members(term))] = True
        return rows[inverse]

    def call(self, probability: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return for each cell the deepest term whose summed probability reaches the threshold, and that probability.

        probability (cells, leaves). Fewer leaves are deeper; among terms over equally many leaves the likelier wins.
        Terms over the same leaves say the same: "T cell" is then preferred to "mature alpha-beta T cell" (`is_common`),
        else the one further down the ontology. Where only terms over every leaf reach it, the call is ``unknown``:
        such a term says nothing.
        """
        mass = probability @ self.matrix.T  # (cells, nodes)
        size = self.matrix.sum(axis=1)
        cells = np.arange(len(probability))
        best = np.asarray([self.terms.index(leaf) for leaf in self.leaves])[probability.argmax(axis=1)]
        found = probability.max(axis=1) >= threshold
        for width in np.unique(size[size > 1]):
            nodes = np.flatnonzero(size == width)
            top = nodes[mass[:, nodes].argmax(axis=1)]  # ties go to the first
            reached = ~found & (mass[cells, top] >= threshold) & (width < len(self))
            best[reached] = top[reached]
            found |= reached
        names = np.asarray(self.terms, dtype=object)[best]
        return np.where(found, names, UNKNOWN), np.where(found, np.minimum(mass[cells, best], 1.0), 1.0)

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Return the nodes in order, the most specific first."""
        return tuple(self.nodes)

    @cached_property
    def matrix(self) -> np.ndarray:
        """Return which leaves each node stands for, float64 (nodes, leaves)."""
        matrix = np.zeros((len(self.nodes), len(self.leaves)))
        for row, members in zip(matrix, self.nodes.values(), strict=True):
            row[list(members)] = 1.0
        return matrix

    @cached_property
    def _above_leaf(self) -> dict[str, set[str]]:
        return {leaf: set(_above(load(self.ontology, self.version), leaf)) for leaf in self.leaves}

    @property
    def sha256(self) -> str:
        """Return the digest over ontology version, leaves and nodes."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as ``labels.json`` of a release holds them."""
        return {
            "ontology": self.ontology,
            "version": self.version,
            "leaves": list(self.leaves),
            "nodes": {term: list(members) for term, members in self.nodes.items()},
            "labels": self.labels,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LabelSpace:
        """Return the label space that `as_dict` wrote."""
        nodes = {str(term): tuple(map(int, members)) for term, members in values["nodes"].items()}
        return cls(values["ontology"], values["version"], tuple(values["leaves"]), nodes, dict(values["labels"]))


def _above(ontology: Ontology, term: str) -> list[str]:
    return [other for other in ontology.ancestors(term, relations=RELATIONS) if other.startswith(ontology.prefix + ":")]
