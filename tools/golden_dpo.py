#!/usr/bin/env python3
"""golden_dpo.py - makes tests/golden/dpo/: direct preference optimisation of the tiny gpt2, whole and by the adapter of lora/gpt2.

    python tools/golden_dpo.py [FOLDER]          (default: tests/golden beside this file; made before by golden*.py)

Pairs are cut from gpt2/batches.npy (20 batches, 4 rows, 17 tokens): pair b of step s is row 2b against row 2b + 1, of which the
first 5 tokens are the prompt (row 2b's in both) and the rest, 12 and 9 tokens, the answers.  Two pairs a step, beta 0.1, the
sigmoid loss as in TRL's DPOTrainer: reference without gradient and no dropout; the second file with label smoothing 0.1.

NAME.safetensors    losses, grad_norms, margins (20, F64); reference (20, 2, 2) log-probabilities of chosen and rejected
"""
import os
import sys

import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

BETA, PROMPT, SAID, STEPS, PAIRS = 0.1, 5, (12, 9), 20, 2


def pairs_of(batch):
    """ids (4, 17) and what is said (4, 17): chosen rows first."""
    ids, said = np.zeros((2 * PAIRS, 17), np.int64), np.zeros((2 * PAIRS, 17), bool)
    for b in range(PAIRS):
        for k in range(2):
            row = k * PAIRS + b
            ids[row, :PROMPT] = batch[2 * b, :PROMPT]
            ids[row, PROMPT:PROMPT + SAID[k]] = batch[2 * b + k, PROMPT:PROMPT + SAID[k]]
            said[row, PROMPT:PROMPT + SAID[k]] = True
    return torch.from_numpy(ids), torch.from_numpy(said)


def log_p(model, ids, said):
    logits = model(ids[:, :-1], use_cache=False).logits
    each = torch.log_softmax(logits, -1).gather(2, ids[:, 1:, None])[:, :, 0]
    return (each * said[:, 1:]).sum(1)


def run(folder, adapted, smoothing, name):
    path = os.path.join(folder, "gpt2")
    load = lambda: transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
    model, reference = load(), load()
    if adapted:
        model = peft.PeftModel.from_pretrained(model, os.path.join(folder, "lora", "gpt2"), is_trainable=True).eval()
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = [p for p in trained if p.dim() > 1]
    plain = [p for p in trained if p.dim() <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}] + ([{"params": plain, "weight_decay": 0.0}] if plain else [])
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    losses, norms, margins, kept = [], [], [], []
    for batch in np.load(os.path.join(path, "batches.npy"))[:STEPS]:
        ids, said = pairs_of(batch)
        with torch.no_grad():
            was = log_p(reference, ids, said)
        optimizer.zero_grad(set_to_none=True)
        now = log_p(model, ids, said)
        z = BETA * ((now[:PAIRS] - was[:PAIRS]) - (now[PAIRS:] - was[PAIRS:]))
        loss = (-F.logsigmoid(z) * (1 - smoothing) - F.logsigmoid(-z) * smoothing).mean()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(trained, 1.0).item())
        optimizer.step()
        losses.append(loss.item())
        margins.append(z.mean().item())
        kept.append(torch.stack([was[:PAIRS], was[PAIRS:]], 1))
    out = {k: torch.tensor(v, dtype=torch.float64) for k, v in (("losses", losses), ("grad_norms", norms), ("margins", margins))}
    out["reference"] = torch.stack(kept)
    os.makedirs(os.path.join(folder, "dpo"), exist_ok=True)
    save_file(out, os.path.join(folder, "dpo", name + ".safetensors"))
    print(name, [round(x, 5) for x in losses[:3]], losses[-1], norms[0])


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    run(where, False, 0.0, "whole")
    run(where, True, 0.1, "adapter")
    print("torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__)
