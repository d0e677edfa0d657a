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
SYSTEM=macos
FOLDER=${TOWLINE_TUNE_FOLDER:-/Library/Application Support/towline/tune}
BUFFER=8388608
WINDOW=16777216
BUFFERS='kern.ipc.maxsockbuf net.inet.tcp.autorcvbufmax net.inet.tcp.autosndbufmax'

mode=${1:-check}
link=${2:-}

if [ -z "$link" ] && [ -n "$PEER" ]; then
    link=$(route -n get "$PEER" 2>/dev/null | awk '/interface:/ { print $2 }')
fi
if [ -z "$link" ]; then
    link=$(route -n get default 2>/dev/null | awk '/interface:/ { print $2 }')
fi

mtu_of() {
    ifconfig "$1" 2>/dev/null | awk '/ mtu / { for (i = 1; i < NF; i++) if ($i == "mtu") print $(i + 1); exit }'
}

number() {
    sysctl -n "$1" 2>/dev/null || printf ''
}

ping_unfragmented() {
    ping -c 1 -t 2 -D -s "$1" "$2"
}

values() {
    value mtu "$(mtu_of "$link")"
    value bridge_members "$(ifconfig bridge0 2>/dev/null | awk '/member:/ { printf "%s ", $2 }')"
    value bridge_mtu "$(mtu_of bridge0)"
    value service_order "$(networksetup -listnetworkserviceorder 2>/dev/null |
        awk -F'[()]' '/^\([0-9]/ { sub(/^ /, "", $3); printf "%s;", $3 }')"
    value maxsockbuf "$(number kern.ipc.maxsockbuf)"
    value autorcvbufmax "$(number net.inet.tcp.autorcvbufmax)"
    value autosndbufmax "$(number net.inet.tcp.autosndbufmax)"
    value nfs_mounts "$(nfsstat -m 2>/dev/null | tr '\n' ' ')"
    value nfs_conf "$(grep -s '^nfs.client' /etc/nfs.conf || true)"
}

# The bridge and all its members have one MTU, so all of them are stored and changed together.
links() {
    printf '%s\n' "$link"
    case $link in
    bridge*) ifconfig "$link" 2>/dev/null | awk '/member:/ { print $2 }' ;;
    esac
}

old_values() {
    for one in $(links); do
        printf 'mtu %s %s\n' "$one" "$(mtu_of "$one")"
    done
    for key in $BUFFERS; do
        printf 'sysctl %s %s\n' "$key" "$(number "$key")"
    done
}

change() {
    raise kern.ipc.maxsockbuf "$BUFFER"
    raise net.inet.tcp.autorcvbufmax "$WINDOW"
    raise net.inet.tcp.autosndbufmax "$WINDOW"
    # Members before the bridge on them.
    for one in $(links | sort -r); do
        if [ "$(mtu_of "$one")" != 9000 ]; then
            echo "$one mtu 9000"
            set_mtu "$one" 9000 || echo "$one does not take MTU 9000" >&2
        fi
    done
}

# networksetup keeps the value over a restart, but does not know every interface.
set_mtu() {
    networksetup -setMTU "$1" "$2" 2>/dev/null || ifconfig "$1" mtu "$2"
}

# Never lowers what is larger already.
raise() {
    now=$(number "$1")
    if [ -n "$now" ] && [ "$now" -lt "$2" ]; then
        echo "$1 $now -> $2"
        sysctl -w "$1=$2" >/dev/null
    fi
}

put_back() {
    case $1 in
    mtu) if [ -n "$3" ]; then set_mtu "$2" "$3"; fi ;;
    sysctl) if [ -n "$3" ]; then sysctl -w "$2=$3" >/dev/null; fi ;;
    esac
}

@SHARED@
