#!/usr/bin/env python3
"""train_step.py - a whole GPT training step in genet beside PyTorch: interleaved runs, medians, ratios.

    python bench/train_step.py --genet build/genet --text input.txt --preset small|124m|124m-long
                               [--tokenizer GPT2_FOLDER] [--dtype f32|bf16] [--compile] [--rounds 3] [--threads 2]

small is nanoGPT's CPU setting (4 layers, 128 wide, 12 x 64, characters); 124m is GPT-2's smallest at 4 x 256,
124m-long at 2 x 1024, both with GPT-2's vocabulary (--tokenizer: a folder with its tokenizer.json).  Runs
`genet train gpt2` and bench/peer_pytorch.py in turn (with this Python, which needs torch); PyTorch as it comes, with
glibc's allocator told to keep memory and to use huge pages, with jemalloc where --jemalloc names the library, and
through torch.compile.  Prints for each: milliseconds a step, tokens a second, the share of the FMA peak that genet's
own benchmark measures (operations counted causal), and memory beyond weights, gradients and moments (16 bytes a
parameter) and beyond what an idle process takes.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:"
                           "glibc.malloc.trim_threshold=200000000000:glibc.malloc.top_pad=268435456"}
GPT2 = {"n-layer": 12, "n-head": 12, "n-embd": 768, "vocab-size": 50257}
PRESETS = {
    "small": {"n-layer": 4, "n-head": 4, "n-embd": 128, "vocab-size": 65, "block-size": 64, "batch-size": 12, "steps": 200},
    "124m": {**GPT2, "block-size": 256, "batch-size": 4, "steps": 6},
    "124m-long": {**GPT2, "block-size": 1024, "batch-size": 2, "steps": 4},
}


def parameters(s):
    C = s["n-embd"]
    return s["vocab-size"] * C + s["block-size"] * C + s["n-layer"] * (12 * C * C + 13 * C) + 2 * C


def gflop(s):
    """Products and attention of forward and backward, causal pairs counted once; the backward is two products for each."""
    C, T, rows = s["n-embd"], s["block-size"], s["block-size"] * s["batch-size"]
    products = 2 * rows * (s["n-layer"] * 12 * C * C + s["vocab-size"] * C)
    pairs = s["batch-size"] * T * (T + 1) / 2
    attention = s["n-layer"] * 2 * 2 * pairs * C
    return (3 * products + 3.5 * attention) / 1e9


def genet(o, s):
    """Runs until enough steps are logged, then kills: no time goes into saving."""
    steps, every = s["steps"], 10 if s["steps"] >= 100 else 1
    with tempfile.TemporaryDirectory() as folder:
        command = [o.genet, "train", "gpt2", "--data", o.text, "--out", folder + "/run", "--max-steps", "1000000",
                   "--eval-steps", "0", "--save-steps", "0", "--log-steps", str(every), "--threads", str(o.threads)]
        for name in ("n-layer", "n-head", "n-embd", "block-size", "batch-size"):
            command += ["--" + name, str(s[name])]
        if s["vocab-size"] > 1000:
            command += ["--tokenizer", o.tokenizer]
        if o.dtype != "f32":
            command += ["--dtype", o.dtype]
        command += o.genet_options.split()
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        metrics, rows = folder + "/run/training/metrics.jsonl", []
        while len(rows) < steps // every + 3 and p.poll() is None:
            time.sleep(0.02)
            if os.path.exists(metrics):
                rows = [json.loads(x) for x in open(metrics).read().split("\n")[:-1]]
                rows = [r for r in rows if r.get("tokens_per_s")]
        p.kill()
        _, _, usage = os.wait4(p.pid, 0)
        if len(rows) < 4:
            sys.exit(f"{' '.join(command)} failed: {p.stderr.read().decode()}")
    ms = [1e3 * s["block-size"] * s["batch-size"] / r["tokens_per_s"] for r in rows[2:]]
    return {"ms": statistics.median(ms), "rss": usage.ru_maxrss / 1024, "idle": 5, "version": ""}


def peer(o, s, environment, extra=()):
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_pytorch.py"),
               "--threads", str(o.threads), "--dtype", o.dtype, "--warmup", "30" if s["steps"] >= 100 else "2", *extra]
    for name, value in s.items():
        command += ["--" + name, str(value)]
    out = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(o.threads), **environment}, check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    answer = json.loads(out.strip().splitlines()[-1])
    return {"ms": answer["ms"], "rss": answer["peak_rss_mib"], "idle": answer["idle_rss_mib"], "version": " " + answer["version"]}


def peak(o):
    out = subprocess.run([o.genet, "bench", "--only", "matmul row", "--json", "--threads", str(o.threads)],
                         stdout=subprocess.PIPE, check=True, env={**os.environ, "GENET_ISA": "avx512"}).stdout.decode()
    return json.loads(out.splitlines()[0])["peak_gflops"]["fma"]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--genet", default="build/genet")
    p.add_argument("--text", required=True)
    p.add_argument("--tokenizer", default="")
    p.add_argument("--preset", choices=PRESETS, default="small")
    p.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--steps", type=int, default=0)
    p.add_argument("--compile", action="store_true", help="torch.compile too")
    p.add_argument("--jemalloc", default="", help="path of libjemalloc.so.2")
    p.add_argument("--isas", default="", help="genet's instruction sets to run apart, with commas: avx512,amx")
    p.add_argument("--genet-options", default="", help="further options of genet train, in one string")
    o = p.parse_args()
    s = dict(PRESETS[o.preset])
    s["steps"] = o.steps or s["steps"]
    sides = {}
    for isa in o.isas.split(",") if o.isas else [""]:
        def side(isa=isa):
            os.environ.pop("GENET_ISA", None)
            if isa:
                os.environ["GENET_ISA"] = isa
            answer = genet(o, s)
            os.environ.pop("GENET_ISA", None)
            return answer
        sides["genet" + (" " + isa if isa else "")] = side
    sides["pytorch"] = lambda: peer(o, s, {})
    sides["pytorch, tuned allocator"] = lambda: peer(o, s, TUNED)
    if o.jemalloc:
        sides["pytorch, jemalloc"] = lambda: peer(o, s, {"LD_PRELOAD": o.jemalloc})
    if o.compile:
        sides["torch.compile, tuned allocator"] = lambda: peer(o, s, TUNED, ["--compile"])
    seen, peaks = {name: [] for name in sides}, []
    for _ in range(o.rounds):
        peaks.append(peak(o))
        for name, side in sides.items():
            seen[name].append(side())
    top, work, tokens = statistics.median(peaks), gflop(s), s["block-size"] * s["batch-size"]
    held = 16 * parameters(s) / 2**20
    print(f"{o.preset} {o.dtype}, {o.threads} threads, {o.rounds} rounds of {s['steps']} steps in turn, medians; "
          f"{work:.1f} GFLOP a step, FMA peak {top:.0f} GFLOP/s, {held:.0f} MiB of weights, gradients, moments")
    own = statistics.median(r["ms"] for r in seen[next(iter(sides))])
    for name, runs in seen.items():
        ms, rss, idle = (statistics.median(r[k] for r in runs) for k in ("ms", "rss", "idle"))
        print(f"{name + runs[0]['version']:42} {ms:9.1f} ms {tokens / ms * 1e3:8.0f} tokens/s {100 * work / ms * 1e3 / top:5.0f} % of peak "
              f"{rss:7.0f} MiB, {rss - idle - held:6.0f} beyond   {ms / own:5.2f} x the first")


if __name__ == "__main__":
    main()
