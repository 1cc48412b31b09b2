"""The converter's own process: ``python -m converters.convert_worker FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np


def main(folder: Path) -> int:
    """Convert ``FOLDER/model`` into ``FOLDER/model.tflite``."""
    from converters.keras2 import tf

    options = json.loads((folder / "options.json").read_text())
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "model"))
    if (folder / "rows.npy").exists():
        rows = np.load(folder / "rows.npy")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[np.newaxis]] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        if not options["per_channel_dense"]:
            converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    (folder / "model.tflite").write_bytes(converter.convert())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
