"""The rules of the CELLxGENE schema, held against an h5ad file without reading it into memory."""
