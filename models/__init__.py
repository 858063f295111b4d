"""Topologies, label spaces, losses, training, evaluation and annotation."""

if __name__ != "cellzoo.models":
    raise ImportError(f"import cellzoo.models, not {__name__}")
