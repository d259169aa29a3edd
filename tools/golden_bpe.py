#!/usr/bin/env python3
"""golden_bpe.py - makes tests/golden/bpe*/: what tokenizers answers for byte-level BPE.

    python tools/golden_bpe.py [FOLDER]      (default: tests/golden beside this file)

bpe/        a tokenizer of 500 tokens with GPT-2's pattern that the library learned and wrote, text.txt with everything
            that may go wrong in it, and its ids (ids.npy); versions in golden.json
bpe-split/  the same merges as pairs, behind a Split with the pattern of Llama 3; ids of the same text
bpe-added/  the same merges, add_prefix_space, and added tokens of every kind: lstrip, rstrip, single_word, one within
            another, normalized or not; ids of its own text.txt
"""
import json
import os
import platform
import random
import sys

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")

CORPUS = """The harbour was quiet in the morning, and the boats were lying on the sand. She said that it's the best time
of the day; they've seen nothing like it, we'll go there again and I'm sure they're going to like it too. He'd rather
stay at home, wouldn't he? In 1984 and 2001 there were 12 ships, 345 people and 6789 birds. The weather is fine, the
water is warm, the wind is weak. Das Wetter ist schön, die Straße ist naß; où est la forêt? Где находится библиотека?
The end of the story is that nothing happened, and that nothing ever happens in the harbour in the morning.
"""

PIECES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u00a0", "\u180e", "\u2003", "\u2028",
          "\u3000", "'s", "'S", "'ll", "'re", "'", "''", "\u2019s", "the", "The", " morning", "harbour", "it's", "wouldn't", "12",
          "6789", "\u00b2", "\u00bd", "\u2167", "\u0661\u0662", "e\u0301", "\u00e9", "\u01c5", "\u017f", "\U0001f3f3\ufe0f\u200d\U0001f308",
          "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\u4e2d\u6587", "\u3053\u3093", "\ud55c\uad6d",
          "\u0627\u0644\u0639", "\u202e\u05d0", "\u0e01\u0e33", "\u0378", "\ue000", "\U000e0001", "\U0010ffff", "\ufffd", "\ufeff",
          "\x01", "\x1b", "\x7f", "!", "?!", "...", "<|endoftext|>", "<|endof", "|>", "\U00031350", "\U00010d40", "\U0001e4f3",
          "\u1c89", "\U00011bf5", "_", "-", "(", ")", "\\", "\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]

ADDED = [AddedToken("<mask>", lstrip=True, special=True), AddedToken("<r>", rstrip=True, normalized=False),
         AddedToken("<b>", lstrip=True, rstrip=True), AddedToken("word", single_word=True, normalized=False),
         AddedToken("harbour", single_word=True, lstrip=True), AddedToken("<|end|>", special=True),
         AddedToken("<|end|>more", special=True), AddedToken("ab", normalized=True), AddedToken("bc", normalized=False),
         AddedToken("two words"), AddedToken(" led"), AddedToken("\u00e9t\u00e9", normalized=False)]

ADDED_PIECES = ["<mask>", " <mask> ", "<r>", "<r>  ", "\n<r>\n", "<b>", "  <b>\u3000", "word", "words", " word ", "sword", "\u00e9word",
                "word_", "harbour", " harbour,", "<|end|>", "<|end|>more", "<|end|>mor", "ab", "bc", "abc", "abcbc", "two words",
                "two  words", "two word", " led", "led", "\u00e9t\u00e9", " ", "  ", "\n", "\t", "\u00a0", "x", "\u24b6", "\u200d", "the",
                "\U00011bf5", "\u0897", "\u0300"]


def nasty(rng, pieces, n):
    return "".join(rng.choice(pieces) for _ in range(n))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden")
    folders = {name: os.path.join(root, name) for name in ("bpe", "bpe-split", "bpe-added")}
    for folder in folders.values():
        os.makedirs(folder, exist_ok=True)

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator([CORPUS] * 3, trainer)
    t.save(os.path.join(folders["bpe"], "tokenizer.json"))
    rng = random.Random(1)
    text = CORPUS + nasty(rng, PIECES, 3000)
    model = json.loads(t.to_str())

    split = Tokenizer.from_str(json.dumps(model))
    split.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA), "isolated", invert=False),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    changed = json.loads(split.to_str())
    changed["model"]["ignore_merges"] = True
    changed["model"]["merges"] = [m.split(" ") if isinstance(m, str) else m for m in changed["model"]["merges"]]
    split = Tokenizer.from_str(json.dumps(changed))
    with open(os.path.join(folders["bpe-split"], "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(changed, f, ensure_ascii=False)

    strings = dict(model)
    strings["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in strings["model"]["merges"]]
    with open(os.path.join(folders["bpe"], "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(strings, f, ensure_ascii=False)

    added = Tokenizer.from_str(json.dumps(model))
    added.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for token in ADDED:
        (added.add_special_tokens if token.special else added.add_tokens)([token])
    added.save(os.path.join(folders["bpe-added"], "tokenizer.json"), pretty=False)
    added_text = nasty(rng, ADDED_PIECES, 3000)

    for name, tokenizer, words in (("bpe", t, text), ("bpe-split", split, text), ("bpe-added", added, added_text)):
        np.save(os.path.join(folders[name], "ids.npy"), np.array(tokenizer.encode(words).ids, dtype="<i4"))
        if name != "bpe-split":
            with open(os.path.join(folders[name], "text.txt"), "w", encoding="utf-8", newline="") as f:
                f.write(words)
    with open(os.path.join(folders["bpe"], "golden.json"), "w", encoding="utf-8") as f:
        json.dump({"made_by": "tools/golden_bpe.py", "python": platform.python_version(), "tokenizers": tokenizers.__version__,
                   "numpy": np.__version__}, f, indent=2)
        f.write("\n")


if __name__ == "__main__":
    main()
