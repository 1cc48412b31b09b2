"""A model file as a build's beginning: what it is known by, read only where it is needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from converters.task import TaskHint, hint_of
from edgepack.files import digest_of, digest_of_tree, sha256
from edgepack.pipeline.cache import Cache

PACKAGES = (
    *("tensorflow", "tf-keras", "keras", "tensorflow-model-optimization", "numpy"),
    "tensorly",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What must be known of a model before its data can be read.

    Attributes:
        digest: SHA-256 of the file, or of a SavedModel's files.
        bridge_max_abs_diff: how far the rebuilt model was from the original (Keras 3).
        hint: what its loss, last activation and shapes say of its task.
    """

    digest: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    hint: TaskHint
    parameters: int
    bridge_max_abs_diff: float | None
    notes: tuple[str, ...]


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a stage computes."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def stages_digest() -> str:
    """Return a digest of the stages' own source: a changed stage never reads old results."""
    folder = Path(str(resources.files("converters")))
    files = sorted(folder.rglob("*.py"))
    return digest_of(*((str(f.relative_to(folder)), sha256(f.read_bytes())) for f in files))


@dataclass(frozen=True)
class Source:
    """A model file, loaded only when a stage really needs its weights.

    Attributes:
        allow_code: the user's leave to run Lambda layers and the like.
    """

    path: Path
    cache: Cache
    allow_code: bool = False

    @cached_property
    def key(self) -> str:
        """The digest of the file and of everything that decides how it is read."""
        content = digest_of_tree(self.path)
        return digest_of("source", content, self.allow_code, versions(), stages_digest())

    @cached_property
    def loaded(self) -> Any:
        """The model as ``converters.reading.loading`` gives it; seconds, and TensorFlow."""
        from converters.reading.loading import load

        return load(self.path, allow_code=self.allow_code)

    @cached_property
    def card(self) -> Card:
        """What must be known of the model before its data can be read."""

        def describe() -> dict[str, Any]:
            model = self.loaded.model
            return {
                "digest": self.loaded.digest,
                "kind": self.loaded.kind,
                "input_shape": model.input_shape[1:],
                "output_shape": model.output_shape[1:],
                "hint": asdict(hint_of(model)),
                "parameters": int(model.count_params()),
                "bridge_max_abs_diff": self.loaded.bridge_max_abs_diff,
                "notes": self.loaded.notes,
            }

        plain = self.cache.json_of(digest_of("card", self.key), describe)
        lists = ("input_shape", "output_shape", "notes")
        made: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in plain.items()}
        return Card(**made | {"hint": TaskHint(**plain["hint"])})
