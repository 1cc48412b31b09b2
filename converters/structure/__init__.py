"""Stages that change the graph: fewer channels, lower ranks."""
