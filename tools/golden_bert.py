#!/usr/bin/env python3
"""golden_bert.py - makes tests/golden/bert/FAMILY-HEAD/: tiny random models of the BERT family, each class of each.

    python tools/golden_bert.py [FOLDER]          (default: tests/golden beside this file)

Each folder is as transformers saves it: config.json, model.safetensors; and golden.safetensors:

  ids (3, 12), lengths (3), segments (3, 12), labels     i32; labels of masked and tokens (3, 12) with -100 for those that do
                                                        not count; of sequences (3); of spans (2, 3): starts, ends
  out             of rows within their lengths: logits, or hidden states; spans: (3, 12, 2); beyond the lengths 0
  loss            (1, F64), and grad.NAME for every parameter: mean cross-entropy (spans: of start and end; hidden states:
                  the sum of element i times (7 i % 11 - 5) / 5)
  losses, grad_norms (10, F64)    of masked: AdamW on the same batch, as in golden.py
"""
import os
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

SEED, STEPS, LABELS = 1337, 10, 3
SHAPE = dict(vocab_size=37, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
             max_position_embeddings=16, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
DISTIL = dict(vocab_size=37, dim=8, n_layers=2, n_heads=2, hidden_dim=12, max_position_embeddings=16, dropout=0.0,
              attention_dropout=0.0, qa_dropout=0.0, seq_classif_dropout=0.0)
FAMILIES = {"bert": ("Bert", SHAPE), "roberta": ("Roberta", {**SHAPE, "max_position_embeddings": 18}), "distilbert": ("DistilBert", DISTIL)}
HEADS = {"masked": "ForMaskedLM", "hidden": "Model", "sequence": "ForSequenceClassification", "tokens": "ForTokenClassification",
         "span": "ForQuestionAnswering"}


def batch(head, g):
    ids = torch.randint(5, 37, (3, 12), generator=g)
    lengths = torch.tensor([12, 7, 1])
    mask = (torch.arange(12)[None, :] < lengths[:, None]).long()
    ids = ids * mask + (1 - mask)       # 1: RoBERTa's padding, by which it counts positions
    segments = torch.randint(0, 2, (3, 12), generator=g)
    if head in ("masked", "tokens"):
        labels = torch.randint(0, 37 if head == "masked" else LABELS, (3, 12), generator=g)
        labels[torch.rand(3, 12, generator=g) < 0.4] = -100
        labels[mask == 0] = -100
    elif head == "span":
        labels = torch.stack([torch.tensor([2, 3, 0]), torch.tensor([5, 3, 0])])
    else:
        labels = torch.tensor([2, 0, 1])
    return ids, lengths, mask, segments, labels


def answer(model, family, head, ids, mask, segments, labels):
    kinds = {"token_type_ids": segments} if family == "bert" else {}
    y = model(input_ids=ids, attention_mask=mask, **kinds)
    if head == "span":
        out = torch.stack([y.start_logits, y.end_logits], -1)
        starts = out.masked_fill(mask[:, :, None] == 0, -torch.inf)
        loss = (F.cross_entropy(starts[..., 0], labels[0]) + F.cross_entropy(starts[..., 1], labels[1])) / 2
    elif head == "hidden":
        out = y.last_hidden_state
        weights = ((torch.arange(out.numel()) * 7 % 11 - 5) / 5).reshape(out.shape)
        loss = (out * mask[:, :, None] * weights).sum()
    else:
        out = y.logits
        loss = F.cross_entropy(out.reshape(-1, out.shape[-1]), labels.reshape(-1))
    return (out if head == "sequence" else out * mask[:, :, None]), loss


def make(folder, family, head):
    name, shape = FAMILIES[family]
    torch.manual_seed(SEED)
    extra = {} if family != "roberta" else dict(pad_token_id=1, type_vocab_size=1)
    if head in ("sequence", "tokens"):
        extra["num_labels"] = LABELS
    config = getattr(transformers, name + "Config")(**shape, **extra)
    config._attn_implementation = "eager"
    kind = getattr(transformers, name + HEADS[head])
    model = kind(config, add_pooling_layer=False) if head == "hidden" and family != "distilbert" else kind(config)
    model.train()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.normal_(0, 0.1 if p.dim() == 1 else 0.3)
            if "orm" in n and n.endswith("weight"):
                p.add_(1)
        if family == "roberta" or head:
            for m in model.modules():
                if isinstance(m, torch.nn.Embedding) and m.padding_idx is not None:
                    m.padding_idx = None        # its gradient is a row like any other
    path = os.path.join(folder, "bert", f"{family}-{head}")
    model.save_pretrained(path)
    if os.path.exists(os.path.join(path, "generation_config.json")):
        os.remove(os.path.join(path, "generation_config.json"))
    ids, lengths, mask, segments, labels = batch(head, torch.Generator().manual_seed(SEED))
    out, loss = answer(model, family, head, ids, mask, segments, labels)
    loss.backward()
    kept = {"ids": ids.int(), "lengths": lengths.int(), "segments": segments.int(), "labels": labels.int(),
            "out": out.detach(), "loss": torch.tensor([loss.item()], dtype=torch.float64)}
    kept.update({"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    if head == "masked":
        kept.update(steps(model, family, head, ids, mask, segments, labels))
    save_file({k: v.clone().contiguous() for k, v in kept.items()}, os.path.join(path, "golden.safetensors"))


def steps(model, family, head, *batch_of):
    named = [p for p in model.parameters()]
    optimizer = torch.optim.AdamW([{"params": [p for p in named if p.dim() >= 2], "weight_decay": 0.1},
                                   {"params": [p for p in named if p.dim() < 2], "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        _, loss = answer(model, family, head, *batch_of)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(named, 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    return {"losses": torch.tensor(losses, dtype=torch.float64), "grad_norms": torch.tensor(norms, dtype=torch.float64)}


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    for f in FAMILIES:
        for h in HEADS:
            make(where, f, h)
    print("torch", torch.__version__, "transformers", transformers.__version__)
