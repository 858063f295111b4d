"""How long an ontology takes to open and to answer: the compiled file beside pronto, both from the same OBO.

Each is asked as a script would: open cl-basic.obo (2,692 terms; in the mirror, ``CELLZOO_MIRROR``) and name all that is
above "T cell". Opening a compiled file reads it from disk each time; compiling it, once for each file, is shown apart.
Then the fields: open the pinned ontology, look up a label, decide whether the term is allowed, each in a new process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

from pronto.ontology import Ontology as Pronto

from cellzoo import settings
from cellzoo.registry.obo import compile_ontology
from cellzoo.registry.ontology import Ontology

CL_BASIC = "2d8eabdade868831d0b4e7af008ed69a998bc1ec3f70fdf0463c7b6d8c6b7169"
T_CELL = "CL:0000084"
FIELDS = {
    "cell_type": T_CELL,
    "tissue": "UBERON:0002048",
    "assay": "EFO:0009899",
    "disease": "MONDO:0005061",
    "development_stage": "HsapDv:0000117",
    "self_reported_ethnicity": "HANCESTRO:0371",
    "organism": "NCBITaxon:9606",
}
ONE_FIELD = """
import sys, time
from cellzoo.registry.fields import allowed
from cellzoo.registry.ontology import term_ontology
start = time.perf_counter()
field, term = sys.argv[1:]
label = term_ontology(term).label(term)
assert allowed(field, term) is None
print(time.perf_counter() - start)
"""


def best(ask: Callable[[], object], runs: int) -> float:
    """Return the shortest time of several runs, in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the times and their ratio."""
    mirror = settings.mirror()
    if mirror is None or not (obo := mirror / CL_BASIC).exists():
        sys.exit("Set CELLZOO_MIRROR to the folder of test data: it holds cl-basic.obo.")
    warnings.simplefilter("ignore")

    def slow() -> list[str]:
        return sorted(term.id for term in Pronto(str(obo)).get_term(T_CELL).superclasses(with_self=False))

    with tempfile.TemporaryDirectory() as home:
        os.environ["CELLZOO_HOME"] = home
        start = time.perf_counter()
        path = compile_ontology(obo).path
        print(f"compile cl-basic.obo once       {1000 * (time.perf_counter() - start):8.1f} ms")

        def fast() -> list[str]:
            return Ontology(path).ancestors(T_CELL, relations=["is_a"])

        assert fast() == slow()
        pronto, cellzoo = best(slow, 7), best(fast, 50)
        again = best(lambda: compile_ontology(obo).ancestors(T_CELL, relations=["is_a"]), 50)
        ontology, parsed = Ontology(path), Pronto(str(obo))
        print(f"open and ask: pronto            {1000 * pronto:8.1f} ms")
        print(f"open and ask: compiled file     {1000 * cellzoo:8.1f} ms   {pronto / cellzoo:6.0f} times faster")
        print(f"open and ask: compile_ontology  {1000 * again:8.1f} ms   {pronto / again:6.0f} times faster")
        every = best(lambda: [list(term.superclasses()) for term in parsed.terms()], 3)
        ours = best(lambda: [ontology.ancestors(term, relations=["is_a"]) for term in ontology.ids], 3)
        print(f"ancestors of every term: pronto {1000 * every:8.1f} ms")
        print(f"ancestors of every term: ours   {1000 * ours:8.1f} ms   {every / ours:6.0f} times faster")
    for field, term in FIELDS.items():
        runs = [
            subprocess.run([sys.executable, "-c", ONE_FIELD, field, term], check=True, capture_output=True, text=True)
            for _ in range(5)
        ]
        print(f"{field:31s} {1000 * min(float(run.stdout) for run in runs):8.1f} ms for {term}: open, label, allowed")


if __name__ == "__main__":
    main()
