#!/usr/bin/env python3
"""decode.py - one sequence through a language model: genet beside llama.cpp and transformers, the same weights.

    python bench/decode.py --genet build/genet --pair f32=FOLDER,FILE.gguf --pair q4_0=FOLDER,FILE.gguf
                           [--llama-bench PATH] [--transformers] [--prompt 256] [--new 64] [--rounds 3] [--threads 2]

For each pair `genet bench FOLDER` and `llama-bench -m FILE.gguf -p PROMPT -n NEW` run in turn, and transformers'
generate on the first pair's folder (with this Python, which needs torch and transformers); tokens a second of the
prompt and of writing, medians over the rounds, ratios, and the share of the read bandwidth that `genet bench`
measures between its own repetitions.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

TRANSFORMERS = """
import json, sys, time, torch, transformers
folder, prompt, new, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
ids = torch.randint(1000, (1, prompt))
def run(n):
    begin = time.perf_counter()
    with torch.inference_mode():
        model.generate(ids, do_sample=False, min_new_tokens=n, max_new_tokens=n, pad_token_id=0)
    return time.perf_counter() - begin
run(4)
one, all = min(run(1) for _ in range(3)), min(run(new) for _ in range(3))
print(json.dumps({"prompt": prompt / one, "new": (new - 1) / (all - one), "version": transformers.__version__ + ", torch " + torch.__version__}))
"""


def output(command, environment=None):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
    if p.returncode:
        sys.exit(f"{' '.join(command)}: {p.stderr.decode()[-2000:]}")
    return p.stdout.decode()


def genet(o, folder):
    a = json.loads(output([o.genet, "bench", folder, "--json", "--threads", str(o.threads), "--prompt-tokens", str(o.prompt),
                           "--new-tokens", str(o.new), "--repetitions", "3"]))
    return {"prompt": a["prompt_tokens_per_s"], "new": a["new_tokens_per_s"],
            "share": a["weight_gbytes_per_s"] / a["read_gbytes_per_s"], "read": a["read_gbytes_per_s"],
            "again": a["weight_read_gbytes_per_s"]}


def llama(o, path):
    rows = json.loads(output([o.llama_bench, "-m", path, "-p", str(o.prompt), "-n", str(o.new), "-t", str(o.threads), "-r", "3",
                              "-o", "json"]))
    return {"prompt" if r["n_prompt"] else "new": r["avg_ts"] for r in rows}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--genet", default="build/genet")
    p.add_argument("--pair", action="append", required=True, help="NAME=FOLDER,FILE.gguf; FILE.gguf may be empty")
    p.add_argument("--llama-bench", default="")
    p.add_argument("--transformers", action="store_true")
    p.add_argument("--prompt", type=int, default=256)
    p.add_argument("--new", type=int, default=64)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=os.cpu_count())
    o = p.parse_args()
    pairs = [(name, *rest.split(",")) for name, rest in (x.split("=", 1) for x in o.pair)]
    seen, version = {}, ""
    for _ in range(o.rounds):
        for name, folder, path in pairs:
            seen.setdefault((name, "genet"), []).append(genet(o, folder))
            if o.llama_bench and path:
                seen.setdefault((name, "llama.cpp"), []).append(llama(o, path))
    if o.transformers:
        command = [sys.executable, "-c", TRANSFORMERS, pairs[0][1], str(o.prompt), str(o.new), str(o.threads)]
        answer = json.loads(output(command, {"OMP_NUM_THREADS": str(o.threads)}).splitlines()[-1])
        seen[(pairs[0][0], "transformers")] = [answer]
        version = answer["version"]
    middle = {key: {k: statistics.median(r[k] for r in runs) for k in ("prompt", "new", "share", "read", "again") if k in runs[0]}
              for key, runs in seen.items()}
    print(f"{o.threads} threads, prompt {o.prompt}, {o.new} tokens written, {o.rounds} rounds in turn, medians"
          + (f"; transformers {version}" if version else ""))
    for (name, side), m in middle.items():
        own = middle[(name, "genet")]
        more = (f"  {100 * m['share']:4.0f} % of {m['read']:.1f} GB/s ({m['again']:.1f} over again)" if side == "genet" else
                f"  genet: {own['prompt'] / m['prompt']:5.2f} x, {own['new'] / m['new']:5.2f} x")
        print(f"{name:6} {side:13} prompt {m['prompt']:8.0f} tokens/s   writing {m['new']:8.1f} tokens/s {more}")


if __name__ == "__main__":
    main()
