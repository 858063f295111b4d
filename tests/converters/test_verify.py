"""Verify: what was fetched, pinned, read and judged stands in the card after; where anything is wrong, nothing does."""

import functools
import hashlib
import json
import shutil
import threading
from datetime import UTC, datetime
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cellzoo import __version__, settings
from cellzoo.cli import main
from cellzoo.converters.verify import rewritten, verify
from cellzoo.converters.zoo import open_registry
from cellzoo.errors import CardError, InputError, WorldError
from cellzoo.registry.cards import load_card
from cellzoo.registry.catalogue import PACKAGED
from cellzoo.registry.schema import Verified

TODAY = datetime.now(UTC).date().isoformat()
CARD = """\
schema_version: 2
id: lab   # as we call it
title: Cells of our lab
study: {name: lab, authors: Doe et al., year: 2026}
license: unknown
status: imported
status_reason: nobody has looked at it
primary_data: true
# the only file
files:
  - name: lab.h5ad
    url: URL
read: {format: h5ad, matrix: {file: lab.h5ad}}
counts: {kind: umi}
genes: {symbol: index}
cells:
  organism: {term: 'NCBITaxon:9606', label: Homo sapiens}
  tissue: {term: UBERON:0000178, label: blood}
  assay: {term: EFO:0009901, label: 10x 3' v1}
  cell_type: {column: type, map: lab.cell_type.tsv}   # by hand
"""
MAP = "source\tterm\tlabel\nB\tCL:0000236\tB cell\nT\tCL:0000084\tT cell\n"
GENES = ["CD3E", "CD79A", "MS4A1", "GAPDH"]


@pytest.fixture
def card(tmp_path):
    """Return the card of a small data set in a registry of its own, and write the file that a server gives."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "web").mkdir()
    path = tmp_path / "datasets" / "lab.yaml"
    path.write_text(CARD.replace("URL", "http://127.0.0.1:9/lab.h5ad"))
    (tmp_path / "datasets" / "lab.cell_type.tsv").write_text(MAP)
    obs = pd.DataFrame({"type": ["B", "B", "T"]}, index=["c1", "c2", "c3"])
    counts = np.array([[0, 3, 1, 1], [0, 2, 0, 5], [4, 0, 0, 1]], dtype=np.float32)
    anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(tmp_path / "web" / "lab.h5ad")
    return path


@pytest.fixture
def web(card):
    """Serve that file, and let the card name the server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=card.parents[1] / "web")) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        card.write_text(CARD.replace("URL", f"http://127.0.0.1:{server.server_port}/lab.h5ad"))
        yield card
        server.shutdown()
        thread.join()


def test_an_unpinned_file_is_fetched_and_pinned_and_the_card_says_what_was_seen(web):
    before = web.read_text()
    content = (web.parents[1] / "web" / "lab.h5ad").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    outcome = verify(web)
    seen = f"date: {TODAY}, cellzoo: {__version__}, cells: 3, genes: 4"
    seen = f"{{{seen}, gene_space: homo_sapiens-gencode48-protein_coding}}"
    expected = before.replace(
        "status: imported\nstatus_reason: nobody has looked at it", f"status: verified\nverified: {seen}"
    )
    expected = expected.replace(".h5ad\nread", f".h5ad\n    sha256: {digest}\n    bytes: {len(content)}\nread")
    assert web.read_text() == expected + "cells_expected: 3\n"
    assert (outcome.id, outcome.written, outcome.seen.cells, outcome.seen.genes) == ("lab", True, 3, 4)
    assert outcome.pinned["lab.h5ad"].sha256 == digest
    assert (settings.home() / "files" / digest[:2] / digest).read_bytes() == content
    assert list((settings.home() / "partial").iterdir()) == []
    assert load_card(web).verified == outcome.seen


def test_what_no_url_gives_comes_from_a_folder_and_is_found_from_then_on(card):
    card.write_text(card.read_text().replace("    url:", "    access: private\n    url:"))
    with pytest.raises(WorldError, match=r"lab\.yaml:11:5: error VER002: .*access is private.*--files"):
        verify(card)
    verify(card, card.parents[1] / "web")
    shutil.rmtree(card.parents[1] / "web")
    adata = open_registry(card.parents[1])["lab"].load()
    assert list(adata.obs["cell_type"]) == ["B cell", "B cell", "T cell"]


