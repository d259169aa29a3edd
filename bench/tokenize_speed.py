#!/usr/bin/env python3
"""tokenize_speed.py - encoding with GPT-2's tokenizer and learning BPE: genet beside Hugging Face tokenizers, one thread.

    python bench/tokenize_speed.py --build build --tokenizer tokenizer.json --text wiki.train.tokens [--rounds 5]

Runs both in turn (with this Python, which needs tokenizers) and prints medians, MB/s and ratios.  genet's side is
bench/tokenize_speed.c, compiled here against the static library.  Hugging Face's side encodes the text whole, and its lines
as a batch (with offsets and without), each time with a freshly loaded tokenizer (as genet's); the fastest counts.  It
learns from the text in memory, whole and line by line; genet's time has reading the file in it.  That the ids of the
whole text are equal is checked.
"""
import argparse
import array
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
import tokenizers  # noqa: E402  (reads these when it is loaded)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def build(o, folder):
    """bench/tokenize_speed.c beside the static library; optional libraries are linked where the build has them."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    names = [n for n in ("jansson", "zlib", "libpcre2-8", "libutf8proc", "libcurl", "libpng")
             if subprocess.run(["pkg-config", "--exists", n]).returncode == 0]
    libraries = subprocess.check_output(["pkg-config", "--libs", *names], text=True).split()
    program = os.path.join(folder, "tokenize")
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", f"-I{root}/include", f"-I{root}/src",
                    f"{root}/bench/tokenize_speed.c", f"{o.build}/libgenet.a", *libraries, "-lm", "-pthread", "-o", program],
                   check=True)
    return program


def genet(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def hf_load(description):
    """All of the text is wanted: GPT-2's own file cuts after 50 tokens."""
    t = Tokenizer.from_str(description)
    t.no_truncation()
    t.no_padding()
    return t


def hf_encode(description, text, lines):
    load, t = timed(lambda: hf_load(description))
    whole, encoded = timed(lambda: t.encode(text, add_special_tokens=False))
    t = hf_load(description)
    batch, _ = timed(lambda: t.encode_batch(lines, add_special_tokens=False))
    t = hf_load(description)
    fast, _ = timed(lambda: t.encode_batch_fast(lines, add_special_tokens=False))
    times = {"load": load, "encode whole": whole, "encode_batch of lines": batch, "encode_batch_fast of lines": fast}
    return times, zlib.crc32(array.array("i", encoded.ids))


def hf_train(pieces, vocab_size):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    return timed(lambda: t.train_from_iterator(pieces, trainer))[0]


def measure(o, folder, text, sample_path):
    program, description = build(o, folder), read(o.tokenizer)
    tokenizer_path, text_path = os.path.join(folder, "tokenizer.json"), os.path.join(folder, "text")
    write(tokenizer_path, description)
    write(text_path, text)
    lines, sample = text.splitlines(keepends=True), read(sample_path)
    sample_lines = sample.splitlines(keepends=True)
    seen = {}
    for _ in range(o.rounds):
        own = genet(program, "encode", tokenizer_path, text_path)
        times, crc = hf_encode(description, text, lines)
        if crc != own["crc"]:
            sys.exit("the ids differ")
        times.update({"genet load": own["load_s"], "genet encode": own["encode_s"],
                      "genet train": genet(program, "train", sample_path, o.vocab_size)["train_s"],
                      "train whole": hf_train([sample], o.vocab_size), "train lines": hf_train(sample_lines, o.vocab_size)})
        for name, t in times.items():
            seen.setdefault(name, []).append(t)
    return {name: statistics.median(t) for name, t in seen.items()}, own


def read(path):
    data = open(path, "rb").read()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()


def write(path, text):
    with open(path, "w", newline="", encoding="utf-8") as f:
        f.write(text)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="a build folder with libgenet.a")
    p.add_argument("--tokenizer", required=True, help="GPT-2's tokenizer.json, or packed with gzip")
    p.add_argument("--text", required=True, help="plain text, or packed with gzip")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--vocab-size", type=int, default=8000)
    p.add_argument("--train-bytes", type=int, default=10_000_000)
    o = p.parse_args()
    text = read(o.text)
    sample = text.encode()[:o.train_bytes].decode(errors="ignore")
    with tempfile.TemporaryDirectory() as folder:
        sample_path = os.path.join(folder, "sample")
        write(sample_path, sample)
        seen, own = measure(o, folder, text, sample_path)
    size, sample_size = len(text.encode()) / 1e6, len(sample.encode()) / 1e6
    print(f"genet {own['version']}, tokenizers {tokenizers.__version__}, Python {platform.python_version()}; one thread, "
          f"{o.rounds} rounds in turn, medians")
    rows = [("encode", size, "genet encode", ["encode whole", "encode_batch of lines", "encode_batch_fast of lines"]),
            (f"learn {o.vocab_size} tokens", sample_size, "genet train", ["train whole", "train lines"])]
    for task, mb, name, peers in rows:
        best = min(peers, key=seen.get)
        print(f"{task + f', {mb:.1f} MB':28} genet {1e3 * seen[name]:8.1f} ms {mb / seen[name]:7.1f} MB/s")
        for peer in peers:
            print(f"{'':28} tokenizers, {peer:27} {1e3 * seen[peer]:8.1f} ms {mb / seen[peer]:7.1f} MB/s")
        print(f"{'':28} {seen[best] / seen[name]:.2f} x as fast as the fastest")
    print(f"{'load tokenizer.json':28} genet {1e3 * seen['genet load']:8.1f} ms, tokenizers {1e3 * seen['load']:8.1f} ms   "
          f"({own['tokens']} ids, all equal)")


if __name__ == "__main__":
    main()
