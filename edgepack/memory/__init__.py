"""Peak memory planned from the file alone, as each runtime would take it."""
