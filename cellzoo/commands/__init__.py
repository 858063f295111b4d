"""The commands, a module for each room; `cellzoo.cli` puts them together."""
