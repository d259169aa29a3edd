#!/usr/bin/env python3
"""golden_score.py - makes tests/golden/score/scores.json: how well the tiny GPT-2 of tests/golden/gpt2 predicts
tests/golden/score/text.txt, as transformers computes it.

    python tools/golden_score.py [FOLDER]          (default: tests/golden beside this file)

A token is a character; its id is its place among the text's characters in the order of their code points.

windows   the loop of transformers' guide "Perplexity of fixed-length models" for several contexts and strides:
            loss, tokens   negative log-likelihood of all predicted tokens over their number
            guide_loss     with the guide's own weights: it takes the mean over a window's predicted tokens times the
                           number of the window's targets minus 1.  For the windows after the first that is one less than
                           their predicted tokens, where windows overlap; null: no window counts, or one without
                           predictions is NaN
blocks    inputs that follow each other without overlap, every token but the first predicted once
lines     log-probability of each line by itself: alone (all characters but the first are predicted), and after the
          token FIRST (all are)
"""
import json
import os
import platform
import sys

import torch
import transformers

FIRST = 7


def window_loss(model, ids, begin, end, target_length):
    """Mean negative log-likelihood of the window's targets that are predicted, and how many these are."""
    x = ids[:, begin:end]
    target = x.clone()
    target[:, :-target_length] = -100
    predicted = int((target[:, 1:] != -100).sum())
    return model(x, labels=target).loss.double().item(), predicted, int((target != -100).sum()) - 1


def windows(model, ids, context, stride):
    nll, tokens, guide_nll, guide_tokens, before = 0.0, 0, 0.0, 0, 0
    for begin in range(0, ids.shape[1], stride):
        end = min(begin + context, ids.shape[1])
        mean, predicted, guide_predicted = window_loss(model, ids, begin, end, end - before)
        nll += mean * predicted if predicted else 0.0
        tokens += predicted
        guide_nll += mean * guide_predicted
        guide_tokens += guide_predicted
        before = end
        if end == ids.shape[1]:
            break
    guide = guide_nll / guide_tokens
    return {"context": context, "stride": stride, "loss": nll / tokens, "tokens": tokens,
            "guide_loss": guide if guide == guide else None}


def log_probabilities(model, ids, context):
    """Sum over ids[1:], in blocks of `context` inputs."""
    total = 0.0
    for at in range(0, len(ids) - 1, context):
        x = torch.tensor([ids[at:at + context]])[:, :len(ids) - 1 - at]
        y = torch.tensor(ids[at + 1:at + 1 + x.shape[1]])
        logits = model(x).logits[0].double()
        total += torch.log_softmax(logits, -1)[torch.arange(len(y)), y].sum().item()
    return total


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden")
    model = transformers.GPT2LMHeadModel.from_pretrained(os.path.join(folder, "gpt2")).eval()
    sees = model.config.n_positions
    with open(os.path.join(folder, "score", "text.txt"), encoding="utf-8", newline="") as f:
        text = f.read()
    place = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = [place[c] for c in text]
    row = torch.tensor([ids])
    answer = {"made_by": "tools/golden_score.py", "python": platform.python_version(), "torch": torch.__version__,
              "transformers": transformers.__version__, "first": FIRST}
    with torch.no_grad():
        answer["windows"] = [windows(model, row, context, stride) for context in (sees, 11, 5, 2)
                             for stride in sorted({1, 3, context // 2, context}) if stride <= context]
        answer["blocks"] = [{"context": c, "log_probability": log_probabilities(model, ids, c)} for c in (sees, 11, 1)]
        lines = [[place[c] for c in line] for line in text.split("\n")[:-1]]
        answer["lines"] = [{"alone": log_probabilities(model, l, sees), "after_first": log_probabilities(model, [FIRST] + l, sees)}
                           for l in lines]
    with open(os.path.join(folder, "score", "scores.json"), "w") as f:
        json.dump(answer, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
