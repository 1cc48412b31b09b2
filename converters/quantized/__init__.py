"""Int8: training that keeps what the stages before it promised, and the conversion."""
