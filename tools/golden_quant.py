#!/usr/bin/env python3
"""golden_quant.py - makes tests/golden/quant/: what ggml's own Python package (gguf) makes of blocks of 32 weights.

    python tools/golden_quant.py [FOLDER]

golden.safetensors  x F32 (64, 32): normal values at scales from 1e-9 to 1e6, and by hand zeros, ties of magnitude, values
                    halfway between levels, scales that f16 holds as subnormals or not at all; q8_0 U8 (64, 34) and
                    q4_0 U8 (64, 18): the blocks of each row; from_q8_0, from_q4_0 F32: what they say
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType as kind
from gguf import quants
from safetensors.numpy import save_file


def rows():
    rng = np.random.default_rng(1337)
    x = rng.normal(size=(64, 32)) * 10.0 ** rng.uniform(-9, 6, size=(64, 1))
    x[:24] = rng.normal(size=(24, 32)) * 0.02                       # as weights are
    x[24] = 0
    x[26] = np.where(np.arange(32) % 2, 1, -1) * 0.75               # ties: the first one counts
    x[27] = -x[26]
    x[28] = (np.arange(32) - 16) / 127 * 0.5                        # halves between the levels of q8_0
    x[28, 0] = 1
    x[29] = (np.arange(32) - 16) / 16                               # and of q4_0
    x[30] = 0
    x[30, 7] = 8 * 65000.0                                          # a large scale
    x[31] = 1e-30                                                   # scales that are zero in f16
    x[32] = rng.normal(size=32) * 1e-5                              # and subnormal
    return x.astype(np.float32)


folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "quant")
os.makedirs(folder, exist_ok=True)
x = rows()
out = {"x": x}
for name, k in ("q8_0", kind.Q8_0), ("q4_0", kind.Q4_0):
    out[name] = quants.quantize(x, k)
    out["from_" + name] = quants.dequantize(out[name], k)
save_file(out, os.path.join(folder, "golden.safetensors"))
