"""Activations that tf_keras lacks, which Keras finds by name.

Models rewritten here hold them (``graph``), so every process that copies or loads such a
model must know them: ``keras2`` registers them as it is imported.
"""

from __future__ import annotations

from typing import Any

#: Activations that work on each number alone.
ALONE = (
    *("absolute", "hard_swish", "reciprocal_square_root", "square_root", "unit_threshold"),
)
_FAR = 16.0  # exp(-16) is 1e-7, what float32 rounds away beside 1


def register(keras: Any, tf: Any) -> None:
    """Make the names known to ``keras``: those in ALONE and ``causal_softmax``."""

    def absolute(x: Any) -> Any:
        return tf.abs(x)

    def causal_softmax(x: Any) -> Any:
        """Return the softmax of ``(..., T, S)`` where row i sees columns up to i.

        Keras adds -1e9 to what a row must not see. In int8 one scale then spans a billion
        and all that it may see becomes one number; here it spans 16 more than it had.
        """
        seen = tf.linalg.band_part(tf.ones(x.shape[-2:]), -1, 0) > 0
        return tf.nn.softmax(tf.where(seen, x, tf.reduce_min(x, -1, keepdims=True) - _FAR))

    def hard_swish(x: Any) -> Any:
        """Return ``x * relu6(x + 3) / 6`` in the form the converter makes one operator of."""
        return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)

    def reciprocal_square_root(x: Any) -> Any:
        return tf.math.rsqrt(x)

    def square_root(x: Any) -> Any:
        return tf.sqrt(x)

    def unit_threshold(x: Any) -> Any:
        """Return ``x`` where it is over 1, else 0, by a choice rather than a cast."""
        return tf.where(x > 1.0, x, tf.zeros_like(x))

    made = (
        *(absolute, causal_softmax, hard_swish, reciprocal_square_root),
        *(square_root, unit_threshold),
    )
    keras.utils.get_custom_objects().update({one.__name__: one for one in made})
