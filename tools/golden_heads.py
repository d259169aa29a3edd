#!/usr/bin/env python3
"""golden_heads.py - makes tests/golden/heads/: decoders that classify, and a sentence-transformers folder.

    python tools/golden_heads.py [FOLDER]          (default: tests/golden beside this file)

FAMILY-sequence, FAMILY-tokens: as transformers saves them, with golden.safetensors as in golden_bert.py.
sentences: a tiny random BERT with modules.json, 1_Pooling and 2_Normalize as sentence-transformers writes them;
  golden.safetensors has ids (4, 12), lengths (4), and of the rows within their lengths, by transformers' BertModel in
  f64: mean, cls, max (4, 8), and each with length 1: mean.unit, cls.unit, max.unit.
"""
import json
import os
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

SEED, LABELS = 1337, 3
GPT2 = dict(vocab_size=37, n_embd=8, n_layer=2, n_head=2, n_positions=16, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            classifier_dropout=0.0, bos_token_id=None, eos_token_id=None)
LLAMA = dict(vocab_size=37, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=16, bos_token_id=None, eos_token_id=None, classifier_dropout=0.0)
FAMILIES = {"gpt2": ("GPT2", GPT2), "llama": ("Llama", LLAMA), "mistral": ("Mistral", {**LLAMA, "sliding_window": 5}),
            "qwen2": ("Qwen2", LLAMA), "qwen3": ("Qwen3", {**LLAMA, "head_dim": 4})}
HEADS = {"sequence": "ForSequenceClassification", "tokens": "ForTokenClassification"}
BERT = dict(vocab_size=37, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
            max_position_embeddings=16, num_labels=LABELS)


def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.1 if p.dim() == 1 else 0.3)
            if ("norm" in name.lower() or "ln_" in name) and name.endswith("weight"):
                p.add_(1)
        for m in model.modules():
            if isinstance(m, torch.nn.Embedding):
                m.padding_idx = None        # its gradient is a row like any other


def rows(g, lengths):
    ids = torch.randint(5, 37, (len(lengths), 12), generator=g)
    mask = (torch.arange(12)[None, :] < lengths[:, None]).long()
    return ids * mask + (1 - mask), mask


def make(folder, family, head):
    name, shape = FAMILIES[family]
    torch.manual_seed(SEED)
    config = getattr(transformers, name + "Config")(**shape, num_labels=LABELS, pad_token_id=1,
                                                    id2label={0: "no", 1: "perhaps", 2: "yes"})
    config._attn_implementation = "eager"
    model = getattr(transformers, name + HEADS[head])(config).train()
    randomize(model)
    path = os.path.join(folder, "heads", f"{family}-{head}")
    model.save_pretrained(path)
    g = torch.Generator().manual_seed(SEED)
    lengths = torch.tensor([12, 7, 1])
    ids, mask = rows(g, lengths)
    labels = torch.tensor([2, 0, 1])
    if head == "tokens":
        labels = torch.randint(0, LABELS, (3, 12), generator=g)
        labels[mask == 0] = -100
    logits = model(input_ids=ids, attention_mask=mask).logits
    loss = F.cross_entropy(logits.reshape(-1, LABELS), labels.reshape(-1))
    loss.backward()
    out = logits if head == "sequence" else logits * mask[:, :, None]
    kept = {"ids": ids.int(), "lengths": lengths.int(), "labels": labels.int(), "out": out.detach(),
            "loss": torch.tensor([loss.item()], dtype=torch.float64)}
    kept.update({"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    save_file({k: v.clone().contiguous() for k, v in kept.items()}, os.path.join(path, "golden.safetensors"))


def sentences(folder):
    torch.manual_seed(SEED)
    model = transformers.BertModel(transformers.BertConfig(**BERT)).eval()
    randomize(model)
    path = os.path.join(folder, "heads", "sentences")
    model.save_pretrained(path)
    for part in ("1_Pooling", "2_Normalize"):
        os.makedirs(os.path.join(path, part), exist_ok=True)
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    with open(os.path.join(path, "modules.json"), "w") as f:
        json.dump([{"idx": int(i), "name": i, "path": p, "type": "sentence_transformers.models." + t} for i, p, t in modules], f, indent=2)
    with open(os.path.join(path, "1_Pooling", "config.json"), "w") as f:
        json.dump({"word_embedding_dimension": 8, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
                   "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False}, f, indent=2)
    lengths = torch.tensor([12, 7, 1, 9])
    ids, mask = rows(torch.Generator().manual_seed(SEED), lengths)
    with torch.no_grad():
        y = model.double()(input_ids=ids, attention_mask=mask).last_hidden_state
    m = mask[:, :, None].double()
    pooled = {"mean": (y * m).sum(1) / m.sum(1), "cls": y[:, 0], "max": y.masked_fill(m == 0, -torch.inf).max(1).values}
    out = {k: v.float() for k, v in pooled.items()}
    out.update({k + ".unit": F.normalize(v, dim=1).float() for k, v in pooled.items()})
    out.update({"ids": ids.int(), "lengths": lengths.int()})
    save_file({k: v.clone().contiguous() for k, v in out.items()}, os.path.join(path, "golden.safetensors"))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    for f in FAMILIES:
        make(where, f, "sequence")
    for f in ("gpt2", "qwen2"):
        make(where, f, "tokens")
    sentences(where)
    print("torch", torch.__version__, "transformers", transformers.__version__)
