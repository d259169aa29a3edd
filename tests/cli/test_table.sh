# labels: core
# test_table.sh - networks for tables: the first regression example's known
# answer, columns of every kind, classification, resume, bad tables.
. "$(dirname "$0")/common.sh"
cd "$work"
printf 'x,y\n1,2\n2,4\n3,6\n' > line.csv
line="--hidden-layer-sizes= --init zeros --optimizer sgd --learning-rate 0.1 --lr-schedule constant --batch-size 0 --threads 1"

# known answer 13: loss 18.6666667, 0.2962963, 0.0733761; w, b: 1.8666667 0.8, 1.6711111 0.6933333, 1.7007407 0.6862222
"$GENET" train mlp --data line.csv --target y --out line $line --max-steps 3 --log-steps 1 2> /dev/null > /dev/null || fail "line"
losses=$(sed -n 's/.*"loss": \([^,]*\).*/\1/p' line/training/metrics.jsonl | xargs printf '%.5f ')
[ "$losses" = "18.66667 0.29630 0.07338 " ] || fail "losses $losses"
printf 'x\n0\n1\n' > new.csv
[ "$("$GENET" predict line --data new.csv)" = "$(printf 'x,prediction\n0,0.6862222\n1,2.386963')" ] || fail "prediction of the line"
for step in 1 2; do
    "$GENET" train mlp --data line.csv --target y --out line$step $line --max-steps $step > /dev/null 2>&1
    "$GENET" predict line$step --data new.csv | tail -2 | cut -d, -f2 | xargs >> answers
done
[ "$(cat answers)" = "$(printf '0.8 2.666667\n0.6933333 2.364444')" ] || fail "weights on the way: $(cat answers)"

# --- numbers, text, missing cells, quotes; regression with a split
awk 'BEGIN { print "size,colour,\"weight, kg\",price"
             for (i = 0; i < 200; i++) { c = i % 3 == 0 ? "red" : i % 3 == 1 ? "\"deep, blue\"" : "green"
                 printf "%s,%s,%s,%s\n", i % 17 == 5 ? "" : i % 10, c, i % 7, 3 * (i % 10) + (c == "red" ? 5 : 0) - i % 7 } }' > shop.csv
expect 0 'val_loss' "$GENET" train mlp --data shop.csv --target price --out shop --hidden-layer-sizes 16 --standardize \
    --max-steps 300 --learning-rate 1e-2 --eval-steps 100 --threads 1
[ "$("$GENET" predict shop --data shop.csv | head -1)" = 'size,colour,"weight, kg",price,prediction' ] || fail "header"
printf '"weight, kg",note,size,colour\n3,"a ""note""",4,red\n3,,,purple\n' > other.csv
expect 0 '^3,"a ""note""",4,red,1[0-9.]*$' "$GENET" predict shop --data other.csv
[ "$(wc -l < out)" -eq 3 ] || fail "a row a row"
printf 'size,colour\n1,red\n' > less.csv
expect 2 'weight, kg' "$GENET" predict shop --data less.csv
printf 'size,colour,"weight, kg"\nbig,red,1\n' > wrong.csv
expect 1 'wrong.csv: line 2, column "size": "big" is not a number' "$GENET" predict shop --data wrong.csv

# --- classification, by text and by number
awk 'BEGIN { print "a,b,kind,code"; for (i = 0; i < 120; i++) { k = i % 3
             printf "%d,%.2f,%s,%d\n", k * 4 + i % 2, (i % 5) / 5, k == 0 ? "low" : k == 1 ? "mid" : "high", 10 * k } }' > kinds.csv
expect 0 'accuracy 1.0' "$GENET" train mlp --data kinds.csv --target kind --ignore code --out kinds --max-steps 400 \
    --learning-rate 1e-2 --eval-steps 0 --standardize --threads 1
printf 'a,b\n0,0.2\n4,0.4\n9,0.1\n' > three.csv
[ "$("$GENET" predict kinds --data three.csv | cut -d, -f3 | xargs)" = "prediction low mid high" ] || fail "classes"
expect 0 'accuracy' "$GENET" train mlp --data kinds.csv --target code --task classification --ignore kind --out codes \
    --max-steps 400 --learning-rate 1e-2 --standardize --threads 1
[ "$("$GENET" predict codes --data three.csv | cut -d, -f3 | xargs)" = "prediction 0 10 20" ] || fail "classes that are numbers"

