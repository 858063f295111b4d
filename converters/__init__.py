"""From a card to streamlined data: fetch, read, recover counts, streamline."""

if __name__ != "cellzoo.converters":
    raise ImportError(f"import cellzoo.converters, not {__name__}")
