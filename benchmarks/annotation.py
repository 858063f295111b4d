"""Cell type calls on a study the model never saw, side by side with what a user would pick instead.

Trained on the same cells and judged on the same cells, at the level {B, CD4 T, CD8 T, NK, CD14 mono, CD16 mono, DC,
platelet}: cellzoo mlp and linear, scikit-learn LogisticRegression on log-normalized genes in common, and CellTypist
with use_SGD=True. Run: CELLZOO_MIRROR=../shared/data/mirror python benchmarks/annotation.py [--json] [SPLIT ...]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellzoo.converters.zoo import open_registry
from cellzoo.models.data import TEST, TRAIN, TrainingData, assemble
from cellzoo.models.parts import of_genes
from cellzoo.models.recipe import Recipe
from cellzoo.models.train import train
from cellzoo.registry.ontology import load

LEVELS = {
    "B": "CL:0000236",
    "CD4 T": "CL:0000624",
    "CD8 T": "CL:0000625",
    "NK": "CL:0000623",
    "CD14 mono": "CL:0000860",
    "CD16 mono": "CL:0000875",
    "DC": "CL:0000451",
    "platelet": "CL:0000233",
}
ZHENG = ("zheng2017-sorted-pbmc", "zheng2017-pbmc14k")
SPLITS = {  # name -> training data sets, held-out data sets; a study is on one side only
    "onek1k": (("tenx-pbmc3k", *ZHENG), ("onek1k-subset",)),
    "zheng": (("tenx-pbmc3k",), ZHENG),
    "pbmc3k": (ZHENG, ("tenx-pbmc3k",)),
}


def levels(terms: np.ndarray) -> np.ndarray:
    """Return the level of each term, "" where it lies below none."""
    ontology = load("CL")
    below = {
        term: next((name for name, root in LEVELS.items() if ontology.is_descendant(term, root, include_self=True)), "")
        for term in np.unique(terms)
    }
    return np.asarray([below[term] for term in terms])


def data_of(train_on: tuple[str, ...], test_on: tuple[str, ...]) -> tuple[Recipe, TrainingData]:
    """Return the recipe and the cells of a split."""
    recipe = {"organ": "blood", "data": {"datasets": train_on}, "split": {"test": {"studies": test_on}}}
    return Recipe.model_validate(recipe), assemble(Recipe.model_validate(recipe), open_registry())


def cellzoo_calls(recipe: Recipe, data: TrainingData, topology: str) -> np.ndarray:
    """Return cellzoo's call of each test cell: the level with the largest summed probability."""
    model, _ = train(recipe.model_copy(update={"topology": topology}), data)
    rows = data.rows(TEST)
    of_leaf = levels(np.asarray(model.labels.leaves))  # type: ignore[union-attr]
    groups = [name for name in LEVELS if name in of_leaf]
    calls = np.empty(len(rows), dtype=object)
    for name in np.unique(data.dataset[rows]):
        own = data.dataset[rows] == name
        probability = model.probabilities(data.counts[rows[own]], data.measured[str(name)])
        mass = np.stack([probability[:, of_leaf == group].sum(axis=1) for group in groups], axis=1)
        calls[own] = np.asarray(groups)[mass.argmax(axis=1)]
    return calls


def common(data: TrainingData) -> np.ndarray:
    """Return the genes that every data set of the split measured."""
    return np.flatnonzero(np.logical_and.reduce(list(data.measured.values())))


def log_normalized(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Return log1p of each cell scaled to 10,000, as scanpy does it."""
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    return sp.csr_matrix((sp.diags(1e4 / total) @ counts).log1p())


def logistic_regression(data: TrainingData, train_rows: np.ndarray, test_rows: np.ndarray) -> np.ndarray:
    """Return the calls of scikit-learn's logistic regression with its defaults."""
    from sklearn.linear_model import LogisticRegression

    x = log_normalized(of_genes(data.counts, common(data))[:])
    fitted = LogisticRegression(max_iter=1000).fit(x[train_rows], levels(data.terms[train_rows]))
    return np.asarray(fitted.predict(x[test_rows]))


def celltypist(data: TrainingData, train_rows: np.ndarray, test_rows: np.ndarray) -> np.ndarray:
    """Return the calls of CellTypist trained with stochastic gradient descent, without majority voting."""
    import celltypist as ct

    genes = common(data)
    var = pd.DataFrame(index=pd.Index(data.space.ids[genes]))
    x = log_normalized(of_genes(data.counts, genes)[:])
    train_on, test_on = (anndata.AnnData(x[rows], var=var) for rows in (train_rows, test_rows))
    train_on.obs["level"] = levels(data.terms[train_rows])
    model = ct.train(train_on, labels="level", use_SGD=True, n_jobs=2, check_expression=False)
    return np.asarray(ct.annotate(test_on, model=model).predicted_labels["predicted_labels"])


def judge(calls: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return accuracy and macro F1 over the levels present."""
    f1 = [2 * ((truth == c) & (calls == c)).sum() / ((truth == c).sum() + (calls == c).sum()) for c in np.unique(truth)]
    return {"accuracy": float((calls == truth).mean()), "macro_f1": float(np.mean(f1))}


def compare(split: str) -> dict[str, dict[str, float]]:
    """Return method -> accuracy, macro F1 and seconds on one split."""
    recipe, data = data_of(*SPLITS[split])
    known = levels(data.terms) != ""
    train_rows, test_rows = (np.flatnonzero((data.role == role) & known) for role in (TRAIN, TEST))
    judged = known[data.rows(TEST)]
    truth = levels(data.terms[test_rows])
    methods: dict[str, Callable[[], np.ndarray]] = {
        "cellzoo mlp-0.1.1": lambda: cellzoo_calls(recipe, data, "mlp-0.1.1")[judged],
        "cellzoo linear-0.0.1": lambda: cellzoo_calls(recipe, data, "linear-0.0.1")[judged],
        "LogisticRegression": lambda: logistic_regression(data, train_rows, test_rows),
        "CellTypist SGD": lambda: celltypist(data, train_rows, test_rows),
    }
    results = {}
    for name, method in methods.items():
        start = time.perf_counter()
        calls = method()
        results[name] = judge(calls, truth) | {"seconds": round(time.perf_counter() - start, 1)}
    return results


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", nargs="*", default=list(SPLITS), help=f"one or more of {', '.join(SPLITS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {split: compare(split) for split in options.split}
    if options.json:
        json.dump(results, sys.stdout)
        return
    for split, rows in results.items():
        print(f"\ntrained on {', '.join(SPLITS[split][0])}; held out: {', '.join(SPLITS[split][1])}")
        print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