# --- the same bits however it is run; a resumed run on a changed table is refused
common="--data shop.csv --target price --hidden-layer-sizes 8,8 --max-steps 30 --save-steps 10 --eval-steps 5 --keep last"
"$GENET" train mlp $common --out a --threads 1 > /dev/null 2>&1
"$GENET" train mlp $common --out b --threads 2 > /dev/null 2>&1
"$GENET" train mlp $common --out c --max-steps 10 --lr-schedule constant > /dev/null 2>&1
"$GENET" train mlp $common --out d --lr-schedule constant > /dev/null 2>&1
"$GENET" train mlp --out c --resume --max-steps 30 > /dev/null 2>&1
same a/model.safetensors b/model.safetensors
same c/model.safetensors d/model.safetensors
echo "1,red,1,1" >> shop.csv
expect 2 'not the table this run was trained on' "$GENET" train mlp --out a --resume --max-steps 40

# --- rows without a target are left out; spaces and unknown names in --ignore
printf 'x,y\n1,2\n2,\n3,6\n4,8\n5,NA\n6,?\n' > holes.csv
expect 0 '3 rows without y are left out' "$GENET" train mlp --data holes.csv --target y --out holes --max-steps 2 --val-fraction 0
grep -q '3 rows for training' holes/README.md || fail "rows without a target were learnt"
printf 'x,y,z\n1,a,1\n2,,1\n3,b,1\n4,a,1\n5,null,1\n' > kind_holes.csv
expect 0 '2 rows without y are left out' "$GENET" train mlp --data kind_holes.csv --target y --out kind_holes --ignore ' z ,' \
    --max-steps 2 --val-fraction 0
grep -q '"name": "z"' kind_holes/table.json && fail "--ignore with spaces"
expect 2 '--ignore: .*no column "zz"; did you mean "z"' "$GENET" train mlp --data kind_holes.csv --target y --out bad --ignore zz

# --- text stays text whatever a new table holds; numbers beyond f32
printf 'code,x,y\nA,1,1\nB,2,2\n1,3,9\nC,4,3\n' > mixed.csv
expect 0 '' "$GENET" train mlp --data mixed.csv --target y --out mixed --max-steps 50 --learning-rate 1e-2 --val-fraction 0 --threads 1
printf 'code,x,note\n1,3,1\n1,3,2\n1,3,3\n' > ones.csv
printf 'code,x,note\n1,3,1\n1,3,2\nA,3,q\n' > one_a.csv
expect 0 '' "$GENET" predict mixed --data ones.csv; sed -n 2p out > one
expect 0 '' "$GENET" predict mixed --data one_a.csv; sed -n 2p out > two
same one two
printf 'code,x\nA,1\nA,1e39\n' > large.csv
expect 1 'large.csv: line 3, column "x": "1e39" is too large' "$GENET" predict mixed --data large.csv
printf 'code,x\nA,3e38\n' > edge.csv
"$GENET" predict mixed --data edge.csv 2> /dev/null | grep -Eq 'nan|inf' && fail "predict printed a number that is none"
expect 2 'one table' "$GENET" predict mixed --data ones.csv one_a.csv
cp -r mixed odd; sed -i 's/"regression"/"guessing"/' odd/table.json
expect 1 'neither regression nor classification' "$GENET" predict odd --data ones.csv
cp -r mixed odd2; sed -i 's/"type": "text"/"type": "words"/' odd2/table.json
expect 1 'neither text nor number' "$GENET" predict odd2 --data ones.csv

# --- bad tables
mlp() { "$GENET" train mlp --out bad "$@"; }
expect 2 '--target COLUMN is missing' mlp --data line.csv
printf 'x,y\n1,2\n1e39,3\n' > large.csv; expect 1 'line 3, column "x"' mlp --data large.csv --target y
expect 1 'line 3, column "x"' mlp --data large.csv --target x --val-fraction 0
expect 2 'one table' mlp --data line.csv shop.csv --target y
expect 1 'nosuch.csv' mlp --data nosuch.csv --target y
expect 2 'price' mlp --data shop.csv --target prize
expect 2 'regression needs a column of numbers' mlp --data shop.csv --target colour --task regression
expect 2 'no column to predict' mlp --data line.csv --target y --ignore x
: > empty.csv; expect 1 'empty' mlp --data empty.csv --target y
printf 'x,y\n' > head.csv; expect 1 'no rows' mlp --data head.csv --target y
printf 'x,y\n1,2\n1,2,3\n' > ragged.csv; expect 1 'ragged.csv' mlp --data ragged.csv --target y
printf 'x,y\n1,2\n2,2\n' > one.csv; expect 2 'same value' mlp --data one.csv --target y --task classification
[ -e bad ] && fail "a run that could not begin left a folder behind"
echo '{' > line/table.json; expect 1 'table.json' "$GENET" predict line --data new.csv
rm line/table.json; expect 1 'table.json' "$GENET" predict line --data new.csv
expect 2 'reads no text' "$GENET" eval line2 --data new.csv
finish
