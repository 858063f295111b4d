"""Training: the split is honest, the seed decides, coarse labels help, and the models beat what a user would pick."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from cellzoo.converters.store import build
from cellzoo.converters.zoo import Zoo, open_registry
from cellzoo.errors import CardError, InputError, NotFoundError, WorldError
from cellzoo.models.data import TEST, TRAIN, VALIDATION, assemble, short_digest
from cellzoo.models.evaluate import calibration_error, evaluate_celltype
from cellzoo.models.labels import LabelSpace
from cellzoo.models.parts import of_genes
from cellzoo.models.recipe import Recipe, load_recipe
from cellzoo.models.run import evaluate_run, run_recipe
from cellzoo.models.train import train
from cellzoo.registry.catalogue import PACKAGED
from cellzoo.registry.ontology import load

ROOT = Path(__file__).parents[2]
B, CD4, CD8, NK, MONOCYTE, T = "CL:0000236", "CL:0000624", "CL:0000625", "CL:0000623", "CL:0000576", "CL:0000084"
FAST = {"epochs": 6, "batch_size": 256}


def recipe(**changes) -> Recipe:
    base = {"organ": "blood", "topology": "linear", "data": {"datasets": ["pbmc68k-reduced"]}, "train": FAST}
    return Recipe.model_validate(base | changes)


@pytest.fixture
def blood(mirror, monkeypatch):
    monkeypatch.setenv("CELLZOO_MIRROR", str(mirror))
    return open_registry()


def test_data_sets_of_one_study_are_on_one_side_of_a_split(blood):
    zheng = ["zheng2017-sorted-pbmc", "zheng2017-pbmc14k", "pbmc68k-reduced"]
    data = assemble(
        recipe(
            data={"datasets": ["tenx-pbmc3k", *zheng]},
            split={"test": {"studies": ["zheng2017-sorted-pbmc"]}},  # names one data set, holds out its study
        ),
        blood,
    )
    assert set(data.dataset[data.role == TEST]) == set(zheng)
    assert set(data.dataset[data.role != TEST]) == {"tenx-pbmc3k"}
    assert data.lock["cells"] == {TRAIN: 2374, VALIDATION: 264, TEST: 2140 + 3500 + 700}
    assert {entry["id"]: entry["role"] for entry in data.lock["datasets"]} == {
        "tenx-pbmc3k": TRAIN,
        **dict.fromkeys(zheng, TEST),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"split": {"test": {"studies": ["10.1/nope"]}}},
            r"'10.1/nope'\] is no study of the data; there are \['10.1038",
        ),
        ({"split": {"test": {"studies": ["pbmc68k-reduced"]}}}, "holds out every study"),
        ({"data": {"datasets": ["nope"]}}, "no data set 'nope'"),
        ({"data": {"where": {"tissue": "brain"}}}, "no verified data set matches"),
        ({"organism": "Mus musculus"}, "pbmc68k-reduced is Homo sapiens, the recipe Mus musculus"),
        ({"organism": "human"}, "organism 'human' is not known; use one of"),
    ],
)
def test_a_recipe_that_cannot_be_followed_says_why(zoo, changes, message):
    with pytest.raises((InputError, LookupError), match=message):
        assemble(recipe(**changes), zoo)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("organ: blood\ndata: {datasets: []}\n", 2, "give either datasets"),
        ("organ: blood\ndata: {datasets: [a], store: b}\n", 2, "give either datasets"),
        ("organ: blood\ndata: {datasets: [a]}\nepochs: 3\n", 3, "epochs: unknown key"),
        ("organ: Blood!\ndata: {datasets: [a]}\n", 1, "organ: String should match pattern"),
        ("data: {datasets: [a]}\n", 1, "organ: is missing"),
        (
            "organ: blood\ndata: {datasets: [a]}\nsplit:\n  test: {cells: 1.5}\n",
            4,
            "split.test.cells: Input should be less",
        ),
    ],
)
def test_findings_in_a_recipe_have_their_line(tmp_path, text, line, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(CardError, match=message) as caught:
        load_recipe(path)
    assert caught.value.findings[0].line == line


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(zoo):
    def weights(seed):
        chosen = recipe(train=FAST | {"seed": seed}, split={"test": {"cells": 0.2}})
        return train(chosen, assemble(chosen, zoo))[0].network.state_dict()["layers.0.weight"].numpy()

    first = weights(1)
    assert np.array_equal(first, weights(1))
    assert not np.array_equal(first, weights(2))


def test_test_cells_have_no_part_in_training(zoo):
    """Whatever the test cells hold, weights and label space are the same."""
    chosen = recipe(split={"test": {"cells": 0.2}})
    honest = assemble(chosen, zoo)
    is_test = honest.role == TEST
    other_genes = of_genes(honest.counts, np.roll(np.arange(len(honest.space)), 1))
    counts = sp.diags(1.0 - is_test) @ honest.counts + sp.diags(7.0 * is_test) @ other_genes
    terms = np.where(is_test, "CL:0000169", honest.terms)
    spoiled = replace(honest, counts=sp.csr_matrix(counts, dtype=np.float32), terms=terms)
    one, other = (train(chosen, data)[0] for data in (honest, spoiled))
    assert one.labels == other.labels
    for name, tensor in one.network.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.network.state_dict()[name].numpy()), name


BLOOD = ("tenx-pbmc3k", "zheng2017-sorted-pbmc", "pbmc68k-reduced")


def stored(blood, path, genes=None, **options):
    """Return a store of three real data sets."""
    given = [blood[name] for name in BLOOD]
    return build(path, [(one.id, one.digest, partial(one.open, genes)) for one in given], **options)


@pytest.mark.parametrize("encoding", ["hot", "packed"])
def test_a_store_teaches_the_very_model_that_its_data_sets_teach(blood, tmp_path, encoding):
    """The lock, and with it the name, are the same too; and the counts stay on disk."""
    stored(blood, tmp_path / "blood.store", encoding=encoding)
    split = {"test": {"studies": ["tenx-pbmc3k"]}}
    by_card = recipe(data={"datasets": BLOOD}, split=split)
    (tmp_path / "recipe.yaml").write_text(
        json.dumps(by_card.model_dump(mode="json", exclude_unset=True) | {"data": {"store": "blood.store"}})
    )
    by_store = load_recipe(tmp_path / "recipe.yaml")
    model, data, metrics = run_recipe(by_store, blood, tmp_path / "run")
    assert not sp.issparse(data.counts)
    cards = assemble(by_card, blood)
    other, others = train(by_card, cards)
    assert data.lock == cards.lock
    for name, tensor in model.network.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.network.state_dict()[name].numpy()), name
    others.pop("history")
    assert metrics == others
    assert evaluate_run(tmp_path / "run", blood) == metrics


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genes": "homo_sapiens-gencode48-all"}, "features are not the genes of homo_sapiens-gen"),
        ({"organism": "Mus musculus"}, "features are not the genes of mus_musculus"),
        ({"split": {"test": {"studies": ["nope"]}}}, r"\['nope'\] is no study of the data"),
    ],
)
def test_a_store_that_does_not_fit_the_recipe_is_refused(blood, tmp_path, changes, message):
    stored(blood, tmp_path / "blood.store")
    with pytest.raises(InputError, match=message):
        assemble(recipe(data={"store": tmp_path / "blood.store"}, **changes), blood)


def test_cells_of_another_organism_or_without_terms_teach_nothing(blood, tmp_path):
    def attempt(name, change):
        data = blood["pbmc68k-reduced"].open()
        build(tmp_path / name, [("x", "0" * 64, lambda: data.with_(obs=change(data.obs)))])
        assemble(recipe(data={"store": tmp_path / name}), blood)

    mouse = {"organism_ontology_term_id": "NCBITaxon:10090"}
    with pytest.raises(InputError, match="x has cells of NCBITaxon:10090, the recipe is of NCBITaxon:9606"):
        attempt("mouse", lambda obs: obs.assign(**mouse))
    with pytest.raises(InputError, match="obs has no column cell_type_ontology_term_id; streamlined data have them"):
        attempt("bare", lambda obs: obs.drop(columns="cell_type_ontology_term_id"))


def test_evaluating_a_run_again_gives_its_metrics(trained, zoo):
    run, model, data = trained
    stored = json.loads((run / "release" / "metrics.json").read_text())
    assert evaluate_run(run, zoo) == stored
    assert model.about["training_data"] == f"zoo-{short_digest(data.lock)}"


def test_a_run_is_never_overwritten(trained, zoo):
    with pytest.raises(InputError, match="holds a run already"):
        run_recipe(recipe(), zoo, trained[0])


def test_what_cannot_be_written_or_is_unknown_is_said_before_the_work(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr("cellzoo.models.run.assemble", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WorldError, match=r"file/run: cannot be written: .*Choose another path"):
        run_recipe(recipe(), zoo, tmp_path / "file" / "run")
    with pytest.raises(NotFoundError, match=r"no topology 'mlp-0.1.2' for task 'celltype'; there are: "):
        run_recipe(recipe(topology="mlp-0.1.2"), zoo, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_fails_leaves_nothing(zoo, tmp_path, monkeypatch):
    def lost(*_):
        raise WorldError("the network is gone")

    monkeypatch.setattr("cellzoo.models.run.assemble", lost)
    with pytest.raises(WorldError, match="^the network is gone$"):
        run_recipe(recipe(), zoo, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_whoever_may_read_the_folder_may_read_all_of_a_run(trained):
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in trained[0].rglob("*") if path.is_file()}
    assert len(set(modes.values())) == 1, modes


def test_a_reconstruction_beats_the_mean_cell_and_survives_its_release(zoo, tmp_path):
    from cellzoo.models.artifact import read_artifact

    chosen = recipe(task="embedding", topology="linear", split={"test": {"cells": 0.2}}, train={"epochs": 150})
    model, data, metrics = run_recipe(chosen, zoo, tmp_path / "run")
    assert metrics["test"]["nb_nll"] < metrics["test"]["nb_nll_mean_cell"]
    again = read_artifact(tmp_path / "run" / "release", smoke=True)
    cells = zoo["pbmc68k-reduced"].source().to_anndata()[:20].copy()
    assert again.embed(cells).obsm["X_cellzoo_embedding_linear"].shape == (20, 64)
    out = again.reconstruct(cells)
    assert out.shape == (20, int(model.learned.sum()))
    assert np.corrcoef(out.X.sum(axis=1), np.asarray(cells.X.sum(axis=1)).ravel())[0, 1] > 0.8
    with pytest.raises(InputError, match="is an embedding; use `cellzoo embed`"):
        again.annotate(cells)


# --- metrics


def test_metrics_by_hand():
    labels = LabelSpace.from_seen([B, CD4, CD8])  # sorted: B, CD4, CD8
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.1, 0.3, 0.6], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    terms = [B, CD4, T, T, NK]
    result = evaluate_celltype(probability, terms, labels)
    assert (result["cells"], result["outside"]) == (4, 1)  # NK has no leaf
    assert result["accuracy"] == 0.75  # the fourth, a T cell, is called B
    assert result["aggregated_accuracy"] == 0.75  # 0.3 + 0.2 > 0.5 no
    f1 = {term: entry["f1"] for term, entry in result["classes"].items()}
    assert f1 == pytest.approx({B: 2 / 3, CD4: 1.0, T: 2 / 3})
    assert result["macro_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_metrics_of_leaf_labels_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    random = np.random.default_rng(0)
    labels = LabelSpace.from_seen([B, CD4, CD8, NK])
    probability = random.dirichlet(np.ones(4), size=300)
    truth = random.choice(labels.leaves[:3], size=300)  # one type is never observed
    called = np.asarray(labels.leaves)[probability.argmax(axis=1)]
    result = evaluate_celltype(probability, truth.tolist(), labels)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, called))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, called, average="macro", labels=labels.leaves[:3]))


def test_calibration_error_by_hand():
    # bins at 0.2 (one of two right) and 0.9 (both right): (2 * |0.2 - 0.5| + 2 * |0.9 - 1|) / 4
    found = calibration_error(np.array([0.2, 0.2, 0.9, 0.9]), np.array([True, False, True, True]))
    assert found == pytest.approx(0.2)


# --- what only real studies can show


def coarsened(folder: Path, dataset: str) -> Path:
    """Return a registry in which one data set calls every T cell just that."""
    registry = Path(shutil.copytree(PACKAGED, folder / "cards"))
    path = registry / "datasets" / f"{dataset}.cell_type.tsv"
    rows = path.read_text().splitlines()
    coarse = [row.split("\t")[0] + f"\t{T}\tT cell" if "T cell" in row else row for row in rows]
    assert coarse != rows
    path.write_text("\n".join(coarse) + "\n")
    return registry


@pytest.fixture
def coarse(blood, tmp_path) -> Zoo:
    """The registry, but 10x pbmc3k calls every T cell just that."""
    return open_registry(coarsened(tmp_path, "tenx-pbmc3k"))


def taught(zoo, datasets, held_back, epochs):
    chosen = recipe(data={"datasets": datasets}, split={"validation": {"cells": held_back}}, train={"epochs": epochs})
    data = assemble(chosen, zoo)
    return train(chosen, data)[0], data


def level(model, counts, measured, groups):
    """Return the mass of each group of terms in the leaf probabilities, (cells, groups)."""
    probability = model.probabilities(counts, measured)
    return np.stack([probability[:, list(model.labels.members(group))].sum(axis=1) for group in groups], axis=1)


def test_a_coarse_study_does_not_blur_what_the_other_study_knows(coarse):
    model, data = taught(coarse, ["zheng2017-pbmc14k", "tenx-pbmc3k"], 0.2, 15)
    assert T not in model.labels.leaves
    rows = data.rows(VALIDATION)
    rows = rows[(data.dataset[rows] == "zheng2017-pbmc14k") & np.isin(data.terms[rows], ["CL:0000895", "CL:0000900"])]
    mass = level(model, data.counts[rows], data.measured["zheng2017-pbmc14k"], [CD4, CD8])
    truth = (data.terms[rows] == "CL:0000900").astype(int)
    assert len(rows) > 150
    assert (mass.argmax(axis=1) == truth).mean() > 0.9  # naive CD4 against naive CD8, the hardest pair


def test_a_coarse_study_improves_the_boundary_between_lineages(coarse):
    """A hundred finely labelled cells of one study gain from eighty coarsely labelled ones of another.

    Judged on B, T, NK and monocytes that were held back of both studies, and on a third study (which has no NK).
    """
    fine, two = ("zheng2017-pbmc14k",), ("zheng2017-pbmc14k", "tenx-pbmc3k")
    models = {datasets: taught(coarse, datasets, 0.97, 200) for datasets in (fine, two)}
    assert all(len(data.rows(TRAIN)) < 200 for _, data in models.values())
    held = models[two][1]
    third = assemble(recipe(data={"datasets": ["onek1k-subset"]}), coarse)
    ontology, groups = load("CL"), [B, T, NK, MONOCYTE]
    for data, role, dataset in (
        (held, VALIDATION, fine[0]),
        (held, VALIDATION, two[1]),
        (third, TRAIN, third.dataset[0]),
    ):
        rows = data.rows(role)[data.dataset[data.rows(role)] == dataset]
        below = {term: [ontology.is_descendant(term, one, include_self=True) for one in groups] for term in data.terms}
        truth = np.asarray([below[term] for term in data.terms[rows]])
        rows, truth = rows[truth.any(axis=1)], truth[truth.any(axis=1)].argmax(axis=1)
        likelihood, accuracy = {}, {}
        for datasets, (model, _) in models.items():
            mass = level(model, data.counts[rows], data.measured[dataset], groups)
            likelihood[datasets] = np.log(np.maximum(mass[np.arange(len(truth)), truth], 1e-12)).mean()
            accuracy[datasets] = (mass.argmax(axis=1) == truth).mean()
        assert likelihood[two] > likelihood[fine], dataset
        assert accuracy[two] > accuracy[fine], dataset


def test_on_a_study_it_never_saw_it_beats_logistic_regression_and_celltypist(mirror):
    """10x pbmc3k and Zheng 2017 teach, OneK1K tests; all methods learn from the same cells."""
    command = [sys.executable, str(ROOT / "benchmarks" / "annotation.py"), "--json", "onek1k"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"CELLZOO_MIRROR": str(mirror), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout[done.stdout.index("{") :])["onek1k"]
    for ours in ("cellzoo mlp-0.1.1", "cellzoo linear-0.0.1"):
        for theirs in ("LogisticRegression", "CellTypist SGD"):
            for metric in ("accuracy", "macro_f1"):
                assert result[ours][metric] > result[theirs][metric], (ours, theirs, metric)
