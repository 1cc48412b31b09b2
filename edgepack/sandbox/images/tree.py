"""What of Debian's packages and of a wheel goes into an image; pure but for reading files.

Left out is what no inference needs: shells and every program but Python, documentation
(copyright files stay), locales, tests, terminal and database libraries' data.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_KEPT_PROGRAM = re.compile(r"usr/bin/python3\.\d+")
_DROPPED = tuple(
    re.compile(pattern)
    for pattern in (
        r"(dev|proc|sys|run|tmp|boot|home|media|mnt|opt|root|srv|var)(/.*)?",
        r"etc/(apt|cron\.daily|dpkg|kernel|init\.d|logrotate\.d|systemd)(/.*)?",
        r"(usr/)?s?bin/.*",
        r"usr/share/doc/(?![^/]+/copyright$)[^/]+/.+",
        r"usr/share/(man|info|locale|lintian|perl5|perl|zoneinfo|bash-completion|menu|bug"
        r"|applications|pixmaps|polkit-1|readline|terminfo|tabset|doc-base|gcc|gdb|dpkg|binfmts)(/.*)?",
        r"(usr/)?lib/(terminfo|systemd|init|valgrind|dpkg)(/.*)?",
        r"(usr/)?lib/[^/]+/(gconv|perl|perl5|perl-base|krb5|engines-3|ossl-modules)(/.*)?",
        r"(usr/)?lib/[^/]+/lib(krb5|k5crypto|gssapi|tirpc|nsl|sqlite3|readline|ncurses|db-"
        r"|ssl|crypto|pcre2|selinux|acl|zstd|tinfo|com_err|keyutils|history)[^/]*",
        r"usr/(include|libexec|lib/(mime|binfmt\.d))(/.*)?",
        r"usr/lib/python3\.\d+/(test|idlelib|tkinter|lib2to3|ensurepip|pydoc_data|turtledemo"
        r"|venv|distutils|sqlite3|curses|asyncio|http|xmlrpc|xml|html|wsgiref|dbm"
        r"|multiprocessing|dist-packages|config-[^/]*|__pycache__)(/.*)?",
        r"usr/lib/python3\.\d+/lib-dynload/_(codecs_|ssl|hashlib|test|dbm|sqlite3|curses|xx).*",
        r"usr/lib/python3\.\d+/encodings/(?!(__init__|aliases|ascii|utf_8|latin_1|idna"
        r"|cp437)\.py$).*",
        r"usr/lib/python3/dist-packages/(pkg_resources|__pycache__)(/.*)?",
        r"usr/lib/python3/dist-packages/numpy/(f2py|distutils|doc|array_api|typing)/.+",
        r"usr/lib/python3/dist-packages/numpy/core/_simd\..*",
        r"usr/lib/python3/dist-packages/numpy/(.*/)?tests(/.*)?",
        r".*\.(pyc|a|h|pxd|pyi|npz)",
    )
)
_KEPT_OF_WHEEL = re.compile(
    r"tflite_runtime(/[^/]+\.(py|so))?"
    r"|ai_edge_litert/(__init__|interpreter|metrics_interface|metrics_portable)\.py"
    r"|ai_edge_litert/_pywrap_(litert|tensorflow)_interpreter_wrapper\.so"
    r"|ai_edge_litert/lib(pywrap_litert_common|LiteRt|LiteRtRuntimeCApi)\.so"
    r"|[^/]+\.dist-info/(METADATA|WHEEL|LICENSE|RECORD)"
)


def keeps(path: str) -> bool:
    """Return whether a Debian file at this path (no leading slash) goes into the image."""
    if _KEPT_PROGRAM.fullmatch(path):
        return True
    return not any(pattern.fullmatch(path) for pattern in _DROPPED)


def keeps_of_wheel(path: str) -> bool:
    """Return whether a wheel's file goes in: the interpreter, not accelerators and tools.

    Raises:
        ValueError: the path leads outside.
    """
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError(f"a wheel with a path that leads outside: {path!r}")
    return bool(_KEPT_OF_WHEEL.fullmatch(path))
