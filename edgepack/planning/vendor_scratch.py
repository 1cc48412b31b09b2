"""What CMSIS-NN and ESP-NN kernels take of the arena besides TFLM's reference kernels.

The one rule for it: gate ``peak_ram``, gate ``arena`` and the arena size that firmware ships
are all planned with these numbers. Each formula names the file that it is read from. Where
two releases differ, and a component manager may resolve either, the larger is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgepack.planning.arena import align
from edgepack.profiles.profile import Cpu
from edgepack.tflite.facts import Facts, Op
from edgepack.tflite.operators import inputs_of
from edgepack.tflite.tensors import Tensor


@dataclass(frozen=True, slots=True)
class VendorMemory:
    """Bytes of one node beyond the reference kernel's.

    Attributes:
        scratch: in the plan, while the operator runs.
        data: added to its kernel data.
        kept: a buffer of its own for as long as the interpreter lives.
    """

    scratch: int = 0
    data: int = 0
    kept: int = 0


Vendor = Callable[[Op, Facts], VendorMemory]
_NOTHING = VendorMemory()
WINDOWED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"})


def vendor_kernels(kernels: str, cpu: Cpu) -> Vendor | None:
    """Return the rule of a runtime's kernels on a core; None for reference kernels."""
    if kernels == "cmsis-nn":
        dsp = "dsp" in cpu.features or cpu.isa == "armv7e-m"  # the e stands for them
        return CmsisNn(helium="helium" in cpu.features, dsp=dsp)
    if kernels == "esp-nn":
        lx7 = any("LX7" in core.name for core in cpu.cores)
        return EspNn(vector=lx7 or "simd" in cpu.features)
    return None


@dataclass(frozen=True, slots=True)
class _Layer:
    """Shapes of one node with a window, or of a dense one as a window of 1 by 1.

    Attributes:
        pad: rows and columns of padding (before, after) that TFLite computes.
    """

    height: int
    width: int
    channels: int
    out_h: int
    out_w: int
    out_c: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: tuple[int, int]
    pad_w: tuple[int, int]

    @property
    def taps(self) -> int:
        return self.kernel_h * self.kernel_w

    @property
    def column(self) -> int:
        """Values that one output value of a full convolution sums."""
        return self.taps * self.channels

    @property
    def pointwise(self) -> bool:
        """Whether each output pixel reads one input pixel and nothing is padded."""
        return self.taps == 1 and not any((*self.pad_h, *self.pad_w))


def _layer(op: Op, facts: Facts) -> _Layer | None:
    """Return the shapes of a convolution; None where the file's are no convolution's."""
    roles = inputs_of(op.name)
    data, weights = facts.feed(op, roles.data), facts.feed(op, roles.kernel or 0)
    outputs = facts.yields(op)
    if data is None or weights is None or not outputs:
        return None
    shapes = (data.shape, weights.shape, outputs[0].shape)
    if any(len(shape) != 4 for shape in shapes):
        return None
    _, height, width, channels = data.shape
    _, out_h, out_w, out_c = outputs[0].shape
    _, kernel_h, kernel_w, _ = weights.shape
    stride_h, stride_w = op.options["stride_h"], op.options["stride_w"]

    def pad(size: int, out: int, kernel: int, stride: int) -> tuple[int, int]:
        total = max(0, (out - 1) * stride + kernel - size)
        return total // 2, total - total // 2

    return _Layer(
        height, width, channels, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w,
        pad(height, out_h, kernel_h, stride_h), pad(width, out_w, kernel_w, stride_w),
    )  # fmt: skip


def _dilated(op: Op) -> bool:
    return any(op.options.get(f"dilation_{side}", 1) != 1 for side in "hw")


#: CH_IN_BLOCK_MVE (CMSIS-NN, arm_nnsupportfunctions.h).
CMSIS_BLOCK = 124
#: REVERSE_TCOL_EFFICIENT_THRESHOLD (the same file).
CMSIS_REVERSE_CHANNELS = 16
#: OpData of the CMSIS-NN fully connected kernel over the reference's (tflite-micro,
#: kernels/cmsis_nn/fully_connected.cc): ten layers took 320 B more on a Cortex-M4.
CMSIS_DENSE_DATA = 32


