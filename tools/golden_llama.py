#!/usr/bin/env python3
"""golden_llama.py - makes tests/golden/{llama,mistral,qwen2,qwen3}/: tiny random models of the Llama family.

    python tools/golden_llama.py [FOLDER]          (default: tests/golden beside this file)

Each folder is as transformers saves it: config.json, model.safetensors; and

  batches.npy     i4 (20 steps, 4 rows, 17): row[:-1] is the input, row[1:] the target
  golden.safetensors
                  logits of the first batch (4, 16, 65); grad.NAME for every parameter, before clipping;
                  losses, grad_norms (20, F64) of training as in golden.py;
                  prompt (5), greedy (24): what generate(do_sample=False) goes on with
llama/rope.safetensors
                  for each way to stretch positions logits.NAME (1, 40, 65) of ids (1, 40), the same weights
llama/rope.json   the rope_scaling of each, and max_position_embeddings
"""
import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

STEPS, SEED = 20, 1337
COMMON = dict(vocab_size=65, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=48, bos_token_id=None, eos_token_id=None, use_cache=True)
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=24)
MODELS = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM,
              dict(attention_bias=True, mlp_bias=True, head_dim=8, rope_parameters=LLAMA3)),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM, dict(sliding_window=6)),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM,
              dict(use_sliding_window=True, sliding_window=5, max_window_layers=1, tie_word_embeddings=True,
                   rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, dict(head_dim=6, attention_bias=True)),
}
STRETCHED = {
    "default": (None, 48), "linear": (dict(rope_type="linear", factor=3.0), 48),
    "dynamic": (dict(rope_type="dynamic", factor=2.0), 48),
    "yarn": (dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=12, beta_fast=4.0), 48),
    "yarn_scaled": (dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=12, mscale=1.0, mscale_all_dim=0.5,
                         truncate=False), 48),
    "longrope": (dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.5], long_factor=[1.0, 2.0, 3.0, 4.0],
                      original_max_position_embeddings=12), 48),
    "longrope_short": (dict(rope_type="longrope", short_factor=[1.0, 1.1, 1.3, 1.5], long_factor=[1.0, 2.0, 3.0, 4.0],
                            original_max_position_embeddings=44), 48),
    "llama3": (dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                    original_max_position_embeddings=24), 48),
}


def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.1 if p.dim() == 1 else 0.25)
            if "norm" in name:
                p.add_(1)


def loss_of(model, batch):
    ids = torch.from_numpy(batch).long()
    logits = model(ids[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1)), logits


def train(model, batches):
    named = dict(model.named_parameters())
    groups = [{"params": [p for p in named.values() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in named.values() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    losses, norms, first = [], [], {}
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss, logits = loss_of(model, batch)
        loss.backward()
        if not first:
            first = {"logits": logits.detach().clone()}
            first.update({"grad." + name: p.grad.clone() for name, p in named.items()})
        norms.append(torch.nn.utils.clip_grad_norm_(named.values(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    f64 = lambda v: torch.tensor(v, dtype=torch.float64)
    return {**first, "losses": f64(losses), "grad_norms": f64(norms)}


def make(folder, name):
    kind, model_class, own = MODELS[name]
    torch.manual_seed(SEED)
    config = kind(**{**COMMON, **own})
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    randomize(model)
    path = os.path.join(folder, name)
    model.save_pretrained(path)
    os.remove(os.path.join(path, "generation_config.json"))
    batches = np.random.default_rng(SEED).integers(0, 65, (STEPS, 4, 17), dtype=np.int32)
    np.save(os.path.join(path, "batches.npy"), batches)
    prompt = torch.tensor([[3, 14, 15, 9, 26]])
    greedy = model.generate(prompt, do_sample=False, max_new_tokens=24)[0, 5:]
    out = {"prompt": prompt[0].int(), "greedy": greedy.int()}
    if name == "llama":
        stretch(path, config, model)
    out.update(train(model.train(), batches))
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(path, "golden.safetensors"))


def stretch(path, config, model):
    ids = torch.from_numpy(np.random.default_rng(7).integers(0, 65, (1, 40)))
    out, said = {"ids": ids.int()}, {}
    for name, (scaling, length) in STRETCHED.items():
        other = transformers.LlamaConfig(**{**COMMON, **MODELS["llama"][2], "max_position_embeddings": length,
                                            "rope_parameters": {"rope_theta": 500.0, **(scaling or {"rope_type": "default"})}})
        other._attn_implementation = "eager"
        copy = transformers.LlamaForCausalLM(other).eval()
        copy.load_state_dict(model.state_dict())
        with torch.no_grad():
            out["logits." + name] = copy(ids).logits.clone()
        said[name] = {"max_position_embeddings": length, "rope_scaling": scaling}
    save_file(out, os.path.join(path, "rope.safetensors"))
    with open(os.path.join(path, "rope.json"), "w") as f:
        json.dump(said, f, indent=1)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    for each in MODELS:
        make(where, each)
    print("torch", torch.__version__, "transformers", transformers.__version__)
