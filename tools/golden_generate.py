#!/usr/bin/env python3
"""golden_generate.py - makes tests/golden/generate/: what transformers keeps and writes.

    python tools/golden_generate.py [FOLDER]          (default: tests/golden beside this file)

The answers are committed; the C tests read them and need no Python.  Versions stand in generate/golden.json.

sample.json     [{"options", "row"}]: settings of sampling, for one row of the logits each
sample.safetensors
                logits (3, 300): peaked, flat, and with ties; probability.N (300) after temperature, top_k, top_p,
                min_p and typical_p of setting N, by transformers' own processors in transformers' order, in float64;
                0 where a token is not kept
greedy.json     [{"prompt", "options", "ids", "logprobs"}]: what GPT2LMHeadModel.generate(do_sample=False) writes after
                prompt with the model of ../gpt2, and each token's log-softmax of the raw logits; the likeliest token
                leads by more than LEAD everywhere, so that rounding decides nothing
adjust.json     {"text", "options", ...} and adjust.safetensors: raw (300) and adjusted.N (300) logits by transformers'
                RepetitionPenalty and NoRepeatNGram processors
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel
from transformers.generation import logits_process as lp

V, LEAD = 300, 1e-3

SAMPLE = [
    {"temperature": 1.0}, {"temperature": 0.7}, {"temperature": 1.5, "top_k": 7}, {"temperature": 1.0, "top_k": 40},
    {"temperature": 1.0, "top_k": 290}, {"temperature": 1.0, "top_p": 0.9}, {"temperature": 0.8, "top_p": 0.3},
    {"temperature": 1.0, "top_p": 0.0}, {"temperature": 0.9, "top_k": 50, "top_p": 0.8}, {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 1.3, "min_p": 0.01}, {"temperature": 1.0, "typical_p": 0.9}, {"temperature": 0.8, "typical_p": 0.2},
    {"temperature": 1.0, "top_k": 30, "typical_p": 0.5},
    {"temperature": 0.9, "top_k": 60, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.7},
]


def logits_rows():
    torch.manual_seed(5)
    rows = torch.stack([torch.randn(V) * 3, torch.randn(V) * 0.5, torch.randn(V) * 2])
    rows[2] = (rows[2] * 2).round() / 2         # halves: many ties
    return rows


def kept(logits, o):
    scores = logits.double()[None] / o["temperature"]
    if o.get("top_k"):
        scores = lp.TopKLogitsWarper(o["top_k"])(None, scores)
    if o.get("top_p", 1) < 1:
        scores = lp.TopPLogitsWarper(o["top_p"])(None, scores)
    if o.get("min_p", 0) > 0:
        scores = lp.MinPLogitsWarper(o["min_p"])(None, scores)
    if o.get("typical_p", 1) < 1:
        scores = lp.TypicalLogitsWarper(o["typical_p"])(None, scores)
    return scores.softmax(-1)[0].contiguous()


def sample(folder):
    rows, cases, tensors = logits_rows(), [], {}
    for o in SAMPLE:
        for row in range(len(rows)):
            # which of equals stay in a nucleus is not said anywhere; typical_p keeps all equals, as top_k does
            if row == 2 and "top_p" in o:
                continue
            tensors[f"probability.{len(cases)}"] = kept(rows[row], o)
            cases.append({"options": o, "row": row})
    save_file({"logits": rows, **tensors}, os.path.join(folder, "sample.safetensors"))
    with open(os.path.join(folder, "sample.json"), "w") as f:
        json.dump(cases, f, indent=1)


def adjust(folder):
    torch.manual_seed(6)
    raw = torch.randn(V) * 3
    text = torch.randint(0, 12, (60,))
    cases = [{"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"no_repeat_ngram_size": 1},
             {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 60},
             {"no_repeat_ngram_size": 61}, {"repetition_penalty": 1.2, "no_repeat_ngram_size": 2}]
    tensors = {"raw": raw}
    for i, o in enumerate(cases):
        scores = raw[None].clone()
        if "repetition_penalty" in o:
            scores = lp.RepetitionPenaltyLogitsProcessor(o["repetition_penalty"])(text[None], scores)
        if "no_repeat_ngram_size" in o:
            scores = lp.NoRepeatNGramLogitsProcessor(o["no_repeat_ngram_size"])(text[None], scores)
        tensors[f"adjusted.{i}"] = scores[0].contiguous()
    save_file(tensors, os.path.join(folder, "adjust.safetensors"))
    with open(os.path.join(folder, "adjust.json"), "w") as f:
        json.dump({"text": text.tolist(), "options": cases}, f)


def greedy(folder, model):
    prompts = [[1, 2, 3], [40, 7], [64, 0, 33, 12, 5], [20]]
    settings = [{}, {"repetition_penalty": 1.3}, {"repetition_penalty": 0.8}, {"no_repeat_ngram_size": 1},
                {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.2, "no_repeat_ngram_size": 3}]
    cases = []
    for prompt in prompts:
        for o in settings:
            room = model.config.n_positions - len(prompt)
            cases.append(one_greedy(model, prompt, {**o, "max_new_tokens": room}))
            end = cases[-1]["ids"][len(cases[-1]["ids"]) // 2]
            cases.append(one_greedy(model, prompt, {**o, "max_new_tokens": room, "eos_token_id": end}))
    cases = [c for c in cases if c]
    with open(os.path.join(folder, "greedy.json"), "w") as f:
        json.dump(cases, f)
    return len(cases)


def one_greedy(model, prompt, o):
    x = torch.tensor([prompt])
    out = model.generate(x, do_sample=False, attention_mask=torch.ones_like(x), pad_token_id=0, output_scores=True,
                         output_logits=True, return_dict_in_generate=True, **o)
    ids = out.sequences[0, len(prompt):].tolist()
    for scores in out.scores:
        two = scores[0].topk(2).values
        if two[0] - two[1] < LEAD:
            raise SystemExit(f"{prompt} {o}: the lead is only {two[0] - two[1]}; choose another prompt")
    logprobs = [raw[0].double().log_softmax(-1)[i].item() for raw, i in zip(out.logits, ids)]
    if "eos_token_id" in o:
        o = {**o, "eos_token_id": [o["eos_token_id"]]}
    return {"prompt": prompt, "options": o, "ids": ids, "logprobs": logprobs}


def main():
    golden = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden")
    folder = os.path.join(golden, "generate")
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)
    sample(folder)
    adjust(folder)
    model = GPT2LMHeadModel.from_pretrained(os.path.join(golden, "gpt2")).eval()
    print(greedy(folder, model), "greedy runs")
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "python": sys.version.split()[0]}
    with open(os.path.join(folder, "golden.json"), "w") as f:
        json.dump({"made by": "tools/golden_generate.py", **versions}, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
