"""Ontology terms suggested for the labels of a study."""
