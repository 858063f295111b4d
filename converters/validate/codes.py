"""What can be found in a file: a code for each rule, how bad it is, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from cellzoo.errors import Severity


class Code(NamedTuple):
    """One rule."""

    severity: Severity
    rule: str
    """What the schema asks for."""
    remedy: str
    """What to do where it is broken."""


def _error(rule: str, remedy: str) -> Code:
    return Code("error", rule, remedy)


def _warning(rule: str, remedy: str) -> Code:
    return Code("warning", rule, remedy)


LOOK = "Look for one with: cellzoo ontology search."
RENAME = "Rename or remove it."
FILL = "Fill it, with 'unknown' where the schema allows that."
CODES = {
    "CXG001": _error(
        "The file is of the schema it is held against.", "Bring it to 7.1: cellzoo convert --to cellxgene."
    ),
    "CXG002": _error("The file is HDF5 and can be read.", "Write it again; it may be truncated."),
    "CXG003": _error("The encoding is AnnData 0.1.0.", "Read the file and write it with anndata 0.8 to 0.11."),
    "CXG004": _error("There are obs, var, X and uns.", "Write it with anndata."),
    "CXG005": _error("All parts have the shape of obs and var.", "Write it again from an AnnData in memory."),
    "CXG006": _error("There is a file.", "Check the path."),
    "CXG101": _error("Every curated column is there.", "Add it."),
    "CXG102": _error(
        "The column is categorical with text categories.", "obs[c] = obs[c].astype(str).astype('category')"
    ),
    "CXG103": _error("No value is missing.", FILL),
    "CXG104": _error("The terms are those that the schema allows.", LOOK),
    "CXG105": _error("The value is one of a short list.", "Write one of them."),
    "CXG106": _error(
        "donor_id is 'na' for cell lines and only for them.", "Name the donor; 'unknown' or 'pooled' will do."
    ),
    "CXG107": _error("The column is bool.", "obs[c] = obs[c].astype(str) == 'True'"),
    "CXG108": _error("The suspension type fits the assay.", "Correct the assay or the suspension type."),
    "CXG109": _error("cell_type is 'na' for all cells of cell lines or for none.", "Write 'unknown' or 'na' for all."),
    "CXG110": _error("No category is empty text.", "Remove it: obs[c].cat.remove_unused_categories(), or name it."),
    "CXG111": _warning("Terms are categorical.", "obs[c] = obs[c].astype('category')"),
    "CXG112": _warning("Every category has cells.", "obs[c] = obs[c].cat.remove_unused_categories()"),
    "CXG113": _warning("The assay is in the table of suspension types.", "Be sure of the suspension type."),
    "CXG114": _warning("There is a cell type, but before analysis.", "Add it, or validate with --pre-analysis."),
    "CXG121": _error("Labels are written by the portal.", "Remove it; --ignore-labels passes over labels."),
    "CXG122": _error("Deprecated fields are gone.", "Remove it; organism belongs into uns."),
    "CXG123": _error("No name starts with '__'.", RENAME),
    "CXG124": _error("Column names are unique.", RENAME),
    "CXG125": _error(
        "The values of a column are of one type.", "Make it categorical or text, or fill what is missing."
    ),
    "CXG126": _warning("Categories are no booleans.", "obs[c] = obs[c].astype(bool), or astype(str)."),
    "CXG127": _error("The index is unique.", "Make the names unique: adata.obs_names_make_unique(), or sum the genes."),
    "CXG128": _error("Columns have a value for each row, and codes name categories.", "Write it again; it is damaged."),
    "CXG201": _error("Features are genes of the release.", "Map them: cellzoo genes map; drop what is unknown."),
    "CXG202": _error("Features are of the organism, SARS-CoV-2 or ERCC.", "Correct uns organism, or drop them."),
    "CXG203": _error("var has feature_is_filtered.", "var['feature_is_filtered'] = False"),
    "CXG204": _error("feature_is_filtered is bool.", "var['feature_is_filtered'].astype(bool)"),
    "CXG205": _error("feature_is_filtered is False without raw.", "var['feature_is_filtered'] = False, or add raw."),
    "CXG206": _warning("What is zero in X alone was filtered.", "Set feature_is_filtered there."),
    "CXG207": _warning("Filtered features are zero in X.", "Set them to zero in X."),
    "CXG208": _warning("Features are not filtered out of the matrix.", "Keep all features of the reference."),
    "CXG209": _error("raw.var and var have the same features in the same order.", "Subset raw to the features of var."),
    "CXG210": _error("feature_is_filtered is in var alone.", "del raw.var['feature_is_filtered']"),
    "CXG301": _error("uns has the required keys.", "Add it."),
    "CXG302": _error("Texts have no space at an end and none twice.", "Tidy the text."),
    "CXG303": _error("The organism is one of CELLxGENE's.", LOOK),
    "CXG304": _error("No value of uns is empty.", "Remove the key."),
    "CXG307": _error("batch_condition lists columns of obs.", "Name columns that are there."),
    "CXG308": _error("default_embedding is a key of obsm.", "Name one that is there."),
    "CXG309": _error("X_approximate_distribution is count or normal.", "Write one of them, or remove the key."),
    "CXG310": _error("Colors fit a categorical column of obs.", "Give a hex or CSS4 color for each category."),
    "CXG401": _error("There is an embedding.", "Add one as obsm['X_…']."),
    "CXG402": _error("Names of embeddings are plain.", "Letters, digits, '_', '.', '-', after 'X_' a letter."),
    "CXG403": _error("Embeddings are arrays.", "obsm[k] = np.asarray(obsm[k])"),
    "CXG404": _error("Embeddings have a row for each cell and two columns or more.", "Correct the array."),
    "CXG405": _error("Embeddings are float or integer.", "obsm[k] = obsm[k].astype(np.float32)"),
    "CXG406": _error("Embeddings are not infinite and not all NaN, places never NaN.", "Correct the values."),
    "CXG407": _error("One embedding starts with 'X_'.", "Rename it to X_…"),
    "CXG408": _error("obsm['spatial'] is there for one spatial section.", "Add or remove it, or set uns spatial."),
    "CXG409": _error("No array is empty.", "Remove it."),
    "CXG410": _warning("Embeddings to be shown start with 'X_'.", "Rename it where it should be shown."),
    "CXG501": _error("Sparse matrices are CSR.", "X = scipy.sparse.csr_matrix(X)"),
    "CXG502": _error("What is zero in more than half is CSR.", "X = scipy.sparse.csr_matrix(X)"),
    "CXG503": _error("Raw counts are float32.", "raw.X.astype(np.float32)"),
    "CXG504": _error("Raw counts are non-negative integers.", "Put raw counts into raw.X, or X where there is no raw."),
    "CXG505": _error("Every cell has a count.", "Remove the cells."),
    "CXG506": _error("No two cells have the same counts.", "Remove the duplicates."),
    "CXG507": _error("Counts are finite.", "Find out where NaN or infinity came from."),
    "CXG508": _error("A Visium section has all spots of the slide.", "Use the unfiltered raw_feature_bc_matrix."),
    "CXG509": _error("Spots in the tissue have counts, and one outside has.", "Use the unfiltered matrix."),
    "CXG510": _warning("Beside the counts there are normalized values.", "Put them into X and the counts into raw."),
    "CXG511": _warning("Values of X are finite.", "Find out where NaN or infinity came from."),
    "CXG601": _error("uns spatial is for Visium and bead-based assays, and needed there.", "Add or remove it."),
    "CXG602": _error("uns spatial has is_single, a bool.", "uns['spatial']['is_single'] = True or False"),
    "CXG603": _error("One section of Visium has one library, nothing else has.", "Keep one library, or none."),
    "CXG604": _error("A library has images and scalefactors.", "Copy them from the spatial folder of Space Ranger."),
    "CXG605": _error("Images are uint8 RGB(A) of the right size.", "Use tissue_hires_image.png as it is."),
    "CXG606": _error("Scale factors are floats.", "Copy them from scalefactors_json.json."),
    "CXG607": _error("Spot positions are for one section of Visium, and needed there.", "Add or remove the column."),
    "CXG608": _error("Spot positions are integers on the slide.", "Copy them from tissue_positions.csv."),
    "CXG609": _error("Spots outside the tissue have cell type 'unknown'.", "Write 'unknown' there."),
    "CXG610": _error("All cells of a spatial file have one assay.", "Split the file by assay."),
    "CXG611": _error("Several sections together are no primary data.", "is_primary_data = False"),
    "CXG612": _warning("The full-resolution image is there.", "Add images['fullres'] where you can."),
    "CXG701": _error("Perturbations are in obs and in uns or in neither.", "Add or remove what is missing."),
    "CXG702": _error("genetic_perturbation_id holds sorted keys of uns.", "Sort and correct the ids."),
    "CXG703": _error("The strategy fits the perturbations.", "Correct the strategy."),
    "CXG704": _error(
        "A perturbation has role, sequence and motif.", "Correct the entry of uns['genetic_perturbations']."
    ),
    "CXG705": _error("A column of conditions says more than 'na'.", "Remove the column."),
    "CXG706": _warning("Perturbation ids hold no space, slash, comma or quote.", "Rename the key."),
    "CXG707": _warning("Perturbations are of human, mouse or zebrafish.", "Remove them."),
    "CXG708": _error("Perturbation ids are never 'na'.", "Rename the key."),
    "CXG801": _error("Before analysis there are no cell types and no default embedding.", "Remove it."),
}
"""Code -> rule. Codes are never given a second meaning."""
