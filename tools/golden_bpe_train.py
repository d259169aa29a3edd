#!/usr/bin/env python3
"""golden_bpe_train.py - makes tests/golden/bpe-train/: the merges that Hugging Face's BpeTrainer learns.

    python tools/golden_bpe_train.py [FOLDER]        (default: tests/golden/bpe-train beside this file)

cases.json   versions, and cases: a text (or the file beside it that holds it), the size of the vocabulary asked for and
             the merges learned; the settings are those of `genet train --tokenizer bpe:N`
text.txt     the text of the largest case; it is read, not made
"""
import json
import os
import platform
import random
import sys

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers


def merges(text, vocab_size):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator([text], trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=["<|endoftext|>"],
                                                      initial_alphabet=alphabet, show_progress=False))
    model = json.loads(t.to_str())["model"]
    assert len(model["vocab"]) == 257 + len(model["merges"])
    return [list(m) for m in model["merges"]]


def small_texts():
    """Degenerate ones, then few letters at random: many ties and pairs that overlap."""
    yield "a", 300
    yield "aa", 300
    yield "a" * 77, 300
    yield "a" * 200 + " " + "a" * 199, 264
    yield " ", 300
    yield " " * 100, 300
    yield "\n\n \t \n\n\n", 300
    yield "a b c d e f", 300
    yield "abcabcabc abc", 257
    yield "abcabcabc abc", 258
    yield "<|endoftext|> one<|endoftext|>two <|endoftext|>\n<|endoftext|>", 300
    yield "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea" * 3, 300
    choose = random.Random(3)
    for letters, n in [("ab", 60), ("ab ", 300), ("aab ", 400), ("aaa b'sS\n", 500), ("é中a ", 300), ("0123 ,.-", 500)]:
        yield "".join(choose.choice(letters) for _ in range(n)), 330


def main():
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(root, "tests", "golden", "bpe-train")
    with open(os.path.join(folder, "text.txt"), newline="", encoding="utf-8") as f:
        text = f.read()
    cases = [{"text": t, "vocab_size": n, "merges": merges(t, n)} for t, n in small_texts()]
    cases += [{"file": "text.txt", "vocab_size": n, "merges": merges(text, n)} for n in (400, 600, 5000)]
    head = {"made_by": "tools/golden_bpe_train.py", "python": platform.python_version(),
            "tokenizers": tokenizers.__version__}
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as f:
        rows = ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases)
        f.write(json.dumps(head)[:-1] + ', "cases": [\n' + rows + "\n]}\n")


if __name__ == "__main__":
    main()
