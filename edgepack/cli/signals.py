"""Ctrl-C and its kin, so that a stop asked for is a stop, wherever it lands.

Python raises ``KeyboardInterrupt`` at the next instruction; an import or a foreign library
that catches everything can swallow it. The signal is remembered here, and every step of
long work asks.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_received: list[int] = []


def watch() -> None:
    """Take SIGINT, SIGTERM and SIGHUP as the wish to stop; ``nohup`` keeps its meaning."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set handlers
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _stop)


def received() -> int | None:
    """Return the first signal that asked to stop, or None."""
    return _received[0] if _received else None


def raise_if_received() -> None:
    """Stop now if it was asked for: what swallowed the first interrupt gets it again.

    Raises:
        KeyboardInterrupt: a signal came since ``watch``.
    """
    if _received:
        raise KeyboardInterrupt


def ignore() -> None:
    """Take no more signals: the last words are being said."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def exit_code() -> int:
    """Return what a shell expects of a program that a signal ended: 128 and its number."""
    return 128 + (received() or signal.SIGINT)


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