T_IS = "CL:0000084\tT cell"
WRONG = {
    "a label without a row": ("T\tCL", "t\tCL", r"lab\.cell_type\.tsv: error MAP003: label 'T' \(1 cells\)"),
    "a term of another ontology": (
        T_IS,
        "UBERON:0000178\tblood",
        r"lab\.cell_type\.tsv:3:1: error VER003: cell_type of 1 cells: UBERON:0000178 \(blood\) is not allowed",
    ),
    "an obsolete term": (T_IS, "CL:0000003\tnative cell", r"lab\.cell_type\.tsv:3:1: error VER003: .*obsolete"),
    "a term of another field": ("UBERON:0000178, label: blood", "CL:0000236, label: B cell", "18:3: error VER003"),
    "an unknown assay": (
        "{term: EFO:0009901, label: 10x 3' v1}",
        "{term: unknown}",
        r"lab\.yaml:19:3: error CARD006: .*verified needs assay",
    ),
    "a broken card": ("status: imported", "status: broken", r"lab\.yaml:6:1: error VER001: is broken: nobody has"),
    "no such column": ("column: type", "column: kind", "no column 'kind' of cells"),
    "other genes": ("NCBITaxon:9606', label: Homo sapiens", "NCBITaxon:10090', label: Mus musculus", "none of 4 gene"),
    "no counts": ("counts: {kind: umi}\n", "", r"lab\.yaml:6:1: error CARD006: .*verified needs counts"),
    "other numbers": ("genes: {", "cells_expected: 4\ngenes: {", "3 cells after reading, the card expects 4"),
}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG.keys())
def test_where_anything_is_wrong_the_card_stays_and_the_place_is_said(card, old, new, message):
    changed = [path for path in card.parent.iterdir() if old in path.read_text()]
    assert len(changed) == 1
    changed[0].write_text(changed[0].read_text().replace(old, new))
    before = card.read_text()
    with pytest.raises(InputError, match=message):
        verify(card, card.parents[1] / "web")
    assert card.read_text() == before
    assert sorted(path.name for path in card.parent.iterdir()) == ["lab.cell_type.tsv", "lab.yaml"]


def test_bytes_other_than_the_pinned_ones_are_refused(card):
    card.write_text(card.read_text().replace("read:", f"    sha256: {'a' * 64}\n    bytes: 7\nread:"))
    with pytest.raises(CardError, match=r"lab\.yaml:11:5: error VER002: .*the card pins aaaa"):
        verify(card, card.parents[1] / "web")


def test_a_server_that_is_not_there_is_the_worlds_fault(card):
    with pytest.raises(WorldError, match=r"error VER002: files\.0: http://127\.0\.0\.1:9/lab\.h5ad"):
        verify(card)


def test_a_verified_card_is_verified_again_and_changed_only_where_asked(card):
    folder = card.parents[1] / "web"
    verify(card, folder)
    old = card.read_text().replace(TODAY, "2020-01-01")
    card.write_text(old)
    outcome = verify(card)
    assert (outcome.written, card.read_text()) == (False, old)
    assert "nothing was changed" in str(outcome)
    assert verify(card, renew=True).written
    assert card.read_text() == old.replace("2020-01-01", TODAY)


def test_a_verified_card_that_now_reads_otherwise_is_a_finding_until_renewed(card):
    verify(card, card.parents[1] / "web")
    card.write_text(card.read_text().replace("genes: 4", "genes: 5"))
    with pytest.raises(CardError, match=r"lab\.yaml:7:1: error VER004: verified said genes 5, now 4"):
        verify(card)
    assert verify(card, renew=True).seen.genes == 4


def test_a_card_outside_a_registry_and_one_in_the_cache_are_refused(card, monkeypatch):
    lone = card.parents[1] / "lab.yaml"
    shutil.copy(card, lone)
    with pytest.raises(InputError, match="a card lies in a folder datasets or collections"):
        verify(lone)
    monkeypatch.setenv("CELLZOO_HOME", str(card.parents[1]))
    with pytest.raises(InputError, match="verify in a clone of it"):
        verify(card)


WHOLE = [path for path in sorted((PACKAGED / "datasets").glob("*.yaml")) if load_card(path).status == "verified"]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_writing_a_card_changes_nothing_else_in_it(path, tmp_path):
    seen = Verified(date=TODAY, cellzoo="0.1.0", cells=7, genes=3, gene_space="g")
    written = tmp_path / path.name
    written.write_text(rewritten(path, {}, seen))
    assert load_card(written) == load_card(path).model_copy(update={"verified": seen})
    comments = [line.partition(" #")[2] for line in path.read_text().splitlines() if " # " in line]
    assert all(comment in written.read_text() for comment in comments)


def run(*args):
    return CliRunner().invoke(main, ["verify", *map(str, args)])


def test_the_command_goes_on_after_a_bad_card_and_exits_with_the_worst(card):
    bad = card.with_name("bad.yaml")
    bad.write_text("id: [")
    result = run(bad, card, "--files", card.parents[1] / "web", "--json")
    assert result.exit_code == 1
    [seen] = json.loads(result.stdout)
    assert (seen["id"], seen["cells"], seen["written"], list(seen["pinned"])) == ("lab", 3, True, ["lab.h5ad"])
    assert "bad.yaml:2:1: error CARD002" in result.stderr
    assert "lab: 3 cells, 4 genes of homo_sapiens-gencode48-protein_coding, verified" in result.stderr
    assert run("nowhere.yaml").exit_code == 1
    assert run(card, "--files", card).exit_code == 2


def test_the_command_takes_ids_of_a_registry_and_exits_3_where_the_world_fails(card):
    result = run("lab", "--registry", card.parents[1])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "Error: lab: " in result.stderr
