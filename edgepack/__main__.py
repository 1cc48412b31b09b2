"""``python -m edgepack``: the same as the command ``edgepack``."""

from edgepack.cli import main

main()
