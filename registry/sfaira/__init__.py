"""Loaders of sfaira as cards: read, brought to terms of today, written."""
