# A published model, read by the kernel's client: as a tag, as a revision and as the hub's cache.
# SUMS has lines of sha256sum; REVISION is the revision's id.
attach models
attach hub

check() {
    cd "$1"
    printf '%s\n' "$SUMS" | sha256sum -c > /tmp/said 2>&1 || fail "$1: $(cat /tmp/said)"
    same "files below $1" "$(find . -type f | wc -l)" "$(printf '%s\n' "$SUMS" | wc -l)"
    cd /
}

snapshot=/mnt/hub/models--acme--tiny-llama/snapshots/$REVISION
check /mnt/models/acme/tiny-llama/main
check "/mnt/models/acme/tiny-llama/$REVISION"
check "$snapshot"
forget_cache
check "$snapshot"
passed "every file has its hash, cold and warm, through both volumes"

same "the reference" "$(cat /mnt/hub/models--acme--tiny-llama/refs/main)" "$REVISION"
grep -q '"format_version":1' "/mnt/hub/models--acme--tiny-llama/trees/$REVISION.json" ||
    fail "no tree beside the snapshot"
[ ! -e /mnt/models/.towline ] || fail "the inside of the store is seen"
same "the mode" "$(stat -c %a "$snapshot/config.json")" 444
passed "the hub's layout"

main=/mnt/models/acme/tiny-llama/main
for change in "echo x > $main/config.json" "echo x >> $main/new" "rm $main/config.json" \
    "mv $main/config.json $main/other" "mkdir $main/sub" "ln $main/config.json $main/link" \
    "chmod 644 $main/config.json" "rm $snapshot/config.json" "echo x > /mnt/models/new"; do
    if text=$(sh -c "$change" 2>&1); then
        fail "succeeded: $change"
    fi
    # Where the mode alone forbids it to a squashed root, the client asks no further.
    case $text in
        *"Read-only file system"*) echo "EROFS: $change" ;;
        *"Permission denied"*) echo "EACCES: $change" ;;
        *) fail "'$change' said '$text'" ;;
    esac
done
check "$main"
passed "nothing can be changed"
