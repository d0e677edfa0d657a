# Shared by the guest's jobs. PORT is the server's NFS port on the host's loopback; MOUNT listens
# there too unless MOUNT_PORT says otherwise. VERS is the version of NFS, 3 unless said otherwise.
set -eu
: "${VERS:=3}"
if [ "$VERS" != 3 ]; then
    modprobe nfsv4
    # Two clients of one name are one client to a server (RFC 8881 section 2.4).
    hostname "${NAME:-guest}"
fi

fail() {
    echo "FAIL: $*"
    exit 1
}

# attach VOLUME [OPTIONS]: mounts a volume under its own name.
attach() {
    mkdir -p "/mnt/$1"
    case $VERS in
        3) ports="mountport=${MOUNT_PORT:-$PORT},mountproto=tcp,nolock" kind=nfs ;;
        *) ports=proto=tcp kind=nfs4 ;;
    esac
    mount.nfs "10.0.2.2:/$1" "/mnt/$1" \
        -o "vers=$VERS,proto=tcp,port=$PORT,$ports,hard,${2:-rw}"
    grep -q " /mnt/$1 $kind " /proc/mounts || fail "$1 is not mounted by version $VERS"
}

# refused MESSAGE COMMAND: the command must fail and say so in these words.
refused() {
    wanted=$1
    if text=$(sh -c "$2" 2>&1); then
        fail "succeeded, wanted '$wanted': $2"
    fi
    case $text in
        *"$wanted"*) ;;
        *) fail "'$2' said '$text', wanted '$wanted'" ;;
    esac
}

# same WHAT GOT WANTED
same() {
    [ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
}

forget_cache() {
    sync
    echo 3 > /proc/sys/vm/drop_caches
}

# until_told NAME TRIES: waits until the host has made this name, looking twice a second.
until_told() {
    waited=0
    until [ -e "$1" ]; do
        sleep 0.5
        waited=$((waited + 1))
        [ "$waited" -lt "$2" ] || fail "the host never made $1"
        # A name that was not there is remembered for a while.
        ls "$(dirname "$1")" > /dev/null
    done
}

passed() {
    echo "ok: $*"
}
