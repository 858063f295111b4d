"""What guards a pull request to the registry."""

if __name__ != "cellzoo.ci":
    raise ImportError(f"import cellzoo.ci, not {__name__}")
