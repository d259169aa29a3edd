#!/usr/bin/env python3
"""golden_mixed.py - makes tests/golden/gpt2/mixed.safetensors: the two runs of golden.py's GPT-2s with PyTorch's own
mixed precision, torch.autocast("cpu", torch.bfloat16) around the forward pass and the loss.

    python tools/golden_mixed.py [FOLDER]          (default: tests/golden beside this file)

tiny.losses, tiny.grad_norms, default.losses, default.grad_norms (20, F64 each): as losses and grad_norms of golden.py,
from the same weights and batches, with the same optimiser, which works on weights in float.
"""
import os
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import golden


def mixed(model, batches):
    exact = golden.loss_of

    def loss_of(model, batch):
        with torch.autocast("cpu", torch.bfloat16):
            return exact(model, batch)

    golden.loss_of = loss_of
    losses, norms, _ = golden.train(model, batches)
    golden.loss_of = exact
    return golden.f64(losses), golden.f64(norms)


def default_model():
    model = golden.gpt2(4, 4, 128, 64)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(golden.formula_weight(name, tuple(p.shape)))
    return model


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = os.path.join(sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden"), "gpt2")
    tiny = golden.gpt2(2, 2, 16, 16)
    tiny.load_state_dict(transformers.GPT2LMHeadModel.from_pretrained(folder).state_dict())
    out = {}
    out["tiny.losses"], out["tiny.grad_norms"] = mixed(tiny, np.load(os.path.join(folder, "batches.npy")))
    batches = [golden.formula_batch(step, 12, 64) for step in range(golden.STEPS)]
    out["default.losses"], out["default.grad_norms"] = mixed(default_model(), batches)
    save_file(out, os.path.join(folder, "mixed.safetensors"))
    for name, values in out.items():
        print(name, [round(v, 4) for v in values.tolist()])


if __name__ == "__main__":
    main()
