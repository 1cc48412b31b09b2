"""What a device is made of: chip, cores, memory, storage, system, NPU.

Each part that carries numbers carries their source in the same table. A part with a
``source`` is one statement: a profile that inherits it takes it whole or replaces it whole
(see ``edgepack/profiles/catalogue.py``), so that no number ever stands beside another's source.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from edgepack.units import exact_bytes, parse_bytes

T = TypeVar("T")

_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+$"
_WORD = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
_NAME = r"^[a-z0-9][a-z0-9.-]*$"
_OPERATOR = r"^[A-Z][A-Z0-9_]*$"

#: What a pattern asks for, in words.
PATTERNS = {
    _LINE: "one line of text without control characters",
    _WORD: "one word of letters, digits and ._+-",
    _NAME: "lower-case letters, digits, dots and dashes",
    _OPERATOR: "an operator in capitals, such as CONV_2D",
}

#: One line of text: no control characters, which a report or terminal would obey.
Text = Annotated[str, Field(min_length=1, max_length=600, pattern=_LINE)]
SourceText = Annotated[str, Field(min_length=3, max_length=600, pattern=_LINE)]
Word = Annotated[str, Field(pattern=_WORD, max_length=64)]
Name = Annotated[str, Field(pattern=_NAME, max_length=64)]
Operator = Annotated[str, Field(pattern=_OPERATOR, max_length=64)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
States = Annotated[int, Field(strict=True, ge=0, le=15)]
Count = Annotated[int, Field(strict=True, gt=0, le=1024)]
EthosU = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
]

#: Validation context of text from a file: there a bare number of bytes is refused.
WRITTEN = {"written": True}


class ProfileTable(BaseModel):
    """A frozen table that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _bytes(raw: Any, info: ValidationInfo) -> Any:
    if isinstance(raw, str):
        return parse_bytes(raw)
    if info.context and info.context.get("written"):
        return parse_bytes(str(raw))  # no unit: refused there, with the units that exist
    return raw


#: Bytes: in a file always text with its unit, in code a plain int.
ByteCount = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(gt=0, le=2**50),
    PlainSerializer(exact_bytes, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(B|kB|MB|GB|KiB|MiB|GiB)\s*$",
            "examples": ["256 KiB", "8 GB"],
        }
    ),
]


class Sourced(ProfileTable, Generic[T]):
    """A value and where it comes from: a page, a datasheet, or ``policy: …`` for a choice."""

    value: T
    source: SourceText


class SourcedBytes(Sourced[ByteCount]):
    """A number of bytes and where it comes from."""


class SourcedFloat(Sourced[Positive]):
    """A positive number and where it comes from."""


class SourcedStates(Sourced[States]):
    """A number of wait states, 0 to 15, and where it comes from."""


class SourcedShare(Sourced[Share]):
    """A share from 0 to 1 and where it comes from."""


class Soc(ProfileTable):
    """The chip."""

    vendor: Text
    name: Text
    source: SourceText


class Core(ProfileTable):
    """One cluster of equal cores.

    Attributes:
        clock_mhz: the highest clock the device runs them at.
    """

    name: Text
    count: Count
    clock_mhz: Positive | None = None
    source: SourceText


class Cpu(ProfileTable):
    """Instruction set and cores.

    Attributes:
        isa: what the operating system runs (a 64-bit core under a 32-bit Android is armv7).
        qemu_cpu: the emulator's name for the core; absent where it has none.
        qemu_machine: the emulated board that runs firmware for this core.
        features: ``neon``, ``dotprod``, ``dsp``, ``helium``, ``fpu`` …
        flash_wait_states: of the flash that code runs from, at the first core's clock.
    """

    isa: Literal[
        "amd64",
        "arm64",
        "armv7",
        "armv7e-m",
        "armv6-m",
        "armv8-m",
        "armv8.1-m",
        "xtensa",
        "riscv32",
        "riscv64",
    ]
    cores: tuple[Core, ...] = Field(min_length=1)
    qemu_cpu: Word | None = None
    qemu_machine: Word | None = None
    features: tuple[Word, ...] = ()
    flash_wait_states: SourcedStates | None = None


class Ram(ProfileTable):
    """Main memory, and the share of it that one model may take.

    Attributes:
        total: all of it; DRAM and SRAM are sold in binary sizes ("1 GB" is 1 GiB).
        contiguous: the largest block one tensor arena can lie in, where it is not the total.
        budget: what one model may take at its peak.
        page: the size of a memory page; absent where there is no paging.
    """

    total: SourcedBytes | None = None
    contiguous: SourcedBytes | None = None
    budget: SourcedBytes | None = None
    page: SourcedBytes | None = None

    @model_validator(mode="after")
    def _within(self) -> Ram:
        _at_most("ram.contiguous", self.contiguous, "ram.total", self.total)
        _at_most("ram.budget", self.budget, "ram.total", self.total)
        _at_most("ram.budget", self.budget, "ram.contiguous", self.contiguous)
        return self


class Storage(ProfileTable):
    """Flash or storage, and the share of it that one model file may take.

    Attributes:
        total: all of it; flash cards and eMMC are sold in decimal sizes, MCU flash in binary.
        budget: what one model file may take.
        download_budget: what one model may cost over the network, compressed.
    """

    total: SourcedBytes | None = None
    budget: SourcedBytes | None = None
    download_budget: SourcedBytes | None = None

    @model_validator(mode="after")
    def _within(self) -> Storage:
        _at_most("storage.budget", self.budget, "storage.total", self.total)
        return self


def _at_most(
    name: str, part: SourcedBytes | None, whole_name: str, whole: SourcedBytes | None
) -> None:
    if part is not None and whole is not None and part.value > whole.value:
        raise ValueError(
            f"wanted {name} of at most {whole_name}, {exact_bytes(whole.value)}."
            f" Received: {exact_bytes(part.value)}"
        )


class System(ProfileTable):
    """What runs on the chip.

    Attributes:
        name: ``android``, ``linux``, ``fire-os`` …, or ``bare-metal``.
        version: as its maker writes it.
        api_level: of Android; absent elsewhere.
    """

    name: Word
    version: Text | None = None
    api_level: int | None = Field(default=None, strict=True, ge=1, le=100)
    source: SourceText


class Npu(ProfileTable):
    """An NPU beside the core, as its compiler (Vela) takes it.

    Attributes:
        accelerator: Vela's ``--accelerator-config``.
        system_config: Vela's ``--system-config``; absent where no source gives one.
        memory_mode: Vela's ``--memory-mode``.
        clock_mhz: the unit's clock.
    """

    accelerator: EthosU
    system_config: Word | None = None
    memory_mode: Word | None = None
    clock_mhz: Positive | None = None
    source: SourceText
