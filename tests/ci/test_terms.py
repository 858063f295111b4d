"""Terms in fields of cells: the message says what was found, the remedy what to do."""

import pytest

from cellzoo.ci.terms import judge
from cellzoo.registry.fields import HUMAN

OBSOLETE = {
    "replaced": ("cell_type", "CL:0000003", "CL:0000003 (obsolete native cell) is obsolete.", "Use CL:0000000 (cell)."),
    "replaced in two steps": (
        "disease",
        "MONDO:0000121",
        "MONDO:0000121 (obsolete emphysema) is obsolete.",
        "Use MONDO:0004849 (pulmonary emphysema).",
    ),
    "replaced by itself": (
        "assay",
        "EFO:0000099",
        "EFO:0000099 (obsolete_BY4741) is obsolete.",
        "Choose a current term.",
    ),
    "replaced by what the field does not take": (
        "sex",
        "EFO:0000972",
        "EFO:0000972 (obsolete_unfertilized egg) is obsolete. It was replaced by CL:0000023 (oocyte).",
        "Choose another: CL:0000023 (oocyte) is not allowed as sex: expected PATO:0000383 or PATO:0000384 or "
        "PATO:0001340 or unknown.",
    ),
    "not replaced": (
        "cell_type",
        "CL:0000144",
        "CL:0000144 (obsolete cell by function) is obsolete.",
        "Choose a current term.",
    ),
}


@pytest.mark.parametrize(("field", "term", "message", "remedy"), OBSOLETE.values(), ids=OBSOLETE.keys())
def test_an_obsolete_term_is_told_with_what_is_current_in_its_place(field, term, message, remedy):
    verdict = judge(field, term, None, ((HUMAN, "tissue"),))
    assert verdict is not None
    assert (verdict.code, verdict.message, verdict.remedy) == ("TERM001", message, remedy)
