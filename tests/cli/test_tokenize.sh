#!/bin/bash
# test_tokenize.sh - genet tokenize: what it prints, round trips, and what it says of bad input.
. "$(dirname "$0")/common.sh"
golden=$SOURCE/tests/golden
char=$golden/char/text.txt word=$golden/word/other.txt
tokenize() { "$GENET" tokenize "$@"; }

# The table: a line for each token, the summary on stderr.
printf 'a b\t\n"\\' > "$work/in"
tokenize "$golden/char" "$char" > "$work/table" 2> "$work/summary" || fail "the table of char"
[ "$(wc -l < "$work/table")" -eq 122 ] || fail "122 lines for 122 tokens"
grep -q '^122 tokens, 133 bytes, 1.09 bytes a token$' "$work/summary" || fail "summary: $(cat "$work/summary")"
grep -qF ' 1  "\n"' "$work/table" || fail "the line end is not escaped"
grep -qF '43  "\u2028"' "$work/table" || fail "U+2028 is not escaped"
grep -qF '42  "\u0301"' "$work/table" || fail "U+0301 is not escaped"
grep -qF '19  "\\"' "$work/table" || fail "the backslash is not escaped"
grep -qF ' 5  "\""' "$work/table" || fail "the quote is not escaped"
grep -qF '46  "😀"' "$work/table" || fail "a letter is not shown as it is"
printf 'THE unheard-of w07' | tokenize "$golden/word" > "$work/table" 2> "$work/summary"
same "$work/table" <(printf '36  "THE"\n 0  "<unk>"\n 9  "w07"\n')
grep -q '3 tokens, 18 bytes, 6 bytes a token, 33.3 % unknown' "$work/summary" || fail "unknowns: $(cat "$work/summary")"

# Ids as the tokenizers library gives them, from folders and files, files and pipes.
ids() { sed -n "s/.*\"$1\": {\"ids\": \(\[[^]]*\]\).*/\1/p" "$golden/word/word.json"; }
tokenize "$golden/word" "$word" --json | cmp -s - <(ids tokenizer) || fail "ids of words"
tokenize "$golden/word/plain.json" --json < "$word" | cmp -s - <(ids plain) || fail "ids of plain words"
tokenize "$golden/word/tokenizer.json" - --json < "$word" | cmp -s - <(ids tokenizer) || fail "ids from a pipe"
gzip -c "$word" > "$work/word.gz"
tokenize "$golden/word" "$work/word.gz" --json | cmp -s - <(ids tokenizer) || fail "ids of a .gz"

# Back again, to the byte.
tokenize "$golden/char" "$char" --json | tokenize "$golden/char" --decode | cmp -s - "$char" || fail "round trip of char"
tokenize "$golden/char" "$char" --json --lines > "$work/lines"
[ "$(wc -l < "$work/lines")" -eq "$(wc -l < "$char")" ] || fail "an array a line"
tokenize "$golden/char" --decode --lines < "$work/lines" | cmp -s - <(sed 's/\r$//' "$char") || fail "round trip of lines but for the \r of their ends"
tokenize "$golden/char" "$char" --json | tr -d '[],' | tokenize "$golden/char" --decode | cmp -s - "$char" || fail "bare numbers"
printf 'First\n\nany' | tokenize "$golden/char" --json --lines > "$work/lines"
[ "$(sed -n 2p "$work/lines")" = "[]" ] && [ "$(wc -l < "$work/lines")" -eq 3 ] || fail "an empty line is an empty array: $(cat "$work/lines")"
printf 'First\r\n\r\nany' | tokenize "$golden/char" --json --lines | cmp -s - "$work/lines" || fail "CR LF ends a line"
printf '' | tokenize "$golden/char" --json | cmp -s - <(echo "[]") || fail "nothing is an empty array"
printf '' | tokenize "$golden/char" --json --lines | cmp -s - /dev/null || fail "nothing has no lines"
printf '9 9\n1 36\n 09' | tokenize "$golden/word" --decode | cmp -s - <(printf 'w07 w07\nTHE w07') || fail "words are joined"
printf ' [9, 9 ]\n[ ][\r\n1\t,36][9]' | tokenize "$golden/word" --decode | cmp -s - <(printf 'w07 w07\nTHE w07') || fail "arrays are joined"
printf '[9, 36]\r\n[]\r\n[0]\r\n' | tokenize "$golden/word" --decode --lines | cmp -s - <(printf 'w07 THE\n\n<unk>\n') || fail "arrays a line"