@dataclass(frozen=True, slots=True)
class CmsisNn:
    """CMSIS-NN 7.0.0, the release of the tflite-micro snapshot, and its main branch of 2026.

    Attributes:
        helium: kernels for Armv8.1-M vectors; they take the most.
        dsp: kernels for the DSP instructions of Armv7E-M and Armv8-M.
    """

    helium: bool
    dsp: bool

    def __call__(self, op: Op, facts: Facts) -> VendorMemory:
        """Return what one int8 or int16 node asks for besides the reference kernel."""
        outputs, data = facts.yields(op), facts.feed(op, inputs_of(op.name).data)
        if not outputs or outputs[0].dtype not in ("int8", "int16"):
            return _NOTHING
        if op.name == "FULLY_CONNECTED":
            return self._dense(facts.feed(op, 1))
        if op.name == "SVDF":
            feature = facts.feed(op, 1)
            rows = feature.shape[0] if feature and feature.shape else 0
            return VendorMemory(
                kept=4 * rows if self.helium else 0
            )  # arm_svdf_s8_get_buffer_size
        if op.name == "AVERAGE_POOL_2D" and data is not None and data.shape:
            # arm_avgpool_s8_get_buffer_size: sums of one pixel's channels
            return VendorMemory(4 * data.shape[-1] if self.dsp and not self.helium else 0)
        layer = _layer(op, facts) if op.name in WINDOWED else None
        return (
            _NOTHING if layer is None else VendorMemory(self._windowed(op, layer, outputs[0]))
        )

    def _windowed(self, op: Op, layer: _Layer, out: Tensor) -> int:
        wide, dilated = out.dtype == "int16", _dilated(op)
        if op.name == "CONV_2D":
            return self._convolution(layer, wide=wide, dilated=dilated)
        if op.name == "DEPTHWISE_CONV_2D":
            return 0 if dilated else self._depthwise(layer, wide=wide)
        return self._transposed(layer)

    def _dense(self, weights: Tensor | None) -> VendorMemory:
        # arm_fully_connected_get_buffer_sizes_s8.c: a sum an output with Helium; tflite-micro
        # keeps them where it is built for speed (kernels/cmsis_nn/fully_connected.cc)
        sums = 4 * weights.shape[0] if self.helium and weights and weights.shape else 0
        return VendorMemory(data=CMSIS_DENSE_DATA, kept=sums)

    def _convolution(self, layer: _Layer, *, wide: bool, dilated: bool) -> int:
        """arm_convolve_get_buffer_sizes_s8.c and _s16.c; int4 weights take the same."""
        if layer.pointwise and not dilated:
            # arm_convolve_1x1_s8_fast: two columns, only where armclang compiles it
            strided = layer.stride_h != 1 or layer.stride_w != 1
            return 0 if strided or self.helium or not self.dsp else 4 * layer.channels
        return self._columns(layer.column, wide=wide)

    def _columns(self, column: int, *, wide: bool = False) -> int:
        """Four columns in their own width with Helium, else two of halves."""
        if self.helium:
            return 4 * align(column, 16) * (2 if wide else 1)
        return 2 * 2 * align(column, 4)

    def _depthwise(self, layer: _Layer, *, wide: bool) -> int:
        """arm_depthwise_conv_get_buffer_sizes_s8.c and _s16.c."""
        if layer.channels != layer.out_c or not (self.dsp or self.helium):
            return 0
        if wide:
            columns = 2 * layer.column
            return 4 * columns + 8 if self.helium else columns
        if self.helium:
            return 4 * CMSIS_BLOCK * layer.taps
        three = layer.kernel_h == layer.kernel_w == 3
        if three and layer.pad_h[0] <= 1 and layer.pad_w[0] <= 1:
            return 0  # arm_depthwise_conv_3x3_s8 needs none
        return 2 * layer.column

    def _transposed(self, layer: _Layer) -> int:
        """arm_transpose_conv_get_buffer_sizes_s8.c: its buffer and the reversed weights."""
        small = layer.stride_h <= 2 and layer.stride_w <= 2
        if small and layer.channels > CMSIS_REVERSE_CHANNELS:
            return self._columns(layer.column) + layer.column * layer.out_c
        across = (layer.width - 1) * layer.stride_w + max(layer.kernel_w, layer.stride_h)
        return 4 * across * layer.out_c * max(layer.kernel_h, layer.stride_h)


