# A value as a JSON string.
quote() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# One value of the report.
value() {
    printf '"%s":%s,' "$1" "$(quote "$2")"
}

check() {
    ping9000=''
    if [ -n "$PEER" ]; then
        # 8972 octets of payload and 28 of headers are 9000.
        if ping_unfragmented 8972 "$PEER" >/dev/null 2>&1; then ping9000=True; else ping9000=False; fi
    fi
    printf '{"format":1,"system":"%s","host":%s,"link":%s,"values":{' \
        "$SYSTEM" "$(quote "$(uname -n)")" "$(quote "$link")"
    values
    printf '"ping_9000":%s}}\n' "$(quote "$ping9000")"
}

# The old values are on the disk before the first change. A file is never overwritten, so running
# apply twice does not lose the first state.
apply() {
    mkdir -p "$FOLDER"
    file="$FOLDER/$(date +%Y%m%d%H%M%S).old"
    if [ -e "$file" ]; then
        echo "$file exists: wait a second and run it again" >&2
        exit 2
    fi
    old_values >"$file"
    sync
    echo "old values are in $file"
    change
}

revert() {
    found=no
    # Newest first, so that the oldest values are written last.
    list=$(find "$FOLDER" -name '*.old' -exec basename {} \; 2>/dev/null | sort -r)
    for name in $list; do
        found=yes
        while read -r kind key value; do
            put_back "$kind" "$key" "$value"
            echo "$key -> $value"
        done <"$FOLDER/$name"
        mv "$FOLDER/$name" "$FOLDER/$name.reverted"
    done
    if [ "$found" = no ]; then
        echo 'nothing stands that could be taken back'
    fi
}

case $mode in
check) check ;;
apply) apply ;;
revert) revert ;;
*)
    echo 'usage: towline-tune.sh check|apply|revert [IF]' >&2
    exit 64
    ;;
esac
