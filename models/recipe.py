"""A recipe: which cards, which topology, which held-out studies; whatever it leaves out has a default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from cellzoo.errors import CardError
from cellzoo.registry.document import read_yaml
from cellzoo.registry.parts import Identifier, Strict, Text

Share = Annotated[float, Field(gt=0, lt=1)]


class Data(Strict):
    """Which data sets a model is trained and tested on."""

    datasets: tuple[Identifier, ...] = ()
    """Ids of cards."""
    where: dict[Text, Text] = Field(default_factory=dict)
    """A question to the catalogue, field: term; terms stand for all their descendants."""

    store: Path | None = None
    """A training store; a relative path counts from the folder of the recipe."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if bool(self.datasets) + bool(self.where) + (self.store is not None) != 1:
            raise ValueError("give either datasets (ids of cards), where (field: term) or store (a folder)")
        return self


class Held(Strict):
    """What is held out; studies are the honest choice, cells the one for a single study."""

    studies: tuple[Text, ...] = ()
    """Data set ids, DOIs or study names; every data set of such a study is held out."""
    cells: Share | None = None
    """Share of cells drawn at random, where there is one study only."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if bool(self.studies) == (self.cells is not None):
            raise ValueError("give either studies or cells (a share between 0 and 1)")
        return self


class Validation(Strict):
    """Cells of the training studies that are kept back to be judged; never of the test set."""

    cells: Share = 0.1
    """Share of training cells."""


class Split(Strict):
    """How cells are divided."""

    test: Held | None = None
    """Held-out test set; absent: none, and the metrics say so."""
    validation: Validation = Validation()
    """Validation cells."""


class Schedule(Strict):
    """How the optimizer runs; defaults were chosen across held-out studies."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over the training cells; by default 12, and at least 400 optimizer steps."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Cells in a mini-batch."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Peak learning rate of Adam; by default that of the topology."""
    l2: Annotated[float, Field(ge=0)] | None = None
    """Weight of half the squared weights in a classifier's loss; by default that of the topology."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of split, initial weights and mini-batches."""


class Recipe(Strict):
    """What `cellzoo train` reads."""

    task: Literal["celltype", "embedding"] = "celltype"
    """What is learned."""
    topology: Text = "mlp-0.1.1"
    """Architecture and version."""
    organism: Text = "Homo sapiens"
    """Organism of the gene space, label or NCBITaxon id."""
    organ: Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*$")]
    """Organ as part of the model's name, for example blood."""
    genes: Text | None = None
    """Gene space; by default the organism's protein coding genes."""
    data: Data
    """Data sets."""
    split: Split = Split()
    """Division into training, validation and test cells."""
    train: Schedule = Schedule()
    """Optimizer."""


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in ``path``; `CardError` with every finding at file:line:column."""
    document = read_yaml(path)
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        raise CardError([document.invalid(item, "RECIPE001") for item in error.errors()]) from error
    if recipe.data.store is None:
        return recipe
    store = (path.parent / recipe.data.store).resolve()  # the recipe is copied into the run
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"store": store})})
