# A published model's file: opened again without a call, and another one when its tag moves.
attach models
attach projects
file=/mnt/models/acme/tiny-llama/main/config.json
first=$(cat "$file")
echo read-once

until_told /mnt/projects/again 240
for _ in 1 2 3 4 5; do
    same "the file again" "$(cat "$file")" "$first"
done
echo read-again

until_told /mnt/projects/moved 240
waited=0
until [ "$(cat "$file")" != "$first" ]; do
    sleep 0.5
    waited=$((waited + 1))
    [ "$waited" -lt 120 ] || fail "the new revision was never seen"
done
grep -q '"moved"' "$file" || fail "neither the old nor the new one"
passed "a model's file was opened without calls, and its tag's move was seen"
