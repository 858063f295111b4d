"""Models that tests share, trained once: a small one on packaged data."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cellzoo.converters.zoo import Zoo, open_registry
from cellzoo.models.data import TrainingData
from cellzoo.models.model import Model
from cellzoo.models.recipe import Recipe
from cellzoo.models.run import run_recipe

RECIPE = {
    "organ": "blood",
    "data": {"datasets": ["pbmc68k-reduced"]},
    "split": {"test": {"cells": 0.2}},
    "train": {"epochs": 40},
}


@pytest.fixture(scope="session")
def zoo() -> Zoo:
    return open_registry()


@pytest.fixture(scope="session")
def trained(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model, TrainingData]:
    """A run folder, its model and its data: `mlp` on the data that scanpy carries."""
    run = tmp_path_factory.mktemp("runs") / "blood"
    model, data, _ = run_recipe(Recipe.model_validate(RECIPE), zoo, run)
    return run, model, data


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Model, TrainingData]) -> Model:
    return trained[1]


@pytest.fixture(scope="session")
def source(zoo: Zoo) -> anndata.AnnData:
    """The packaged cells as a stranger would have them: raw counts, gene symbols, nothing else."""
    full = zoo["pbmc68k-reduced"].source().to_anndata()
    return anndata.AnnData(full.X, obs=pd.DataFrame(index=full.obs_names), var=pd.DataFrame(index=full.var_names))


@pytest.fixture
def cells(source: anndata.AnnData) -> anndata.AnnData:
    """A fresh copy of 60 of them."""
    return source[np.arange(60)].copy()
