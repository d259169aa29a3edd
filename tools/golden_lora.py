#!/usr/bin/env python3
"""golden_lora.py - makes tests/golden/lora/: adapters of the tiny gpt2 and llama as PEFT computes them.

    python tools/golden_lora.py [FOLDER]          (default: tests/golden beside this file; made before by golden*.py)

gpt2/, llama/     as PEFT saves them (adapter_config.json, adapter_model.safetensors), both matrices random
  golden.safetensors
                  logits of the base's first batch (4, 16, 65); losses, grad_norms (20, F64) of training the adapter alone on the
                  base's batches as in golden.py, from these values; merged.NAME for two weights after merging them
"""
import json
import os
import sys

import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

SEED, STEPS = 1337, 20
TARGETS = {"gpt2": ["c_attn", "c_fc"], "llama": ["q_proj", "v_proj", "down_proj"]}


def make(folder, name):
    torch.manual_seed(SEED)
    base = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(folder, name), attn_implementation="eager")
    config = peft.LoraConfig(r=3, lora_alpha=6, lora_dropout=0.0, target_modules=TARGETS[name], task_type="CAUSAL_LM",
                             fan_in_fan_out=name == "gpt2")
    model = peft.get_peft_model(base, config).eval()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for p in trained.values():
            p.normal_(0, 0.2)
    path = os.path.join(folder, "lora", name)
    model.save_pretrained(path)
    said = json.load(open(os.path.join(path, "adapter_config.json")))
    said["base_model_name_or_path"] = "../../" + name
    said["target_modules"] = sorted(said["target_modules"])
    json.dump(said, open(os.path.join(path, "adapter_config.json"), "w"), indent=2, sort_keys=True)
    os.path.exists(os.path.join(path, "README.md")) and os.remove(os.path.join(path, "README.md"))
    batches = np.load(os.path.join(folder, name, "batches.npy"))
    kept, losses, norms = {}, [], []
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1, foreach=False)
    for batch in batches[:STEPS]:
        ids = torch.from_numpy(batch).long()
        optimizer.zero_grad(set_to_none=True)
        logits = model(ids[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
        loss.backward()
        kept.setdefault("logits", logits.detach().clone())
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    kept["losses"], kept["grad_norms"] = (torch.tensor(v, dtype=torch.float64) for v in (losses, norms))
    again = transformers.AutoModelForCausalLM.from_pretrained(os.path.join(folder, name))
    merged = peft.PeftModel.from_pretrained(again, path).merge_and_unload()
    picked = [n for n, _ in merged.named_parameters() if n.endswith(TARGETS[name][0] + ".weight")][:2]
    kept.update({"merged." + n: p.detach().clone() for n, p in merged.named_parameters() if n in picked})
    save_file({k: v.contiguous() for k, v in kept.items()}, os.path.join(path, "golden.safetensors"))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    for each in TARGETS:
        make(where, each)
    print("torch", torch.__version__, "transformers", transformers.__version__, "peft", peft.__version__)
