"""A model as a graph: read, walked, and rewritten into the one form that stages take."""
