"""The names a Keras config may hold; a name that is not here is refused, never imported.

A config names Python classes and functions, and Keras imports what it names. Only Keras'
own layers and their parts are let through, minus those that run foreign code or open files:
Lambda, TFSMLayer, TorchModuleWrapper, JaxLayer, FlaxLayer, and the vocabulary look-ups
(a vocabulary may be a path: the file it names would be read).
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONTAINERS = frozenset({"Functional", "Model", "Sequential"})

CODE = frozenset(
    {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
)

COMPRESSED = frozenset(
    {
        "QuantizeLayer",
        "QuantizeWrapper",
        "QuantizeWrapperV2",
        "PruneLowMagnitude",
        "ClusterWeights",
        "QuantizedDTypePolicy",
        "Int8DTypePolicy",
        "Int4DTypePolicy",
        "QuantizedFloat8DTypePolicy",
    }
)

LAYERS = _words(
    """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional
    CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D Cropping3D
    Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding
    Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization Identity InputLayer LSTM LSTMCell LayerNormalization
    LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RNN
    RandomBrightness RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing
    SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    BatchNormalizationV1 BatchNormalizationV2 ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D TFOpLambda SlicingOpLambda
    AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D RMSNormalization GroupQueryAttention
    AutoContrast AugMix CutMix Equalization MixUp RandAugment RandomColorDegeneration
    RandomColorJitter RandomElasticTransform RandomErasing RandomGaussianBlur RandomGrayscale
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
    RandomSharpness RandomShear Solarization
    """
)

PARTS = _words(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer
    LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform
    TruncatedNormal VarianceScaling Zeros
    L1 L2 L1L2 OrthogonalRegularizer
    MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm
    Policy DTypePolicy
    __keras_tensor__ __numpy__ __tensor__ __tuple__ __ellipsis__ __slice__ TensorShape
    """
)

ACTIVATIONS = _words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink
    softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh
    tanh_shrink threshold
    """
)

# Where Keras may look a name up: not keras.utils (it downloads), not a user's package.
MODULES = re.compile(
    r"(tf_)?keras(\.src)?"
    r"(\.(layers|engine|models|initializers|regularizers|constraints|activations"
    r"|dtype_policies|mixed_precision|ops)(\.[a-z0-9_]+)*)?"
    r"|builtins"
    r"|tensorflow\.python\.ops\.init_ops_v2"  # tf_keras' EfficientNetV2 writes it
)
OPS_MODULE = re.compile(r"keras\.src\.ops\.(numpy|nn|core|math|image)")

# tf.* symbols an op layer of tf_keras (TFOpLambda) may name: they compute on tensors only.
TF_FUNCTIONS = _words(
    """
    cast clip_by_value concat expand_dims gather identity pad repeat reshape reverse shape
    slice split squeeze stack strided_slice tile transpose unstack where one_hot
    compat.v1.shape compat.v1.squeeze compat.v1.concat compat.v1.transpose
    compat.v1.nn.softmax compat.v1.nn.relu6 compat.v1.nn.leaky_relu compat.v1.nn.avg_pool
    compat.v1.nn.max_pool compat.v1.pad compat.v1.expand_dims compat.v1.gather
    image.resize image.pad_to_bounding_box image.crop_to_bounding_box
    linalg.matmul linalg.l2_normalize linalg.einsum einsum tensordot norm
    """
)
TF_PREFIXES = ("math.", "nn.", "__operators__.")
TF_EXCEPT = frozenset({"nn.embedding_lookup_sparse", "nn.scale_regularization_loss"})


def names_tf_function(function: object) -> bool:
    """Return whether an op layer may call the ``tf.`` symbol of this name."""
    if not isinstance(function, str) or function in TF_EXCEPT:
        return False
    if function.startswith("keras.activations."):
        return function.rpartition(".")[2] in ACTIVATIONS
    return function in TF_FUNCTIONS or function.startswith(TF_PREFIXES)
