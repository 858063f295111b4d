"""Choosing a model: by organism and tissue, the nearest organ first, only active versions."""

import pytest

from cellzoo.errors import InputError, NotFoundError
from cellzoo.hub.choice import choose, standing
from cellzoo.registry.catalogue import Registry

HUMAN, MOUSE = ["CD3E", "GAPDH", "MS4A1", "CD79A"], ["Cd3e", "Gapdh", "Ms4a1", "Cd79a"]
VERSION = """
  - version: {version}
    commit: {digit}{zeros}
    date: {date}
    status: {status}
{reason}    files: [{{name: model.safetensors, sha256: {sha}, bytes: 1}}]
    gene_space: {{name: g, sha256: {sha}, size: 1}}
    data_lock: {sha}
    datasets: [x]"""


def version(version="1.0.0", date="2026-01-01", status="active", digit="a"):
    reason = "" if status == "active" else "    reason: bad\n"
    return VERSION.format(
        version=version, date=date, status=status, reason=reason, digit=digit, zeros="b" * 39, sha="c" * 64
    )


@pytest.fixture
def registry(tmp_path):
    """Return a registry of model cards, with one that cannot be read."""
    cards = {
        "celltype-mlp-0.1_human-blood_zoo-1": version() + version("1.2.0", digit="d") + version("1.10.0", digit="e"),
        "celltype-mlp-0.1_human-blood_zoo-2": version("9.0.0", "2026-02-01", "yanked"),
        "celltype-mlp-0.1_human-pancreas_zoo-1": version(date="2026-01-01"),
        "celltype-mlp-0.1_human-pancreas_zoo-2": version(date="2026-03-01"),
        "celltype-mlp-0.1_human-islet-of-langerhans_zoo-1": version(),
        "celltype-mlp-0.1_mouse-brain_zoo-1": version(),
        "embedding-ae-0.1_human-lung_zoo-1": version(),
    }
    folder = tmp_path / "models" / "acme"
    folder.mkdir(parents=True)
    for name, versions in cards.items():
        head = f"schema_version: 2\nid: acme/{name}\ntitle: t\nlicense: MIT\nintended_use: u\nlimits: l\nversions:"
        (folder / f"{name}.yaml").write_text(head + versions + "\n")
    (folder / "bad.yaml").write_text("versions: [\n")
    return Registry((tmp_path,))


FITS = {
    "the organ itself, its newest version": (HUMAN, "blood", "human-blood_zoo-1", "1.10.0"),
    "a term by id": (HUMAN, "UBERON:0000178", "human-blood_zoo-1", "1.10.0"),
    "the newest of two": (HUMAN, "pancreas", "human-pancreas_zoo-2", "1.0.0"),
    "the nearest of two organs": (HUMAN, "islet of Langerhans", "human-islet-of-langerhans_zoo-1", "1.0.0"),
    "what the tissue is part of": (MOUSE, "cerebral cortex", "mouse-brain_zoo-1", "1.0.0"),
    "a part, where nothing holds the tissue": (MOUSE, "central nervous system", "mouse-brain_zoo-1", "1.0.0"),
}


@pytest.mark.parametrize(("names", "tissue", "ending", "expected"), FITS.values(), ids=FITS.keys())
def test_the_model_that_fits_is_chosen_and_the_reason_said(registry, names, tissue, ending, expected):
    found = choose(registry, names, tissue)
    assert (found.id, found.version) == (f"acme/celltype-mlp-0.1_{ending}", expected)
    assert found.why.startswith("human by the genes" if names is HUMAN else "mouse by the genes")


REFUSED = {
    "another organism": (
        MOUSE,
        "blood",
        NotFoundError,
        "no celltype model for mouse blood .*; there is human blood, .*; 1 model cards cannot be read",
    ),
    "no model of that tissue": (HUMAN, "lung", NotFoundError, "no celltype model for human lung"),
    "no tissue": (HUMAN, "blod", NotFoundError, "nearest 'blood'"),
    "no organism": (["1", "2"], "blood", InputError, "cannot be told"),
}


@pytest.mark.parametrize(("names", "tissue", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_where_none_fits_it_says_what_there_is(registry, names, tissue, kind, message):
    with pytest.raises(kind, match=message):
        choose(registry, names, tissue)


def test_what_a_registry_holds_against_a_version_is_said(registry):
    zeros = "b" * 39
    assert standing(registry, "acme/celltype-mlp-0.1_human-blood_zoo-2", f"a{zeros}") == (
        "acme/celltype-mlp-0.1_human-blood_zoo-2 v9.0.0 is yanked: bad."
    )
    assert standing(registry, "acme/celltype-mlp-0.1_human-blood_zoo-1", f"a{zeros}") == "", "active"
    assert standing(registry, "acme/celltype-mlp-0.1_human-blood_zoo-2", f"f{zeros}") == "", "another commit"
    assert standing(registry, "other/model", f"a{zeros}") == ""
