"""The one training loop, what it minimises, and what it is shown."""
