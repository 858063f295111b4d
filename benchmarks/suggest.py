"""How often the right term is suggested for a label, beside what a plain fuzzy search over the labels of terms finds.

Source: the 3,525 label -> Cell Ontology maps of sfaira's curators (FACTS/sfaira_cell_type_maps.tsv, of 2022; withdrawn
targets follow `replaced_by`), tissues from FACTS/sfaira_studies.csv. Held out are a random tenth (seeds 0 to 4) and
whole studies (a fifth of them at a time). For each split the weights are fitted anew on its training part alone; the
weights in `cellzoo.registry.suggest.suggester` are those of seed 0. Run: python benchmarks/suggest.py [--fit] [FACTS]
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process, utils
from scipy.optimize import minimize

from cellzoo.errors import NotFoundError
from cellzoo.registry.ontology import load
from cellzoo.registry.suggest import suggester as suggest
from cellzoo.registry.suggest.examples import Example
from cellzoo.registry.suggest.suggester import Suggester

FACTS = Path(__file__).parents[1].parent / "shared" / "facts"
FOLDS, PENALTY = 5, 1.0
Cases = list[tuple[NDArray[np.float64], int]]
"""Signals of the candidates of a label, and which of them is right, -1 if none is."""


def curated(facts: Path) -> tuple[list[Example], dict[str, int]]:
    """Return all maps, "" where nothing replaced the target (whatever is suggested is wrong), and how many are what."""
    cl = load("CL")
    with (facts / "sfaira_studies.csv").open(encoding="utf-8", newline="") as stream:
        organs = {study["directory"]: study["organ"].split(";") for study in csv.DictReader(stream)}
    tissues = {study: tuple(filter(None, map(_tissue, names))) for study, names in organs.items()}
    kept, counts = [], {"rows": 0, "unknown": 0, "withdrawn, replaced": 0, "withdrawn, nothing instead": 0}
    with (facts / "sfaira_cell_type_maps.tsv").open(encoding="utf-8", newline="\n") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            term = "unknown" if row["target_id"] in {"unknown", "NOT_A_CELL"} else row["target_id"]
            counts["rows"] += 1
            counts["unknown"] += term == "unknown"
            if term in cl and cl.is_obsolete(term):
                new = cl.replaced_by(term)
                counts["withdrawn, replaced" if new else "withdrawn, nothing instead"] += 1
                term = new or ""
            kept.append(Example(row["source"], term, row["study"], tissues.get(row["study"], ())))
    return kept, counts


def _tissue(name: str) -> str | None:
    try:
        return load("UBERON").find(name)
    except NotFoundError:
        return None


def random_tenth(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example]]:
    """Return what is trained on and a random tenth that is held out."""
    order = list(range(len(examples)))
    random.Random(seed).shuffle(order)
    cut = len(order) // 10
    return [examples[at] for at in order[cut:]], [examples[at] for at in order[:cut]]


def parts(examples: Sequence[Example], by_study: bool, seed: int = 1) -> Iterable[tuple[list[Example], list[Example]]]:
    """Yield what is trained on and what is held out, in turn, by rows or by whole studies."""
    rng = random.Random(seed)
    studies = sorted({example.study for example in examples})
    rng.shuffle(studies)
    fold = [studies.index(one.study) % FOLDS if by_study else rng.randrange(FOLDS) for one in examples]
    for held in range(FOLDS):
        pairs = list(zip(examples, fold, strict=True))
        yield [one for one, at in pairs if at != held], [one for one, at in pairs if at == held]


def cases(train: Sequence[Example], held: Sequence[Example]) -> Cases:
    suggester = Suggester("cell_type", train)
    row = {term: number for number, term in enumerate(suggester.terms)}
    found: Cases = []
    for one in held:
        if signals := suggester.signals(one.label, one.tissues):
            right = np.flatnonzero(signals[0] == row.get(one.term, -1))
            found.append((signals[1], int(right[0]) if len(right) else -1))
    return found


def fit(examples: Sequence[Example]) -> dict[str, float]:
    """Return the weights under which the curators' choices are likeliest, from rows held out and studies held out."""
    found = [case for by_study in (False, True) for part in parts(examples, by_study) for case in cases(*part)]
    size = max(len(signals) for signals, _ in found) + 1
    x = np.zeros((len(found), size, len(suggest.WEIGHTS)))
    out = np.full((len(found), size), -np.inf)
    right = np.zeros(len(found), dtype=np.int64)
    for at, (signals, which) in enumerate(found):
        x[at, : len(signals), :-1] = signals
        x[at, -1, -1] = 1
        out[at, : len(signals)] = out[at, -1] = 0
        right[at] = which
    every = np.arange(len(found))

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = x @ weights + out
        chance = np.exp(logits - logits.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        slope = np.einsum("ij,ijk->k", chance, x) - x[every, right].sum(axis=0) + PENALTY * weights
        return float(-np.log(chance[every, right] + 1e-12).sum() + PENALTY * weights @ weights / 2), slope

    weights = minimize(loss, np.zeros(len(suggest.WEIGHTS)), jac=True, method="L-BFGS-B").x
    return {name: round(float(value), 2) for name, value in zip(suggest.WEIGHTS, weights, strict=True)}


def ours(train: Sequence[Example], held: Sequence[Example]) -> list[list[tuple[str, float]]]:
    """Return for each held-out label the suggested terms with their scores."""
    suggester = Suggester("cell_type", train)
    return [[(hit.term, hit.score) for hit in suggester.suggest(one.label, one.tissues)] for one in held]


def rapidfuzz(held: Sequence[Example], synonyms: bool = False) -> list[list[tuple[str, float]]]:
    """Return the same by rapidfuzz with its default scorer over labels (and synonyms), "unknown" among them."""
    cl = load("CL")
    names = {"unknown": "unknown"}
    for term in Suggester("cell_type").terms:  # the same candidates; "cell" comes last, else it wins the many ties
        if term in cl:
            for name in [cl.label(term), *(cl.synonyms(term) if synonyms else ())]:
                names.setdefault(utils.default_process(name), term)
    found = []
    for one in held:
        hits = process.extract(utils.default_process(one.label), names.keys(), scorer=fuzz.WRatio, limit=20)
        best: dict[str, float] = {}
        for name, ratio, _ in hits:
            best.setdefault(names[name], ratio / 100)
        found.append(list(best.items())[:5])
    return found


def accuracy(held: Sequence[Example], found: list[list[tuple[str, float]]], first: int) -> float:
    """Return the share of labels whose term is among the first suggestions."""
    right = [one.term in [term for term, _ in hits[:first]] for one, hits in zip(held, found, strict=True)]
    return sum(right) / len(right)


def show(name: str, held: Sequence[Example], found: list[list[tuple[str, float]]]) -> None:
    sure = [sum(bool(hits) and hits[0][1] >= least for hits in found) for least in (0.5, 0.7, 0.9)]
    good = [
        sum(
            bool(hits) and hits[0][1] >= least and hits[0][0] == one.term for one, hits in zip(held, found, strict=True)
        )
        for least in (0.5, 0.7, 0.9)
    ]
    calibration = ", ".join(
        f"score >= {least}: {right}/{all_} right ({right / max(all_, 1):.3f})"
        for least, right, all_ in zip((0.5, 0.7, 0.9), good, sure, strict=True)
    )
    print(
        f"{name:44s} n={len(held):4d} top-1 {accuracy(held, found, 1):.3f} top-5 {accuracy(held, found, 5):.3f}", end=""
    )
    print(f"  {calibration}" if not name.strip().startswith("rapidfuzz") else "")


def compare(name: str, folds: Iterable[tuple[list[Example], list[Example]]]) -> None:
    """Fit on each training part, and show how often each method is right on what was held out."""
    everything: list[Example] = []
    suggested: list[list[tuple[str, float]]] = []
    for train, held in folds:
        suggest.WEIGHTS.update(fit(train))
        everything += held
        suggested += ours(train, held)
    show(f"{name}: cellzoo", everything, suggested)
    show("   rapidfuzz over labels", everything, rapidfuzz(everything))
    show("   rapidfuzz over labels and synonyms", everything, rapidfuzz(everything, synonyms=True))
    known = [at for at, one in enumerate(everything) if one.term != "unknown"]
    for method, found in (("cellzoo", suggested), ("rapidfuzz over labels", rapidfuzz(everything))):
        show(f"   {method}, without unknown", [everything[at] for at in known], [found[at] for at in known])


def main() -> None:
    """Print the weights, or the accuracy of each method on each split, and the time it takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("facts", type=Path, nargs="?", default=FACTS)
    parser.add_argument("--fit", action="store_true", help="print the weights fitted on 9/10 (seed 0) and stop")
    arguments = parser.parse_args()
    examples, counts = curated(arguments.facts)
    if arguments.fit:
        print(fit(random_tenth(examples, 0)[0]))
        return
    print(counts)
    shipped = dict(suggest.WEIGHTS)
    train, held = random_tenth(examples, 0)
    start = time.perf_counter()
    suggester = Suggester("cell_type", train)
    print(f"built from {len(train)} examples in {time.perf_counter() - start:.2f} s", end="; ")
    for _ in range(2):
        times = []
        for one in held:
            start = time.perf_counter()
            suggester.suggest(one.label, one.tissues)
            times.append(time.perf_counter() - start)
        print(f"a label takes {np.median(times) * 1e3:.1f} ms, 99 % {np.quantile(times, 0.99) * 1e3:.1f} ms", end="; ")
    print()
    show("weights as shipped, tenth of seed 0", held, ours(train, held))
    show("   without tissue", held, ours(train, [Example(one.label, one.term, one.study) for one in held]))
    show("   without curated labels", held, ours([], held))
    for seed in range(5):
        compare(f"random tenth, seed {seed}", [random_tenth(examples, seed)])
    compare("whole studies", parts(examples, by_study=True, seed=0))
    suggest.WEIGHTS.update(shipped)


if __name__ == "__main__":
    main()
