"""Write docs/coverage.md: what each block of the zoo becomes under each technique.

    python -m benchmarks.coverage [--jobs N] [--only TECHNIQUE …] [--] [NAME …]

Without names every block and net is run; the rows that are not stay as they are. The page is
written after each row. Nothing in the table depends on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context

from tests.converters import coverage, coverage_page

_kept = ExitStack()  # of each process; its converter ends with it


def _start() -> None:
    """Prepare a process that runs many blocks: eager steps, one thread, a warm converter."""
    os.environ |= {f"TF_NUM_{kind}_THREADS": "1" for kind in ("INTRAOP", "INTEROP")}
    from converters import keras2
    from converters.tflite import convert_process

    keras2.tf.config.run_functions_eagerly(True)  # tracing costs more than a few tiny steps
    _kept.enter_context(convert_process.kept_warm())


def _run(name: str, only: list[str]) -> tuple[str, dict[str, str], float]:
    start = time.monotonic()
    found = coverage.outcomes(coverage.row(name), only)
    return name, found, time.monotonic() - start


def main() -> int:
    """Return 0 once the page is written."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=2)
    only = coverage.TECHNIQUES
    options.add_argument("--only", nargs="+", choices=only, default=list(only))
    options.add_argument("names", nargs="*", metavar="NAME")
    asked = options.parse_args()
    names = asked.names or [row[1] for row in coverage.ZOO]
    with ProcessPoolExecutor(asked.jobs, get_context("spawn"), _start) as pool:
        for done in as_completed([pool.submit(_run, name, asked.only) for name in names]):
            name, found, seconds = done.result()
            page = coverage_page.read()
            page.add(name, found)
            coverage_page.write(page)
            print(f"{seconds:6.1f} s  {name}: {found}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
