"""sfaira <-> CELLxGENE <-> streamlined data: every field, both ways, nothing lost."""

from cellzoo.converters.cellxgene.convert import (
    Report,
    converted,
    form,
    to_cellxgene,
    to_sfaira,
    to_streamlined,
)
from cellzoo.converters.cellxgene.migrate import migrate

__all__ = ["Report", "converted", "form", "migrate", "to_cellxgene", "to_sfaira", "to_streamlined"]
