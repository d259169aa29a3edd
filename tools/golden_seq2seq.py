#!/usr/bin/env python3
"""golden_seq2seq.py - makes tests/golden/seq2seq/NAME/: tiny random encoder-decoders.

    python tools/golden_seq2seq.py [FOLDER]          (default: tests/golden beside this file)

NAME: marian (Marian), marian-apart (tables of words of its own for each side), t5 (the first), t5-gated (gated MLP, answers
that are not scaled). Each folder is as transformers saves it: config.json, model.safetensors; and golden.safetensors:

  source (3, 11), lengths (3), x (3, 9), labels (3, 9)     i32; labels -100 do not count; x: labels moved by one
  logits (3, 9, V); loss (1, F64) and grad.NAME of mean cross-entropy; losses, grad_norms (10, F64) of AdamW on the same
  batch, as in golden.py; smoothed (1, F64): the loss with label_smoothing 0.1
  greedy (3, 14)  what generate(do_sample=False, no_repeat_ngram_size=2) gives for the sources, without the first token; -1 after the end
  beams (3, 14)   the same with num_beams 3; beam_scores (3, F64)
"""
import os
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

SEED, STEPS, V = 1337, 10, 41
MARIAN = dict(vocab_size=V, max_position_embeddings=24, d_model=16, encoder_layers=2, encoder_ffn_dim=24, encoder_attention_heads=2,
              decoder_layers=2, decoder_ffn_dim=20, decoder_attention_heads=4, dropout=0.0, activation_function="swish",
              scale_embedding=True, decoder_start_token_id=40, pad_token_id=40, eos_token_id=0, forced_eos_token_id=None)
T5 = dict(vocab_size=V, d_model=16, d_kv=6, d_ff=24, num_layers=3, num_decoder_layers=2, num_heads=2, relative_attention_num_buckets=8,
          relative_attention_max_distance=10, dropout_rate=0.0, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)
MODELS = {
    "marian": ("Marian", "MarianMTModel", MARIAN),
    "marian-apart": ("Marian", "MarianMTModel", dict(MARIAN, share_encoder_decoder_embeddings=False, decoder_vocab_size=V)),
    "t5": ("T5", "T5ForConditionalGeneration", T5),
    "t5-gated": ("T5", "T5ForConditionalGeneration", dict(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}


def loss_of(model, source, mask, x, labels, smoothing=0.0):
    logits = model(input_ids=source, attention_mask=mask, decoder_input_ids=x, use_cache=False).logits
    return F.cross_entropy(logits.reshape(-1, V), labels.reshape(-1), label_smoothing=smoothing), logits


def padded(rows, value):
    return torch.tensor([row + [value] * (14 - len(row)) for row in rows])


def texts(out, start, end):
    """Without the start, up to and with the end."""
    rows = []
    for row in out.tolist():
        row = row[1:]
        rows.append(row[:row.index(end) + 1] if end in row else row)
    return padded(rows, -1)


def make(folder, name):
    kind, model_class, shape = MODELS[name]
    torch.manual_seed(SEED)
    config = getattr(transformers, kind + "Config")(**shape)
    config._attn_implementation = "eager"
    model = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.requires_grad:
                p.normal_(0, 0.1 if p.dim() == 1 else 0.15 if "shared" in n or "embed_tokens" in n else 0.6 if kind == "Marian" else 0.3)
            if "norm" in n and n.endswith("weight"):
                p.add_(1)
        if kind == "Marian":
            model.final_logits_bias.normal_(0, 0.3)
    for m in model.modules():
        if isinstance(m, torch.nn.Embedding):
            m.padding_idx = None            # the row of the token that decoders begin with is learned like any other
    path = os.path.join(folder, "seq2seq", name)
    model.save_pretrained(path)
    if os.path.exists(os.path.join(path, "generation_config.json")):
        os.remove(os.path.join(path, "generation_config.json"))
    g = torch.Generator().manual_seed(SEED)
    lengths = torch.tensor([11, 6, 1])
    mask = (torch.arange(11)[None, :] < lengths[:, None]).long()
    source = torch.randint(2, V - 1, (3, 11), generator=g) * mask + (1 - mask) * config.pad_token_id
    labels = torch.randint(2, V - 1, (3, 9), generator=g)
    x = torch.cat([torch.full((3, 1), config.decoder_start_token_id), labels[:, :-1]], 1)
    labels[1, 5:] = -100
    kept = {"source": source.int(), "lengths": lengths.int(), "x": x.int(), "labels": labels.int()}
    with torch.no_grad():
        settings = dict(do_sample=False, max_new_tokens=14, no_repeat_ngram_size=2, input_ids=source, attention_mask=mask)
        kept["greedy"] = texts(model.generate(**settings), config.decoder_start_token_id, config.eos_token_id).int()
        beams = model.generate(**settings, num_beams=3, return_dict_in_generate=True, output_scores=True)
        kept["beams"] = texts(beams.sequences, config.decoder_start_token_id, config.eos_token_id).int()
        kept["beam_scores"] = beams.sequences_scores.double()
    model.train()
    loss, logits = loss_of(model, source, mask, x, labels)
    loss.backward()
    kept["logits"], kept["loss"] = logits.detach(), torch.tensor([loss.item()], dtype=torch.float64)
    kept["smoothed"] = torch.tensor([loss_of(model, source, mask, x, labels, 0.1)[0].item()], dtype=torch.float64)
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    kept.update({"grad." + n: p.grad for n, p in named.items()})
    optimizer = torch.optim.AdamW([{"params": [p for p in named.values() if p.dim() >= 2], "weight_decay": 0.1},
                                   {"params": [p for p in named.values() if p.dim() < 2], "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.99), eps=1e-8, foreach=False)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        loss, _ = loss_of(model, source, mask, x, labels)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(named.values(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    kept["losses"], kept["grad_norms"] = (torch.tensor(v, dtype=torch.float64) for v in (losses, norms))
    save_file({k: v.clone().contiguous() for k, v in kept.items()}, os.path.join(path, "golden.safetensors"))


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "tests", "golden")
    for each in MODELS:
        make(where, each)
    print("torch", torch.__version__, "transformers", transformers.__version__)
