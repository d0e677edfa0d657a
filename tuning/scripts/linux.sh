#!/bin/sh
# towline: checks, tunes and untunes a Linux machine that has no towline.
#
#   sh towline-tune.sh check [IF]           prints JSON and changes nothing
#   sudo sh towline-tune.sh apply [IF]      stores the old values, then changes
#   sudo sh towline-tune.sh revert          puts the stored values back
#
# Give the JSON to a machine that has towline: `towline tune import FILE`.
# Changes hold until the next restart; `towline tune apply` keeps them and checks far more.
# `ping -s 8000` proves 8028 only; MTU 9000 needs `ping -M do -s 8972`.
set -eu

PEER='@PEER@'
SYSTEM=linux
FOLDER=${TOWLINE_TUNE_FOLDER:-/var/lib/towline/tune-script}
WINDOW=16777216
FLAGS='net.ipv4.tcp_sack net.ipv4.tcp_timestamps net.ipv4.tcp_window_scaling'
WINDOWS='net.ipv4.tcp_rmem net.ipv4.tcp_wmem'

mode=${1:-check}
link=${2:-}

if [ -z "$link" ]; then
    link=$(ip -o route get "${PEER:-1.1.1.1}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
fi

path_of() {
    printf '/proc/sys/%s' "$(printf '%s' "$1" | tr . /)"
}

read_key() {
    tr '\t' ' ' <"$(path_of "$1")" 2>/dev/null || printf ''
}

# on or off; empty where ethtool is missing or the card has no such offload.
offload() {
    ethtool -k "$link" 2>/dev/null | sed -n "s/^$1: \(on\|off\).*/\1/p"
}

ping_unfragmented() {
    ping -c 1 -W 2 -M 'do' -s "$1" "$2"
}

values() {
    value mtu "$(cat "/sys/class/net/$link/mtu" 2>/dev/null || true)"
    value speed_mbit "$(cat "/sys/class/net/$link/speed" 2>/dev/null || true)"
    value gro "$(offload generic-receive-offload)"
    value tso "$(offload tcp-segmentation-offload)"
    for key in $FLAGS $WINDOWS; do
        value "$key" "$(read_key "$key")"
    done
}

old_values() {
    printf 'offload %s/gro %s\n' "$link" "$(offload generic-receive-offload)"
    printf 'offload %s/tso %s\n' "$link" "$(offload tcp-segmentation-offload)"
    for key in $FLAGS $WINDOWS; do
        printf 'sysctl %s %s\n' "$key" "$(read_key "$key")"
    done
}

change() {
    if [ "$(offload generic-receive-offload)" = off ]; then ethtool -K "$link" gro on; fi
    if [ "$(offload tcp-segmentation-offload)" = off ]; then ethtool -K "$link" tso on; fi
    for key in $FLAGS; do
        if [ "$(read_key "$key")" = 0 ]; then put "$key" 1; fi
    done
    for key in $WINDOWS; do
        now=$(read_key "$key")
        # The third number is the most that a window may grow to; never lowered here.
        if [ "${now##* }" -lt "$WINDOW" ]; then put "$key" "${now% *} $WINDOW"; fi
    done
    echo "the MTU is left as it is: raise it on switch, this end and the other by hand"
}

put() {
    echo "$1 -> $2"
    printf '%s' "$2" >"$(path_of "$1")"
}

put_back() {
    case $1 in
    offload) if [ -n "$3" ]; then ethtool -K "${2%/*}" "${2#*/}" "$3"; fi ;;
    sysctl) printf '%s' "$3" >"$(path_of "$2")" ;;
    esac
}

@SHARED@
