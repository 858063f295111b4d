"""The command line: each command is one call of the package."""

from __future__ import annotations

import click

from cellzoo import __version__
from cellzoo.commands import (
    census,
    convert,
    data,
    genes,
    git,
    models,
    new,
    ontology,
    registry,
    sfaira,
    store,
    suggest,
    validate,
)
from cellzoo.commands.shared import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """A data zoo and a model zoo for single-cell genomics."""


for command in (
    *(data.demo, data.datasets, data.show, data.get),
    *(convert.convert, validate.validate, store.store, census.census),
    *(models.models, models.annotate, models.embed, models.train, models.evaluate, models.push, models.pull),
    *(ontology.ontology, suggest.suggest, genes.genes),
    *(new.new, new.verify, registry.check, git.diff, git.submit, sfaira.import_sfaira),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
