"""How each file format is read into `CellData`: one module per family of formats."""