#: A buffer's number in the kernel's data (esp-tflite-micro, kernels/esp_nn/conv.cc, NodeData).
ESP_INDEX_DATA = 4
#: Bytes of weights above which the 2026 kernels stage panels of output channels.
ESP_PANEL_BYTES = 24 * 1024


@dataclass(frozen=True, slots=True)
class EspNn:
    """ESP-NN as esp-tflite-micro takes it: 1.1, and its main branch of 2026.

    Attributes:
        vector: the kernels for the ESP32-S3's vector instructions; those of other chips ask
            for scratch in SOFTMAX only.
    """

    vector: bool

    def __call__(self, op: Op, facts: Facts) -> VendorMemory:
        """Return what one int8 node asks for besides the reference kernel."""
        data = facts.feed(op, 0)
        if data is None or data.dtype != "int8" or not data.shape:
            return _NOTHING
        if op.name == "SOFTMAX":  # esp_nn_get_softmax_scratch_size_opt: a row of exponentials
            return VendorMemory(4 * data.shape[-1], ESP_INDEX_DATA)
        if not self.vector or op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return _NOTHING
        layer = _layer(op, facts)
        if layer is None:
            return _NOTHING
        if op.name == "CONV_2D":
            scratch = max(_esp_conv_1_1(layer), _esp_conv_2026(layer))
        else:
            scratch = max(_esp_depthwise_1_1(layer), _esp_depthwise_2026(layer))
        return VendorMemory(scratch, ESP_INDEX_DATA)


def _esp_pointwise(layer: _Layer) -> bool:
    return layer.pointwise and layer.stride_h == layer.stride_w == 1


def _esp_conv_1_1(layer: _Layer) -> int:
    """esp_nn_get_conv_scratch_size_esp32s3 of 1.1 (src/convolution/esp_nn_conv_esp32s3.c)."""
    pixels, padded = layer.height * layer.width, align(layer.channels, 8)
    if _esp_pointwise(layer):
        moved = 16 * padded if pixels >= 8 else 0
        copied = pixels * padded if layer.channels % 8 else 0
        return copied + padded * layer.out_c + moved + 32
    leading_h, leading_w = layer.pad_h[0], layer.pad_w[0]
    picture = 0
    if leading_h or leading_w:
        rows, columns = layer.height + 2 * leading_h, layer.width + 2 * leading_w
        picture = rows * columns * layer.channels
    weights = layer.taps * align(layer.channels, 16) * layer.out_c
    return picture + weights + 32 + 4 * layer.out_c


def _esp_conv_2026(layer: _Layer) -> int:
    """The same function in 2026 (commit 1017042), with its paths for 3x3 and few channels."""
    channels, out_c, column = layer.channels, layer.out_c, layer.column
    if layer.kernel_h == layer.kernel_w == 3 and channels % 16 == 0 and out_c >= 16:
        # esp_nn_conv_s8_3x3_opt_esp32s3.c
        if column * out_c > ESP_PANEL_BYTES:
            return 16 * column + _esp_panel(column, out_c) + 32
        return column + out_c * column + 4 * out_c + 32
    if _esp_pointwise(layer):
        moved = 16 * align(channels, 8) if layer.height * layer.width >= 8 else 0
        panel = _esp_panel(channels, out_c)
        return max(moved + 64, 24 * channels + 8 * out_c + 64, panel)
    row = layer.kernel_w * channels
    if row < 16 <= column:  # the window as one row
        window = align(column, 16)
        return 4 * out_c + 16 + out_c * window + 16 + window + 64
    picture = 0
    if any((*layer.pad_h, *layer.pad_w)):
        rows, columns = layer.height + sum(layer.pad_h), layer.width + sum(layer.pad_w)
        picture = rows * columns * channels
    return picture + align(row, 16) * layer.kernel_h * out_c + 64 + 4 * out_c


