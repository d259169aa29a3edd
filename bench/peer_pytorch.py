#!/usr/bin/env python3
"""peer_pytorch.py - the time and memory of one whole GPT training step in PyTorch, to set beside genet's.

    OMP_NUM_THREADS=2 python bench/peer_pytorch.py --threads 2 [--compile] [--n-embd 128 ...]

The defaults are those of `genet train gpt2`.  A step is what a user writes for speed: plain modules,
scaled_dot_product_attention, batch drawn from memory, forward, backward, clipping, fused AdamW.  To try another
allocator, set LD_PRELOAD (tcmalloc, jemalloc) before the call; it is named in the answer.  Prints one JSON object:
milliseconds a step (median, best, 90th percentile), tokens a second, peak resident memory, versions.
"""
import argparse
import json
import os
import resource
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.c_fc, self.mlp_proj = nn.Linear(n_embd, 4 * n_embd), nn.Linear(4 * n_embd, n_embd)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.n_head, -1).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, o):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(o.vocab_size, o.n_embd), nn.Embedding(o.block_size, o.n_embd)
        self.h = nn.ModuleList(Block(o.n_embd, o.n_head) for _ in range(o.n_layer))
        self.ln_f = nn.LayerNorm(o.n_embd)
        self.register_buffer("position", torch.arange(o.block_size), persistent=False)

    def forward(self, ids, target):
        x = self.wte(ids) + self.wpe(self.position)
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), target.reshape(-1))


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("n-layer", 4), ("n-head", 4), ("n-embd", 128), ("block-size", 64), ("batch-size", 12),
                          ("vocab-size", 65), ("steps", 200), ("warmup", 30), ("threads", os.cpu_count())):
        p.add_argument("--" + name, type=int, default=default)
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32", help="bf16: forward under torch.autocast")
    p.add_argument("--compile", action="store_true", help="through torch.compile (needs a C++ compiler)")
    return p.parse_args()


def peak_rss_mib():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main():
    o = arguments()
    idle = peak_rss_mib()       # torch is loaded, nothing else
    torch.set_num_threads(o.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1337)
    model = GPT(o)
    for p in model.parameters():
        nn.init.normal_(p, 0, 0.02)
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    forward = torch.compile(model) if o.compile else model
    data = torch.randint(o.vocab_size, (100_000,))

    def step():
        start = torch.randint(len(data) - o.block_size, (o.batch_size,))
        rows = torch.stack([data[i:i + o.block_size + 1] for i in start.tolist()])
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=o.dtype == "bf16"):
            loss = forward(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    times = []
    for i in range(o.warmup + o.steps):
        begin = time.perf_counter()
        step()
        if i >= o.warmup:
            times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    median = statistics.median(times)
    print(json.dumps({
        "peer": "pytorch", "version": torch.__version__, "compile": o.compile, "threads": o.threads,
        "isa": torch.backends.cpu.get_cpu_capability(), "preload": os.environ.get("LD_PRELOAD", ""),
        "parameters": sum(p.numel() for p in model.parameters()), "steps": o.steps, "ms": round(median, 3),
        "best_ms": round(times[0], 3), "p90_ms": round(times[len(times) * 9 // 10], 3),
        "tokens_per_s": round(o.batch_size * o.block_size / median * 1e3),
        "dtype": o.dtype, "idle_rss_mib": idle, "peak_rss_mib": peak_rss_mib()}))


if __name__ == "__main__":
    main()
