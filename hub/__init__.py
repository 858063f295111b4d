"""Names, releases and remotes: where models are published and fetched."""

if __name__ != "cellzoo.hub":
    raise ImportError(f"import cellzoo.hub, not {__name__}")
