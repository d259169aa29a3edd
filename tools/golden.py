#!/usr/bin/env python3
"""golden.py - makes tests/golden/: what PyTorch, transformers and tokenizers answer.

    python tools/golden.py [FOLDER]          (default: tests/golden beside this file)

The answers are committed; the C tests read them and need no Python.  Versions stand in golden.json.

gpt2/             a tiny GPT-2 (2 layers, 2 heads, width 16, block 16, vocabulary 65) with every parameter random,
                  as transformers saves it: config.json, model.safetensors (Conv1D weights are (in, out), head tied)
  batches.npy     i4 (20 steps, 4 rows, 17): row[:-1] is the input, row[1:] the target
  golden.safetensors
                  logits of the first batch (4, 16, 65); grad.NAME for every parameter, before clipping;
                  losses, grad_norms (20, F64): 20 steps of mean cross-entropy, clip_grad_norm_ 1.0, AdamW with
                  learning rate 1e-3, betas 0.9 0.99, eps 1e-8, weight decay 0.1 on parameters of 2 dimensions only;
                  final.NAME for a few parameters after these steps
gpt2-default/     the same run with the default model of `genet train gpt2` (4 layers, 4 heads, width 128, block 64,
                  batch 12, vocabulary 65).  Weights and batches are too large to keep, so both sides compute them:

                      philox(seed, stream, step, index)     as src/base/rng.h; seed 1337
                      stream                                FNV-1a (32 bits) of the parameter's name
                      u = (philox(1337, stream, 0, i) >> 8) * 2^-24;  c = 2u - 1       exact in float
                      weight i = float(s * c) with s = float(0.0125) for *.c_proj.weight, float(0.02) for *.bias,
                                 float(0.035) for the others; ln_*.weight i = float(1 + float(float(0.1) * c))
                      i counts row-major in the stored layout; names as in model.safetensors ("transformer....")

                      batch of step s (0, 1, ...), row r, column t < 65, stream FNV-1a of "batches":
                      a = philox(1337, stream, s, 2r) % 65;  b = 1 + philox(1337, stream, s, 2r + 1) % 8
                      token = (a + b t + t*t / 7) % 65                                 (integer division)

  golden.safetensors
                  losses, grad_norms (20, F64); of each parameter's gradient of the first step norm.NAME (1, F64) and
                  sample.NAME: elements floor(k * numel / n) for k < n = min(64, numel)
ops.safetensors   single ops with gradients, and optimisers over 5 steps; see the functions below
types.safetensors every type that Hugging Face's own library writes
char/             a character tokenizer that the tokenizers library wrote, text.txt, and its ids (ids.npy)
"""
import json
import math
import os
import platform
import sys

import numpy as np
import safetensors
import tokenizers
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

STEPS, SEED = 20, 1337


# --- numbers that both sides compute ------------------------------------------------------------------------------

