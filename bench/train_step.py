#!/usr/bin/env python3
"""train_step.py - a whole GPT training step in genet beside PyTorch: interleaved runs, medians, ratios.

    python bench/train_step.py --genet build/genet --text input.txt [--rounds 3] [--threads 2] [-- GENET AND PEER OPTIONS]

Runs `genet train gpt2` and bench/peer_pytorch.py in turn (with this Python, which needs torch) and prints milliseconds
a step and peak resident memory of each, with the share of the machine's FMA peak that genet's own benchmark
measures.  PyTorch is run as it comes and, again, with its allocator told to keep memory.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

TUNED = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:"
                           "glibc.malloc.trim_threshold=200000000000:glibc.malloc.top_pad=268435456"}


def run(command, environment=None):
    """Output and peak resident MiB of one process."""
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(p.pid, 0)
        if status:
            sys.exit(f"{' '.join(command)} failed: {status}")
        out.seek(0)
        return out.read().decode(), usage.ru_maxrss / 1024


def genet(o, rest):
    with tempfile.TemporaryDirectory() as folder:
        command = [o.genet, "train", "gpt2", "--data", o.text, "--out", folder + "/run", "--max-steps", str(o.steps),
                   "--eval-steps", "1000000", "--save-steps", "1000000", "--log-steps", "10", "--threads", str(o.threads)]
        _, rss = run(command + rest)
        rows = [json.loads(line) for line in open(folder + "/run/training/metrics.jsonl")]
    option = dict(zip(rest[::2], rest[1::2]))
    tokens = int(option.get("--batch-size", 12)) * int(option.get("--block-size", 64))
    ms = [1e3 * tokens / r["tokens_per_s"] for r in rows[3:] if r.get("tokens_per_s")]
    return statistics.median(ms), rss


def peer(o, rest, environment, extra=()):
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_pytorch.py"),
               "--threads", str(o.threads), "--steps", str(o.steps), *extra, *rest]
    out, rss = run(command, {"OMP_NUM_THREADS": str(o.threads), **environment})
    answer = json.loads(out.strip().splitlines()[-1])
    return answer["ms"], rss, answer["version"]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--genet", default="build/genet")
    p.add_argument("--text", required=True)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--steps", type=int, default=200)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--compile", action="store_true", help="torch.compile too")
    o, rest = p.parse_known_args()
    rest = [r for r in rest if r != "--"]
    sides = {"genet": lambda: genet(o, rest), "pytorch": lambda: peer(o, rest, {}),
             "pytorch, tuned allocator": lambda: peer(o, rest, TUNED)}
    if o.compile:
        sides["torch.compile, tuned allocator"] = lambda: peer(o, rest, TUNED, ["--compile"])
    seen = {name: [] for name in sides}
    for _ in range(o.rounds):
        for name, side in sides.items():
            seen[name].append(side())
    own = statistics.median(s[0] for s in seen["genet"])
    print(f"{o.threads} threads, {o.rounds} rounds of {o.steps} steps in turn, medians {' '.join(rest)}")
    for name, runs in seen.items():
        ms, rss = statistics.median(s[0] for s in runs), statistics.median(s[1] for s in runs)
        version = f" {runs[0][2]}" if len(runs[0]) > 2 else ""
        print(f"{name + version:45} {ms:9.2f} ms a step {rss:8.0f} MiB peak   {ms / own:5.2f} x genet's time")


if __name__ == "__main__":
    main()
