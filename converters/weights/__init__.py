"""Stages that change weights, not the graph: zeros, few values, and their proof."""