def _esp_panel(channels: int, out_c: int) -> int:
    """Work area of the driver for panels of output channels (esp_nn_conv_1x1_panel)."""
    return 24 * channels + 16 * 1024 + 64 if channels * out_c > ESP_PANEL_BYTES else 0


def _esp_depthwise_1_1(layer: _Layer) -> int:
    """esp_nn_get_depthwise_conv_scratch_size_esp32s3 of 1.1 (…_depthwise_conv_s8_esp32s3.c)."""
    multiplier = layer.out_c // max(1, layer.channels)
    weights, picture = layer.taps * layer.out_c, layer.height * layer.width * layer.channels
    three = layer.kernel_h == layer.kernel_w == 3
    if multiplier == 1 and layer.channels % 8 == 0 and three:
        if layer.channels % 16:
            return 2 * (weights + picture) + 16
        more_h, more_w = 2 * layer.pad_h[0], 2 * layer.pad_w[0]
        if not (more_h or more_w):
            more_h = layer.out_h * layer.stride_h + 2 - layer.height
            more_w = layer.out_w * layer.stride_w + 2 - layer.width
        if not (more_h or more_w):
            return weights + 16
        rows, columns = layer.height + more_h, layer.width + more_w
        return weights + rows * columns * layer.channels + 16
    return 2 * (weights + picture) + 16 if multiplier % 4 == 0 else 32


def _esp_depthwise_2026(layer: _Layer) -> int:
    """The same function in 2026, which also pads odd numbers of channels."""
    channels, multiplier = layer.channels, layer.out_c // max(1, layer.channels)
    weights, picture = layer.taps * layer.out_c, layer.height * layer.width * channels
    if multiplier == 1 and channels % 8 == 0:
        if layer.kernel_h == layer.kernel_w == 3:
            return _esp_depthwise_3x3_2026(layer)
        whole = 2 * (weights + picture)
        strip = 2 * weights + 2 * layer.width * layer.kernel_h * channels
        return (whole if whole <= 48 * 1024 else strip) + 32
    if multiplier == 1 and channels > 3:
        filled = align(channels, 8)
        halves = align(2 * layer.taps * filled, 16) + 2 * layer.height * layer.width * filled
        output = layer.out_h * layer.out_w * filled
        return align(align(halves, 16) + output, 16) + 12 * filled + 16
    return 2 * (weights + picture) + 32 if multiplier % 4 == 0 else 32


def _esp_depthwise_3x3_2026(layer: _Layer) -> int:
    """Its part for 3x3 kernels of a multiple of eight channels."""
    channels, weights = layer.channels, layer.taps * layer.out_c
    if channels == 8:
        return 2 * (weights + layer.height * layer.width * channels) + 32
    if channels % 16:
        filled = align(channels, 16)
        below = max(0, layer.out_h * layer.stride_h + 2 - layer.height)
        right = max(0, layer.out_w * layer.stride_w + 2 - layer.width)
        rows = layer.height + 2 * layer.pad_h[0] + below
        columns = layer.width + 2 * layer.pad_w[0] + right
        output = layer.out_h * layer.out_w * filled
        return 9 * filled + rows * columns * filled + output + 12 * filled + 64
    rows, columns = layer.height + sum(layer.pad_h), layer.width + sum(layer.pad_w)
    if (rows, columns) == (layer.height, layer.width):
        return weights + 16
    row = columns * channels
    if rows * row <= 40 * 1024:
        return weights + rows * row + 16
    fitting = max((40 * 1024 - weights - 32) // row, layer.kernel_h)
    return weights + min(fitting, rows) * row + 32
