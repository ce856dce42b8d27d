#!/usr/bin/env python3
"""Make tests/golden/storage.safetensors: random blocks of quantised types, and their values.

    scripts/make-storage-goldens.py [OUT]     default: tests/golden/storage.safetensors

The values are those of the gguf package (llama.cpp's own Python), in float32. Of each type two rows
of 512 values: `NAME.blocks` (bytes) and `NAME.values`. Scales and minima are finite; all else is
random.
"""

import command_line

OUT = command_line.output(__doc__, "tests/golden/storage.safetensors")

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

SEED = 20261129
ROWS, COLS = 2, 512
# Where the half-precision scales and minima of a block are.
HALVES = {"q8_0": [0], "q4_0": [0], "q4_1": [0, 2], "q6_k": [208]}


def main() -> None:
    random = np.random.default_rng(SEED)
    tensors = {}
    for name, halves in HALVES.items():
        kind = GGMLQuantizationType[name.upper()]
        values, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, size=(ROWS, COLS // values, size), dtype=np.uint8)
        for at in halves:  # an exponent from 8 to 15: no infinity, no NaN
            blocks[:, :, at + 1] = blocks[:, :, at + 1] & 0x83 | 0x20
        blocks = blocks.reshape(ROWS, -1)
        tensors[f"{name}.blocks"] = blocks
        tensors[f"{name}.values"] = dequantize(blocks, kind).astype(np.float32)
    save_file(tensors, OUT)


if __name__ == "__main__":
    main()
