"""Small .tflite files written from a description, so that tests need no converter."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

CODES = {k: v for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
NUMPY = {"float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint32"}


class Net:
    """One model being written; tensors and operators are numbered as they are added."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[tuple[int, str, int]] = []
        empty = schema.BufferT()
        empty.data = None
        self.buffers: list[Any] = [empty]

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        data: NDArray[Any] | bytes | None = None,
        *,
        scale: float | list[float] | None = None,
        zero: int | list[int] = 0,
        axis: int = 0,
        variable: bool = False,
        signature: tuple[int, ...] | None = None,
    ) -> int:
        """Add a tensor; quantized dtypes get a scale unless ``scale`` is given as 0."""
        made = schema.TensorT()
        made.shape = list(shape)
        made.type = getattr(schema.TensorType, dtype.upper())
        made.name = f"t{len(self.tensors)}"
        made.isVariable = variable
        made.hasRank = True
        if signature:
            made.shapeSignature = list(signature)
        if scale is None and dtype in ("int8", "uint8", "int16", "int4"):
            scale = 0.05
        if scale:
            quantization = schema.QuantizationParametersT()
            scales = scale if isinstance(scale, list) else [scale]
            zeros = zero if isinstance(zero, list) else [zero] * len(scales)
            quantization.scale, quantization.zeroPoint = scales, zeros
            quantization.quantizedDimension = axis
            made.quantization = quantization
        if data is None:
            made.buffer = 0
        else:
            raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(raw, np.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(made)
        return len(self.tensors) - 1

    def weights(self, shape: tuple[int, ...], dtype: str = "int8", **more: Any) -> int:
        """Add a constant of random values."""
        if dtype in ("float32", "float16"):
            values = self.rng.normal(0, 0.2, shape).astype(dtype)
        elif dtype == "int4":
            count = int(np.prod(shape))
            packed = self.rng.integers(0, 256, (count + 1) // 2, dtype=np.uint8)
            return self.tensor(shape, dtype, packed.tobytes(), **more)
        elif dtype == "bool":
            values = self.rng.integers(0, 2, shape).astype(bool)
        else:
            info = np.iinfo(dtype)
            low, high = max(info.min, -127), min(info.max, 127)
            values = self.rng.integers(low, high, shape, endpoint=True).astype(dtype)
        return self.tensor(shape, dtype, values, **more)

    def ints(self, values: list[int] | list[list[int]], dtype: str = "int32") -> int:
        """Add a constant of given whole numbers without quantization."""
        array = np.array(values, dtype)
        return self.tensor(array.shape, dtype, array, scale=0.0)

    def op(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        version: int = 1,
        options: str = "",
        *,
        custom: bytes | None = None,
        intermediates: list[int] | None = None,
        **fields: Any,
    ) -> None:
        """Add an operator; a name that is no builtin's becomes a custom operator."""
        code = (CODES.get(name, CODES["CUSTOM"]), "" if name in CODES else name, version)
        if code not in self.codes:
            self.codes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes.index(code)
        made.inputs, made.outputs = inputs, outputs
        if intermediates:
            made.intermediates = intermediates
        if options:
            table = getattr(schema, options + "T")()
            for key, value in fields.items():
                if not hasattr(table, key):
                    raise AttributeError(f"{options} has no {key}")
                setattr(table, key, value)
            number = getattr(schema.BuiltinOptions, options, None)
            if number is None:
                made.builtinOptions2Type = getattr(schema.BuiltinOptions2, options)
                made.builtinOptions2 = table
            else:
                made.builtinOptionsType, made.builtinOptions = number, table
        if custom is not None:
            made.customOptions = np.frombuffer(custom, np.uint8)
        self.operators.append(made)

    def conv(
        self,
        x: int,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        same: bool = True,
        activation: int = 1,
        depthwise: bool = False,
    ) -> int:
        """Add an int8 convolution with per-channel weights and a bias; return its output."""
        batch, height, width, depth = self.tensors[x].shape
        rows, cols = (
            (-(-size // stride) if same else (size - kernel) // stride + 1)
            for size in (height, width)
        )
        scales = [0.01 + 0.001 * (i % 7) for i in range(channels)]
        multiplier = {"depthMultiplier": channels // depth} if depthwise else {}
        shape = (
            (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, depth)
        )
        weights = self.weights(shape, scale=scales, axis=3 if depthwise else 0)
        unit = self.tensors[x].quantization.scale[0]
        bias = self.weights((channels,), "int32", scale=[unit * s for s in scales])
        out = self.tensor((batch, rows, cols, channels))
        self.op(
            "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
            [x, weights, bias],
            [out],
            3,
            "DepthwiseConv2DOptions" if depthwise else "Conv2DOptions",
            padding=0 if same else 1,
            strideW=stride,
            strideH=stride,
            dilationWFactor=1,
            dilationHFactor=1,
            fusedActivationFunction=activation,
            **multiplier,
        )
        return out

    def dense(self, x: int, units: int, *, per_channel: bool = False) -> int:
        """Add an int8 fully connected layer with a bias; return its output."""
        batch, depth = self.tensors[x].shape[0], int(np.prod(self.tensors[x].shape[1:]))
        scale: Any = [0.01 + 0.002 * (i % 5) for i in range(units)] if per_channel else 0.01
        weights = self.weights((units, depth), scale=scale)
        unit = self.tensors[x].quantization.scale[0]
        bias_scale = [unit * s for s in scale] if per_channel else unit * 0.01
        bias = self.weights((units,), "int32", scale=bias_scale)
        out = self.tensor((batch, units))
        self.op("FULLY_CONNECTED", [x, weights, bias], [out], 4, "FullyConnectedOptions")
        return out

    def pool(self, x: int, size: int, *, average: bool = True) -> int:
        """Add a pooling of ``size`` by ``size``; return its output."""
        batch, height, width, depth = self.tensors[x].shape
        out = self.tensor((batch, height // size, width // size, depth))
        self.tensors[out].quantization = self.tensors[x].quantization
        name = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
        self.op(
            name, [x], [out], 2, "Pool2DOptions",
            padding=1, strideW=size, strideH=size, filterWidth=size, filterHeight=size,
        )  # fmt: skip
        return out

    def reshape(self, x: int, shape: tuple[int, ...]) -> int:
        """Add a reshape; return its output."""
        out = self.tensor(shape)
        self.tensors[out].quantization = self.tensors[x].quantization
        self.op("RESHAPE", [x, self.ints(list(shape))], [out], 1, "ReshapeOptions")
        return out

    def softmax(self, x: int) -> int:
        """Add a softmax with the scale that int8 kernels demand; return its output."""
        out = self.tensor(tuple(self.tensors[x].shape), scale=1 / 256, zero=-128)
        self.op("SOFTMAX", [x], [out], 2, "SoftmaxOptions", beta=1.0)
        return out

    def add(self, x: int, y: int) -> int:
        """Add an int8 sum of two equal shapes; return its output."""
        out = self.tensor(tuple(self.tensors[x].shape))
        self.op("ADD", [x, y], [out], 2, "AddOptions")
        return out

    def done(self, inputs: list[int], outputs: list[int], description: str = "tiny") -> bytes:
        """Return the file."""
        model = schema.ModelT()
        model.version, model.description = 3, description
        model.buffers = self.buffers
        model.operatorCodes = []
        for code, custom, version in self.codes:
            made = schema.OperatorCodeT()
            made.builtinCode, made.deprecatedBuiltinCode = code, min(code, 127)
            made.version = version
            made.customCode = custom or None
            model.operatorCodes.append(made)
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs, graph.name = inputs, outputs, "main"
        model.subgraphs = [graph]
        return pack(model)


def pack(model: Any) -> bytes:
    """Return the bytes of a schema object."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unpack(data: bytes) -> Any:
    """Return the schema object of a file, to change it and pack it again."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