def philox(seed, stream, step, index):
    """Philox 4x32-10 (Salmon et al. 2011): uint32 for each index."""
    index = np.asarray(index, dtype=np.uint64)
    mask, low32 = np.uint64(0xFFFFFFFF), np.uint64(32)
    block = index // np.uint64(4)
    c = [block & mask, block >> low32, np.full_like(block, stream), np.full_like(block, step)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(p1 >> low32) ^ c[1] ^ np.uint64(k0), p1 & mask, (p0 >> low32) ^ c[3] ^ np.uint64(k1), p0 & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.choose((index % np.uint64(4)).astype(np.int64), c).astype(np.uint32)


def stream_of(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def formula_weight(name, shape):
    i = np.arange(math.prod(shape))
    u = (philox(SEED, stream_of(name), 0, i) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    c = np.float32(2) * u - np.float32(1)
    if ".ln_" in name and name.endswith("weight"):
        w = np.float32(1) + np.float32(0.1) * c
    else:
        s = 0.0125 if name.endswith("c_proj.weight") else 0.02 if name.endswith("bias") else 0.035
        w = np.float32(s) * c
    return torch.from_numpy(w.reshape(shape))


def formula_batch(step, rows, block):
    r = np.arange(rows)
    a = (philox(SEED, stream_of("batches"), step, 2 * r) % 65).astype(np.int64)[:, None]
    b = 1 + (philox(SEED, stream_of("batches"), step, 2 * r + 1) % 8).astype(np.int64)[:, None]
    t = np.arange(block + 1)[None, :]
    return ((a + b * t + t * t // 7) % 65).astype(np.int32)


# --- a GPT-2 trained for 20 steps ---------------------------------------------------------------------------------

def gpt2(n_layer, n_head, n_embd, block):
    config = transformers.GPT2Config(
        n_layer=n_layer, n_head=n_head, n_embd=n_embd, n_positions=block, vocab_size=65, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None, use_cache=False)
    config._attn_implementation = "eager"
    return transformers.GPT2LMHeadModel(config).train()


def loss_of(model, batch):
    ids = torch.from_numpy(batch).long()
    logits = model(ids[:, :-1]).logits
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1)), logits


def train(model, batches):
    """Losses, gradient norms, and what is to be kept of the first step."""
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
    return losses, norms, first


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def make_gpt2(folder, report):
    torch.manual_seed(SEED)
    model = gpt2(2, 2, 16, 16)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.normal_(0, 0.1 if p.dim() == 1 else 0.25)
            if ".ln_" in name and name.endswith("weight"):
                p.add_(1)
    path = os.path.join(folder, "gpt2")
    model.save_pretrained(path)
    os.remove(os.path.join(path, "generation_config.json"))
    batches = np.random.default_rng(SEED).integers(0, 65, (STEPS, 4, 17), dtype=np.int32)
    np.save(os.path.join(path, "batches.npy"), batches)
    double, _ = run_double(model, batches)
    losses, norms, first = train(model, batches)
    named = dict(model.named_parameters())
    final = ["transformer.wte.weight", "transformer.h.0.attn.c_attn.weight", "transformer.h.1.mlp.c_proj.bias",
             "transformer.ln_f.weight"]
    out = {**first, "losses": f64(losses), "grad_norms": f64(norms)}
    out.update({"final." + name: named[name].detach().clone() for name in final})
    save_file(out, os.path.join(path, "golden.safetensors"))
    report["gpt2"] = {"losses": losses, "grad_norms": norms, "largest_difference_to_float64": deviation(losses, double)}


def make_gpt2_default(folder, report):
    model = gpt2(4, 4, 128, 64)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(formula_weight(name, tuple(p.shape)))
    batches = [formula_batch(step, 12, 64) for step in range(STEPS)]
    double, _ = run_double(model, batches)
    losses, norms, first = train(model, batches)
    out = {"losses": f64(losses), "grad_norms": f64(norms)}
    for name, _ in model.named_parameters():
        g = first["grad." + name].reshape(-1)
        n = min(64, g.numel())
        out["norm." + name] = f64([g.double().norm().item()])
        out["sample." + name] = g[[k * g.numel() // n for k in range(n)]].clone()
    path = os.path.join(folder, "gpt2-default")
    os.makedirs(path, exist_ok=True)
    save_file(out, os.path.join(path, "golden.safetensors"))
    report["gpt2-default"] = {"losses": losses, "grad_norms": norms,
                              "largest_difference_to_float64": deviation(losses, double)}


def run_double(model, batches):
    """The same run in double: how much of a difference is rounding alone."""
    copy = gpt2(model.config.n_layer, model.config.n_head, model.config.n_embd, model.config.n_positions).double()
    copy.load_state_dict(model.state_dict())
    losses, norms, _ = train(copy, batches)
    return losses, norms


def deviation(a, b):
    return max(abs(x - y) for x, y in zip(a, b))


# --- single ops ---------------------------------------------------------------------------------------------------

def uniform(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape) * (high - low) + low


def op(out, name, function, inputs, **fixed):
    """y (or a scalar loss), dy, and the gradient of every input; all computed in double, kept as float."""
    inputs = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    y = function(**{k: v.double() for k, v in inputs.items()}, **fixed)
    dy = uniform(*y.shape) if y.dim() else torch.ones(())
    y.backward(dy.double())
    for k, v in inputs.items():
        out[f"{name}.{k}"], out[f"{name}.d{k}"] = v.detach(), v.grad.float()
    out[f"{name}.y"], out[f"{name}.dy"] = y.detach().float(), dy
    for k, v in fixed.items():
        if isinstance(v, torch.Tensor):
            out[f"{name}.{k}"] = v.to(torch.int32) if v.dtype == torch.int64 else v


def attention(q, k, v, bias=None, k_lengths=None, position=None, causal=True, window=0, softcap=0.0):
    """q (B,T,H,D), k and v (B,S,Hkv,D): the definition, written out."""
    B, T, H, D = q.shape
    S, Hkv = k.shape[1], k.shape[2]
    k, v = k.repeat_interleave(H // Hkv, dim=2), v.repeat_interleave(H // Hkv, dim=2)
    scores = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias.double()
    i, j = torch.arange(T)[None, :, None], torch.arange(S)[None, None, :]
    if position is not None:
        i = i + position[:, None, None]
    seen = (j <= i) if causal else torch.ones_like(j <= i)
    if window:
        seen = seen & (j > i - window)
    seen = seen.expand(B, T, S)
    if k_lengths is not None:
        seen = seen & (j < k_lengths[:, None, None])
    weights = torch.nan_to_num(torch.softmax(scores.masked_fill(~seen[:, None], -math.inf), -1))
    return torch.einsum("bhts,bshd->bthd", weights, v)


def library_attention(q, k, v):
    """The same through scaled_dot_product_attention, grouped heads and causal."""
    y = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True,
                                       enable_gqa=True)
    return y.transpose(1, 2)


def attention_ops(out):
    qkv = {"q": uniform(2, 5, 4, 8), "k": uniform(2, 5, 2, 8), "v": uniform(2, 5, 2, 8)}
    exact = [x.double() for x in qkv.values()]
    assert (library_attention(*exact) - attention(*exact)).abs().max() < 1e-12
    op(out, "attention_gqa_causal", library_attention, qkv)
    wide = {"q": uniform(2, 3, 4, 8), "k": uniform(2, 7, 1, 8), "v": uniform(2, 7, 1, 8), "bias": uniform(1, 4, 3, 7)}
    op(out, "attention_bias_lengths", attention, wide, k_lengths=torch.tensor([7, 4]), causal=False)
    cached = {k: wide[k] for k in "qkv"}
    op(out, "attention_position_window_softcap", attention, cached, position=torch.tensor([4, 0]), window=3, softcap=1.5)


def rope_ops(out):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
    def rope(x):
        frequency = 10000.0 ** (-torch.arange(0, 8, 2).double() / 8)
        angle = torch.arange(5).double()[:, None] * frequency[None, :]
        angle = torch.cat([angle, angle], -1)[None]
        y, _ = apply_rotary_pos_emb(x.transpose(1, 2), x.transpose(1, 2), angle.cos(), angle.sin())
        return y.transpose(1, 2)
    op(out, "rope_halves", rope, {"x": uniform(2, 5, 3, 8)})


def loss_ops(out):
    target = torch.tensor([3, -100, 0, 10, 7, -100])
    op(out, "cross_entropy_smoothed", lambda logits, target: F.cross_entropy(
        logits, target, ignore_index=-100, label_smoothing=0.1, reduction="sum"), {"logits": uniform(6, 11)}, target=target)
    op(out, "huber", lambda x, target: F.huber_loss(x, target, delta=0.7, reduction="sum"),
       {"x": uniform(4, 5), "target": uniform(4, 5)})
    op(out, "kl_div", lambda x, target: F.kl_div(x, target, reduction="sum"),
       {"x": torch.log_softmax(uniform(4, 5), -1), "target": torch.softmax(uniform(4, 5), -1)})
    op(out, "bce_with_logits", lambda x, target: F.binary_cross_entropy_with_logits(x, target, reduction="sum"),
       {"x": uniform(4, 5, low=-6, high=6), "target": torch.rand(4, 5)})


def norm_ops(out):
    op(out, "layer_norm", lambda x, weight, bias: F.layer_norm(x, (9,), weight, bias, 1e-5),
       {"x": uniform(3, 4, 9), "weight": uniform(9), "bias": uniform(9)})
    op(out, "rms_norm", lambda x, weight: F.rms_norm(x, (9,), weight, 1e-6), {"x": uniform(3, 4, 9), "weight": uniform(9)})
    op(out, "gelu_erf", F.gelu, {"x": uniform(40, low=-5, high=5)})
    op(out, "gelu_tanh", lambda x: F.gelu(x, approximate="tanh"), {"x": uniform(40, low=-5, high=5)})


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, arXiv 2302.06675, algorithm 2."""

    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (beta1, beta2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = torch.sign(beta1 * m + (1 - beta1) * p.grad)
                p.sub_(lr * (update + group["weight_decay"] * p))
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


def optimizer_ops(out):
    start, grads = uniform(7), uniform(5, 7)
    out["optimizer.start"], out["optimizer.grads"] = start, grads
    makers = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.01),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1),
        "lion": lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    }
    for name, maker in makers.items():
        p = start.clone().double().requires_grad_()
        optimizer = maker([p])
        steps = []
        for g in grads:
            p.grad = g.double()
            optimizer.step()
            steps.append(p.detach().clone().float())
        out["optimizer." + name] = torch.stack(steps)


def make_ops(folder):
    torch.manual_seed(SEED)
    out = {}
    for make in (attention_ops, rope_ops, loss_ops, norm_ops, optimizer_ops):
        make(out)
    save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(folder, "ops.safetensors"))


# --- formats ------------------------------------------------------------------------------------------------------

def make_types(folder):
    x = torch.tensor([0.0, -0.0, 1.0, -2.5, 65504.0, 1e-5, 3.14159274], dtype=torch.float32)
    out = {"f32": x, "f64": x.double(), "f16": x.half(), "bf16": x.bfloat16(), "scalar": torch.tensor(7.0),
           "empty": torch.zeros(0, 3), "matrix": torch.arange(6).float().reshape(2, 3),
           "i32": torch.tensor([-(2**31), -1, 0, 2**31 - 1], dtype=torch.int32), "i64": torch.tensor([-1, 2**40]),
           "i16": torch.tensor([-5, 300], dtype=torch.int16), "i8": torch.tensor([-5, 100], dtype=torch.int8),
           "u8": torch.tensor([0, 255], dtype=torch.uint8), "bool": torch.tensor([True, False, True]),
           "f8": torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn), "nonfinite": torch.tensor([1.0, 2.0, math.inf, math.nan])}
    save_file(out, os.path.join(folder, "types.safetensors"), metadata={"format": "pt", "note": "every type"})


def make_char(folder):
    text = ("First Citizen:\nBefore we proceed any further, hear me speak.\n\n\ttab, two  spaces, \r\n"
            "caf\u00e9 \u4e2d\u6587 \U0001F600 e\u0301 <unk> [UNK] \"\\\" \u2028 ' . , !\n")
    path = os.path.join(folder, "char")
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "text.txt"), "w", newline="", encoding="utf-8") as f:
        f.write(text)
    vocabulary = {c: i for i, c in enumerate(sorted(set(text)))}
    t = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    t.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    t.decoder = tokenizers.decoders.Fuse()
    t.save(os.path.join(path, "tokenizer.json"))
    ids = t.encode(text).ids
    assert ids == [vocabulary[c] for c in text] and t.decode(ids) == text
    np.save(os.path.join(path, "ids.npy"), np.array(ids, dtype=np.int32))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden")
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    report = {"made_by": "tools/golden.py", "python": platform.python_version(), "torch": torch.__version__,
              "transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
              "safetensors": safetensors.__version__, "numpy": np.__version__}
    make_gpt2(folder, report)
    make_gpt2_default(folder, report)
    make_ops(folder)
    make_types(folder)
    make_char(folder)
    with open(os.path.join(folder, "golden.json"), "w") as f:
        json.dump(report, f, indent=2)
        f.write("\n")
    for path, _, files in os.walk(folder):      # safetensors are written for the owner alone
        for name in files:
            os.chmod(os.path.join(path, name), 0o644)


if __name__ == "__main__":
    main()
