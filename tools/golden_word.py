#!/usr/bin/env python3
"""golden_word.py - makes tests/golden/word/: what Hugging Face's tokenizers answers for tokenizers of words.

    python tools/golden_word.py [FOLDER]          (default: tests/golden/word beside this file)

text.txt            words between every kind of white space, line ends, look-alikes of white space, a literal <unk>
tokenizer.json      the 39 most frequent words of it (equal ones bytewise) and <unk>, in the form that genet writes:
                    a line's end is a word, decoding puts no space beside it
plain.json          WhitespaceSplit without a decoder, and added tokens, one of them beyond the vocabulary
word.json           versions, and for both the ids of other.txt and the text that they decode to
other.txt           a text with unknown words
"""
import collections
import json
import os
import re
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
ALIKE = "\u001c\u001f\u180e\u200b\u200c\u200d\u2060\ufeff"


def words_of(text):
    """Independent of the library: runs between white space, and line ends."""
    return re.findall("\n|[^%s]+" % SPACE, text)


def make_text():
    text = "Generating AI is fascinating\nGenerating words, words, words.\n\n The the THE caf\u00e9 cafe\u0301 \u4e2d\u6587 \U0001F600\r\n"
    text += "".join("w%02d%s" % (i % 30, c) for i, c in enumerate(SPACE * 3))
    text += "".join("v%d%sv%d " % (i % 3, c, i % 3) for i, c in enumerate(ALIKE)) + "<unk> a<unk>b \"quoted\" back\\slash [PAD]\n"
    return text + "last words without an end"


def learn(text, size):
    count = collections.Counter(words_of(text))
    count.pop("<unk>")
    words = sorted(count, key=lambda w: (-count[w], w.encode()))[:size - 1]
    return {w: i for i, w in enumerate(["<unk>"] + words)}


def lines_tokenizer(vocabulary):
    t = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    split = pre_tokenizers.Split
    t.pre_tokenizer = pre_tokenizers.Sequence([split(Regex(r"[^\S\n]+"), "removed"), split("\n", "isolated")])
    t.decoder = decoders.Sequence([decoders.WordPiece(prefix=" ", cleanup=False), decoders.Fuse(),
                                   decoders.Replace(" \n", "\n"), decoders.Replace("\n ", "\n")])
    return t


def plain_tokenizer():
    t = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "words": 2, "the": 3, "<unk>": 4, "w07": 5}, unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.add_special_tokens(["[UNK]", "[PAD]", AddedToken("[END]", special=True)])
    return t


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "tests", "golden", "word")
    os.makedirs(folder, exist_ok=True)
    text = make_text()
    other = text[40:900] + "\n\nunheard\tof\n words <unk> the[PAD]words [END][END] w07 </s>\n\n\n" + text[-60:] + "\n "
    for name, content in (("text.txt", text), ("other.txt", other)):
        with open(os.path.join(folder, name), "w", newline="", encoding="utf-8") as f:
            f.write(content)
    report = {"made_by": "tools/golden_word.py", "tokenizers": tokenizers.__version__}
    vocabulary = learn(text, 40)
    for name, t in (("tokenizer", lines_tokenizer(vocabulary)), ("plain", plain_tokenizer())):
        path = os.path.join(folder, name + ".json")
        t.save(path)
        t = Tokenizer.from_file(path)
        ids = t.encode(other, add_special_tokens=False).ids
        report[name] = {"ids": ids, "decoded": t.decode(ids, skip_special_tokens=False)}
    assert report["tokenizer"]["ids"] == [vocabulary.get(w, 0) for w in words_of(other)]
    with open(os.path.join(folder, "word.json"), "w", encoding="utf-8") as f:
        json.dump(report, f)
        f.write("\n")


main()
