"""``python -m edgepack``: the same as the command ``edgepack``."""

from edgepack.cli.main import main

main()