# More than a buffer; ids do not depend on where it is cut.
for i in $(seq 800); do cat "$word"; done > "$work/long"
tail -c 300000 "$work/long" | cat - "$work/long" | head -c 1000000 > "$work/cut"
cat "$work/cut" | (head -c 77777; sleep 0.1; cat) | tokenize "$golden/word" --json | cmp -s - <(tokenize "$golden/word" "$work/cut" --json) \
    || fail "a slow pipe gives other ids"
tokenize "$golden/word" "$work/long" --json --lines | tokenize "$golden/word" --decode --lines > "$work/back"
[ "$(wc -l < "$work/back")" -eq "$(($(wc -l < "$work/long") + 1))" ] || fail "lines of a long text"

# Byte pairs know every byte, zeros and broken UTF-8 too; what training saved is what is read.
"$GENET" train gpt2 --data "$text" --tokenizer bpe:400 --out "$work/bpe" $tiny --max-steps 1 > "$work/log" 2>&1 || { fail "training with bpe:400"; cat "$work/log"; }
{ cat "$GENET" | head -c 700000; cat "$text"; printf 'a\0b\377\302'; } > "$work/bytes"
tokenize "$work/bpe" "$work/bytes" --json > "$work/ids" || fail "any bytes"
tokenize "$work/bpe" "$work/ids" --decode | cmp -s - "$work/bytes" || fail "round trip of any bytes"
tokenize "$work/bpe" "$work/bytes" --json --lines | tokenize "$work/bpe" --decode --lines | cmp -s - <(LC_ALL=C sed -z 's/\r\n/\n/g' "$work/bytes"; echo) || fail "round trip of lines of any bytes"
cat "$work/bytes" | (head -c 54321; sleep 0.1; cat) | tokenize "$work/bpe" --json | cmp -s - "$work/ids" || fail "a slow pipe gives other ids of bytes"
printf 'of\0\377' | tokenize "$work/bpe" 2> /dev/null | tail -2 | grep -q '"\\xFF"' || fail "a byte is not escaped"
"$GENET" train gpt2 --data "$text" --tokenizer word:50 --out "$work/word" $tiny --max-steps 1 > "$work/log" 2>&1 || { fail "training with word:50"; cat "$work/log"; }
[ "$(tokenize "$work/word/tokenizer.json" "$text" --json | tr -d '[] ' | tr ',' '\n' | sort -u | wc -l)" -le 50 ] || fail "more than 50 words"
grep -qi 'unknown' "$work/log" || { fail "training does not tell the rate of unknown words"; cat "$work/log"; }
for kind in wordpiece unigram; do
    "$GENET" train gpt2 --data "$text" --tokenizer $kind:400 --out "$work/$kind" $tiny --max-steps 1 > "$work/log" 2>&1 \
        || { fail "training with $kind:400"; cat "$work/log"; }
    for i in $(seq 80); do head -200 "$text"; done > "$work/long"
    tokenize "$work/$kind" "$work/long" --json > "$work/ids" || fail "ids of $kind"
    cat "$work/long" | (head -c 54321; sleep 0.1; cat) | tokenize "$work/$kind" --json | cmp -s - "$work/ids" \
        || fail "a slow pipe gives other ids of $kind"
done
tokenize "$work/unigram" "$work/ids" --decode | cmp -s - "$work/long" || fail "round trip of unigram"
printf 'quiet  coast' | tokenize "$golden/sentencepiece/bpe.model" --json | tokenize "$golden/sentencepiece/bpe.model" --decode \
    | cmp -s - <(printf 'quiet  coast') || fail "round trip of a SentencePiece file"
expect 2 'write bpe:VOCAB with a whole number of tokens from 257 to' "$GENET" train gpt2 --data "$text" --tokenizer bpe:4k --out "$work/no" $tiny
expect 2 'there is no such folder or file; a new tokenizer is char, bpe:VOCAB, wordpiece:VOCAB, unigram:VOCAB or word:VOCAB' "$GENET" train gpt2 --data "$text" --tokenizer bert --out "$work/no" $tiny

