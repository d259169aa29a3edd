#!/usr/bin/env python3
"""golden_beam.py - makes tests/golden/beam/beam.json: what transformers' beam search answers.

    python tools/golden_beam.py [FOLDER]          (default: tests/golden beside this file)

The model is FOLDER/gpt2 with the last layer norm's weight and bias times "scale", so that its answers are not nearly
flat.  Each case holds a prompt (ids), options by their names, and the sequences: ids after the prompt up to and with the
end token, and their score.  Every case is run in float64 too, and must give the same ids: margins are clear.
"""
import json
import os
import platform
import sys

import torch
import transformers
from transformers import GPT2LMHeadModel

SCALE = 4.0
PROMPTS = [[1, 2, 3], [40], [7, 7, 12, 60, 5]]


def answer(model, prompt, options, eos):
    how = {k: v for k, v in options.items()}
    early = how.pop("early_stopping", "false")
    how["early_stopping"] = {"false": False, "true": True}.get(early, early)
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, return_dict_in_generate=True,
                         output_scores=True, eos_token_id=eos or None, pad_token_id=64, **how)
    sequences = []
    for row, score in zip(out.sequences.tolist(), out.sequences_scores.tolist()):
        row = row[len(prompt):]
        ends = [i for i, id in enumerate(row) if id in eos]
        row = row[:ends[0] + 1] if ends else row
        assert ends or len(row) == how["max_new_tokens"]
        sequences.append({"ids": row, "score": score})
    return sequences


def frequent(model):
    """The token that beams without an end use most."""
    count = {}
    for prompt in PROMPTS:
        for s in answer(model, prompt, {"num_beams": 5, "num_return_sequences": 5, "max_new_tokens": 10}, []):
            for id in s["ids"][1:]:
                count[id] = count.get(id, 0) + 1
    return sorted(count, key=lambda id: (-count[id], id))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/golden")
    models = []
    for dtype in (torch.float32, torch.float64):
        model = GPT2LMHeadModel.from_pretrained(os.path.join(folder, "gpt2"), dtype=dtype).eval()
        with torch.no_grad():
            model.transformer.ln_f.weight *= SCALE
            model.transformer.ln_f.bias *= SCALE
        model.config.use_cache = model.generation_config.use_cache = True
        models.append(model)
    likely = frequent(models[0])
    one, two = likely[1:2], likely[1:3]
    cases = []

    def add(prompt, eos, **options):
        options = {"max_new_tokens": 10, "num_return_sequences": 1, **options}
        got, exact = (answer(m, PROMPTS[prompt], options, eos) for m in models)
        if [s["ids"] for s in got] != [s["ids"] for s in exact]:
            sys.exit(f"margins too small: {options}\n{got}\n{exact}")
        assert all(abs(a["score"] - b["score"]) < 1e-4 for a, b in zip(got, exact))
        cases.append({"prompt": PROMPTS[prompt], "eos_token_id": eos, "options": options, "sequences": got})

    for prompt in range(len(PROMPTS)):
        for beams in (2, 3, 5):
            add(prompt, [], num_beams=beams, num_return_sequences=beams)
            add(prompt, one, num_beams=beams, num_return_sequences=beams)
            add(prompt, two, num_beams=beams)
    for early in ("false", "true", "never"):
        for penalty in (0.0, 1.0, 2.0, -1.0):
            add(0, one, num_beams=3, num_return_sequences=3, early_stopping=early, length_penalty=penalty)
            add(2, two, num_beams=5, num_return_sequences=5, early_stopping=early, length_penalty=penalty)
    for prompt in (0, 2):
        add(prompt, one, num_beams=3, num_return_sequences=3, repetition_penalty=1.3)
        add(prompt, [], num_beams=5, num_return_sequences=2, no_repeat_ngram_size=2)
        add(prompt, two, num_beams=4, num_return_sequences=4, repetition_penalty=1.3, no_repeat_ngram_size=2, length_penalty=2.0)
        add(prompt, [], num_beams=3, num_return_sequences=3, max_new_tokens=1)
    # where "never" finds what "false" does not wait for
    waiting = 0
    for first in range(64):
        for penalty in (1.0, 2.0):
            options = {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 10, "length_penalty": penalty}
            short, long = (answer(models[0], [first], {**options, "early_stopping": e}, two) for e in ("false", "never"))
            if waiting < 4 and [s["ids"] for s in short] != [s["ids"] for s in long]:
                PROMPTS.append([first])
                add(len(PROMPTS) - 1, two, early_stopping="false", **options)
                add(len(PROMPTS) - 1, two, early_stopping="never", **options)
                waiting += 1
    assert waiting
    lines = ",\n".join("  " + json.dumps(c) for c in cases)
    head = json.dumps({"made_by": "tools/golden_beam.py", "python": platform.python_version(), "torch": torch.__version__,
                       "transformers": transformers.__version__, "scale": SCALE})
    os.makedirs(os.path.join(folder, "beam"), exist_ok=True)
    with open(os.path.join(folder, "beam/beam.json"), "w") as f:
        f.write(head[:-1] + ', "cases": [\n' + lines + "\n]}\n")
    lengths = [len(s["ids"]) for c in cases if c["eos_token_id"] for s in c["sequences"]]
    print(len(cases), "cases; lengths with end tokens", sorted(lengths))


main()
