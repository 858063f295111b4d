"""What exists: the cards, their schema, the ontologies and the gene spaces."""

if __name__ != "cellzoo.registry":
    raise ImportError(f"import cellzoo.registry, not {__name__}")
