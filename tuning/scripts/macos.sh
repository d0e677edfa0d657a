#!/bin/sh
# towline: checks, tunes and untunes a Mac for fast storage traffic, Thunderbolt bridge included.
#
#   sh towline-tune.sh check              prints JSON and changes nothing
#   sudo sh towline-tune.sh apply IF      stores the old values, then changes
#   sudo sh towline-tune.sh revert        puts the stored values back
#
# Give the JSON to a machine that has towline: `towline tune import FILE`.
# Cable Macs as a star or a line: a ring of three or more over the Thunderbolt bridge is a broadcast
# storm, because macOS has no loop protection there.
# `ping -s 8000` proves 8028 only; MTU 9000 needs `ping -D -s 8972`.
# sysctl values are gone after a restart: run apply again then, or keep it as a LaunchDaemon.
set -eu

PEER='@PEER@'
FOLDER='/Library/Application Support/towline/tune'
BUFFER=8388608
WINDOW=16777216

mode=${1:-check}
link=${2:-}

if [ -z "$link" ] && [ -n "$PEER" ]; then
    link=$(route -n get "$PEER" 2>/dev/null | awk '/interface:/ { print $2 }')
fi
if [ -z "$link" ]; then
    link=$(route -n get default 2>/dev/null | awk '/interface:/ { print $2 }')
fi

# A value as a JSON string.
quote() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

mtu_of() {
    ifconfig "$1" 2>/dev/null | awk '/ mtu / { for (i = 1; i < NF; i++) if ($i == "mtu") print $(i + 1); exit }'
}

number() {
    sysctl -n "$1" 2>/dev/null || printf ''
}

check() {
    members=$(ifconfig bridge0 2>/dev/null | awk '/member:/ { printf "%s ", $2 }')
    order=$(networksetup -listnetworkserviceorder 2>/dev/null | awk -F'[()]' '/^\([0-9]/ { sub(/^ /, "", $3); printf "%s;", $3 }')
    nfs=$(nfsstat -m 2>/dev/null | tr '\n' ' ')
    ping9000=''
    if [ -n "$PEER" ]; then
        # 8972 octets of payload and 28 of headers are 9000.
        if ping -c 1 -t 2 -D -s 8972 "$PEER" >/dev/null 2>&1; then ping9000=True; else ping9000=False; fi
    fi
    printf '{"format":1,"system":"macos","host":%s,"link":%s,"values":{' "$(quote "$(hostname)")" "$(quote "$link")"
    printf '"mtu":%s,' "$(quote "$(mtu_of "$link")")"
    printf '"bridge_members":%s,' "$(quote "$members")"
    printf '"bridge_mtu":%s,' "$(quote "$(mtu_of bridge0)")"
    printf '"service_order":%s,' "$(quote "$order")"
    printf '"maxsockbuf":%s,' "$(quote "$(number kern.ipc.maxsockbuf)")"
    printf '"autorcvbufmax":%s,' "$(quote "$(number net.inet.tcp.autorcvbufmax)")"
    printf '"autosndbufmax":%s,' "$(quote "$(number net.inet.tcp.autosndbufmax)")"
    printf '"nfs_mounts":%s,' "$(quote "$nfs")"
    printf '"nfs_conf":%s,' "$(quote "$(grep -s '^nfs.client' /etc/nfs.conf || true)")"
    printf '"ping_9000":%s}}\n' "$(quote "$ping9000")"
}

apply() {
    mkdir -p "$FOLDER"
    file="$FOLDER/$(date +%Y%m%d%H%M%S).old"
    if [ -e "$file" ]; then
        echo "$file exists: wait a second and run it again" >&2
        exit 2
    fi
    {
        printf 'mtu %s %s\n' "$link" "$(mtu_of "$link")"
        for key in kern.ipc.maxsockbuf net.inet.tcp.autorcvbufmax net.inet.tcp.autosndbufmax; do
            printf 'sysctl %s %s\n' "$key" "$(number "$key")"
        done
    } >"$file"
    sync
    echo "old values are in $file"
    raise kern.ipc.maxsockbuf "$BUFFER"
    raise net.inet.tcp.autorcvbufmax "$WINDOW"
    raise net.inet.tcp.autosndbufmax "$WINDOW"
    if [ "$(mtu_of "$link")" != 9000 ]; then
        echo "$link mtu 9000"
        networksetup -setMTU "$link" 9000 || echo "$link does not take MTU 9000" >&2
    fi
}

# Never lowers what is larger already.
raise() {
    now=$(number "$1")
    if [ -n "$now" ] && [ "$now" -lt "$2" ]; then
        echo "$1 $now -> $2"
        sysctl -w "$1=$2" >/dev/null
    fi
}

revert() {
    found=no
    # Newest first, so that the oldest values are written last.
    list=$(find "$FOLDER" -name '*.old' -exec basename {} \; 2>/dev/null | sort -r)
    for name in $list; do
        found=yes
        while read -r kind key value; do
            case $kind in
            mtu) networksetup -setMTU "$key" "$value" ;;
            sysctl) sysctl -w "$key=$value" >/dev/null ;;
            esac
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