# Errors.
expect 2 'say which tokenizer' "$GENET" tokenize
expect 2 'one word too many' "$GENET" tokenize a b c
expect 2 '--lines needs --json or --decode' "$GENET" tokenize "$golden/char" --lines
expect 2 'leave --json out' "$GENET" tokenize "$golden/char" --json --decode
expect 0 'usage: genet tokenize FOLDER\|tokenizer.json' "$GENET" tokenize --help
expect 1 'absent' "$GENET" tokenize "$work/absent" "$char"
expect 1 'absent: No such file' "$GENET" tokenize "$golden/char" "$work/absent"
expect 1 'cannot read .*: Is a directory' "$GENET" tokenize "$golden/char" "$work"
printf 'First\nX' > "$work/in"
expect 2 "in: byte 6: the character 'X' \(U\+0058\) is not among" "$GENET" tokenize "$golden/char" "$work/in"
printf 'First\0' > "$work/in"
expect 2 "in: byte 5: the character U\+0000 is not among" "$GENET" tokenize "$golden/char" "$work/in"
bad_ids() { printf "$1" > "$work/in"; expect 1 "$2" "$GENET" tokenize "$golden/char" "$work/in" --decode; }
bad_ids '[1, 2, 47]' 'id number 3 \(before byte 9\) is 47, outside the vocabulary of 47'
bad_ids '[1, 99999999999999999999]' 'id number 2 .* outside the vocabulary'
bad_ids '[1, -2]' 'byte 4: "-" is not expected among ids'
bad_ids '[1.5]' 'byte 2: "\." is not expected'
bad_ids '[[1]]' 'byte 1: "\[" is not expected'
bad_ids '1]' 'byte 1: "]" is not expected'
bad_ids '1[2]' 'byte 1: "\[" is not expected'
bad_ids '[1, 2' 'ends after 5 bytes inside of an array'
bad_ids '[1,]' 'byte 3: "\]" is not expected among ids, which are JSON here: arrays of whole numbers'
bad_ids '[,1]' 'byte 1: "," is not expected'
bad_ids '[1,,2]' 'byte 3: "," is not expected'
bad_ids '[1 2]' 'byte 3: "2" is not expected'
bad_ids '[01]' 'byte 2: "1" is not expected'
bad_ids '[1], [2]' 'byte 3: "," is not expected'
bad_ids '[1] 2' 'byte 4: "2" is not expected'
bad_ids '1 [2]' 'byte 2: "\[" is not expected'
bad_ids '1, 2' 'byte 1: "," is not expected among ids, which are JSON arrays, or whole numbers with white space between'
bad_ids '1 \0' 'byte 2: "\\x00" is not expected'
# Offsets are bytes; the special tokens are the file's.
printf 'caf\xc3\xa9 b\nx' | tokenize "$golden/char" --json --lines --full > "$work/full" 2> "$work/out" && fail "an unknown character is told"
printf 'First\n\nany' | tokenize "$golden/char" --json --lines --full > "$work/full"
sed -n 1p "$work/full" | grep -q '"tokens": \["F", "i", "r", "s", "t"\], "offsets": \[\[0, 1\], \[1, 2\], \[2, 3\], \[3, 4\], \[4, 5\]\], "type_ids": \[0, 0, 0, 0, 0\]' || fail "tokens and offsets: $(cat "$work/full")"
[ "$(sed -n 2p "$work/full")" = '{"ids": [], "tokens": [], "offsets": [], "type_ids": [], "special_tokens_mask": []}' ] || fail "an empty line: $(cat "$work/full")"
expect 2 '--full needs --json and --lines' "$GENET" tokenize "$golden/char" "$char" --full
expect 2 '--special needs --full' "$GENET" tokenize "$golden/char" "$char" --special
printf 'no gzip' > "$work/in.gz"
tokenize "$golden/word" "$work/in.gz" --json > "$work/out" || fail "a .gz that is none is read as it is"
gzip -c "$work/long" | head -c 2000 > "$work/in.gz"
expect 1 'in.gz: damaged gzip data: it ends in the middle' "$GENET" tokenize "$golden/word" "$work/in.gz" --json
[ -e /dev/full ] && { "$GENET" tokenize "$golden/char" "$char" > /dev/full 2> "$work/out" && fail "a full disk is no failure"; grep -q 'could not be written' "$work/out" || fail "a full disk is not told"; }
finish
