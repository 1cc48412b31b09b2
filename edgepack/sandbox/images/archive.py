"""A folder as an image archive whose every byte follows from the folder's content; pure.

The form is the one ``docker load`` reads (OCI image config, one tar a layer). Times,
owners and order are fixed, so that the same content is the same image id everywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EPOCH = 1704067200  # 2024-01-01: a date that says nothing about the day of the build
CREATED = "2024-01-01T00:00:00Z"
_PLATFORM = {
    "amd64": {"architecture": "amd64"},
    "arm64": {"architecture": "arm64", "variant": "v8"},
    "armv7": {"architecture": "arm", "variant": "v7"},
}


def layer(folder: Path) -> bytes:
    """Return the tar of a folder's content, sorted, owned by root, dated EPOCH."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).parts):
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.mtime = EPOCH
            if path.is_symlink():
                info.type, info.linkname, info.mode = (
                    tarfile.SYMTYPE,
                    str(path.readlink()),
                    0o777,
                )
                tar.addfile(info)
            elif path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif path.is_file():
                content = path.read_bytes()
                run = path.stat().st_mode & stat.S_IXUSR
                info.size, info.mode = len(content), 0o755 if run else 0o644
                tar.addfile(info, io.BytesIO(content))
            else:
                raise ValueError(f"neither file, folder nor link: {path}")
    return packed.getvalue()


def image(
    layers: list[bytes],
    *,
    arch: str,
    tag: str,
    env: Mapping[str, str],
    labels: Mapping[str, str],
) -> tuple[bytes, str]:
    """Return (archive for ``docker load``, image id) of an image made of these layers."""
    digests = [hashlib.sha256(one).hexdigest() for one in layers]
    config: dict[str, Any] = {
        **_PLATFORM[arch],
        "os": "linux",
        "created": CREATED,
        "config": {
            "Env": [f"{name}={value}" for name, value in sorted(env.items())],
            "Labels": dict(sorted(labels.items())),
            "WorkingDir": "/",
            "User": "65534:65534",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [
            {"created": CREATED, "created_by": "edgepack images build"} for _ in layers
        ],
    }
    text = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    identity = hashlib.sha256(text).hexdigest()
    manifest = [
        {
            "Config": f"{identity}.json",
            "RepoTags": [tag],
            "Layers": [f"{digest}/layer.tar" for digest in digests],
        }
    ]
    files = {f"{identity}.json": text, "manifest.json": json.dumps(manifest).encode()}
    files |= {f"{d}/layer.tar": one for d, one in zip(digests, layers, strict=True)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.size = EPOCH, len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue(), f"sha256:{identity}"
