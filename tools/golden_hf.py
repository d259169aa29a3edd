#!/usr/bin/env python3
"""golden_hf.py - makes tests/golden/hf/: GPT-2 folders in the forms that transformers writes and wrote, and their logits.

    python tools/golden_hf.py [FOLDER]          (default: tests/golden/hf beside this file)

The answers are committed; the C tests read them and need no Python.  Versions stand in hf.json.  Every folder is a
GPT-2 with 2 layers, 2 heads, width 8, block 12, vocabulary 33 and random parameters; logits.safetensors holds for each
NAME the logits (2, 12, 33) of `ids` (2, 12), computed in f32.

sharded    save_pretrained(max_shard_size=...): several files and model.safetensors.index.json
untied     tie_word_embeddings false with an lm_head of its own; scores not divided by sqrt(D) but by layer + 1
old        as older releases wrote it: names without "transformer.", the masks attn.bias (U8) and attn.masked_bias,
           torch_dtype, n_ctx, task_specific_params and nulls in config.json, F16
tied       BF16; lm_head.weight stored beside the table it is tied to; config.json in transformers' common names
           (hidden_size, num_attention_heads, ...)
"""
import json
import os
import platform
import sys

import numpy as np
import safetensors
import torch
import transformers
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel

BLOCK, VOCAB = 12, 33


def make(seed, **options):
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=VOCAB, n_positions=BLOCK, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=1,
                        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **options)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return model


def logits(model, ids):
    with torch.no_grad():
        return model.float()(ids).logits.contiguous()


def tensors(model, dtype):
    return {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()}


def write_old(model, folder):
    """Parameters rounded to F16 first, so that the logits are those of the file."""
    os.makedirs(folder, exist_ok=True)
    out = {k.removeprefix("transformer."): v for k, v in tensors(model, torch.float16).items() if k != "lm_head.weight"}
    for i in range(model.config.n_layer):
        mask = torch.tril(torch.ones(BLOCK, BLOCK, dtype=torch.uint8)).view(1, 1, BLOCK, BLOCK)
        out[f"h.{i}.attn.bias"] = mask.contiguous()
        out[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(out, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    config = {"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.0, "bos_token_id": 0,
              "embd_pdrop": 0.0, "eos_token_id": 1, "gradient_checkpointing": False, "initializer_range": 0.02,
              "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": BLOCK, "n_embd": 8, "n_head": 2, "n_inner": None,
              "n_layer": 2, "n_positions": BLOCK, "resid_pdrop": 0.0, "scale_attn_weights": True, "summary_activation": None,
              "summary_type": "cls_index", "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
              "torch_dtype": "float16", "transformers_version": "4.11.0", "use_cache": True, "vocab_size": VOCAB}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)


def write_tied(model, folder):
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.clone() for k, v in tensors(model, torch.bfloat16).items()}, os.path.join(folder, "model.safetensors"),
              metadata={"format": "pt"})
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "hidden_size": 8, "num_attention_heads": 2,
              "num_hidden_layers": 2, "max_position_embeddings": BLOCK, "vocab_size": VOCAB, "dtype": "bfloat16",
              "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": True}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=2)


def reopened(folder):
    """What transformers makes of the folder: the answer that counts."""
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden", "hf")
    torch.manual_seed(5)
    ids = torch.randint(0, VOCAB, (2, BLOCK))
    answers = {"ids": ids.to(torch.int32)}
    make(1).save_pretrained(os.path.join(out, "sharded"), max_shard_size="3KB")
    make(2, tie_word_embeddings=False, scale_attn_weights=False, scale_attn_by_inverse_layer_idx=True).save_pretrained(
        os.path.join(out, "untied"))
    write_old(make(3), os.path.join(out, "old"))
    write_tied(make(4), os.path.join(out, "tied"))
    for name in ("sharded", "untied", "old", "tied"):
        answers[name] = logits(reopened(os.path.join(out, name)), ids)
    save_file(answers, os.path.join(out, "logits.safetensors"))
    versions = {"made_by": "tools/golden_hf.py", "python": platform.python_version(), "torch": torch.__version__,
                "transformers": transformers.__version__, "safetensors": safetensors.__version__, "numpy": np.__version__}
    with open(os.path.join(out, "hf.json"), "w") as f:
        json.dump(versions, f, indent=2)
        f.write("\n")


main()
