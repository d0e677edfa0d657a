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
FOLDER=${TOWLINE_TUNE_FOLDER:-/var/lib/towline/tune-script}
WINDOW=16777216
KEYS='net.ipv4.tcp_sack net.ipv4.tcp_timestamps net.ipv4.tcp_window_scaling net.ipv4.tcp_rmem net.ipv4.tcp_wmem'

mode=${1:-check}
link=${2:-}

if [ -z "$link" ]; then
    link=$(ip -o route get "${PEER:-1.1.1.1}" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p')
fi

# A value as a JSON string.
quote() {
    printf '"%s"' "$(printf '%s' "$1" | tr '\n\t' '  ' | sed 's/\\/\\\\/g; s/"/\\"/g')"
}

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

check() {
    ping9000=''
    if [ -n "$PEER" ]; then
        # 8972 octets of payload and 28 of headers are 9000.
        if ping -c 1 -W 2 -M 'do' -s 8972 "$PEER" >/dev/null 2>&1; then ping9000=True; else ping9000=False; fi
    fi
    printf '{"format":1,"system":"linux","host":%s,"link":%s,"values":{' "$(quote "$(uname -n)")" "$(quote "$link")"
    printf '"mtu":%s,' "$(quote "$(cat "/sys/class/net/$link/mtu" 2>/dev/null || true)")"
    printf '"speed_mbit":%s,' "$(quote "$(cat "/sys/class/net/$link/speed" 2>/dev/null || true)")"
    printf '"gro":%s,' "$(quote "$(offload generic-receive-offload)")"
    printf '"tso":%s,' "$(quote "$(offload tcp-segmentation-offload)")"
    for key in $KEYS; do
        printf '"%s":%s,' "$key" "$(quote "$(read_key "$key")")"
    done
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
        printf 'offload gro %s\n' "$(offload generic-receive-offload)"
        printf 'offload tso %s\n' "$(offload tcp-segmentation-offload)"
        for key in $KEYS; do
            printf 'sysctl %s %s\n' "$key" "$(read_key "$key")"
        done
    } >"$file"
    sync
    echo "old values are in $file"
    if [ "$(offload generic-receive-offload)" = off ]; then ethtool -K "$link" gro on; fi
    if [ "$(offload tcp-segmentation-offload)" = off ]; then ethtool -K "$link" tso on; fi
    for key in net.ipv4.tcp_sack net.ipv4.tcp_timestamps net.ipv4.tcp_window_scaling; do
        if [ "$(read_key "$key")" = 0 ]; then put "$key" 1; fi
    done
    for key in net.ipv4.tcp_rmem net.ipv4.tcp_wmem; do
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

revert() {
    found=no
    # Newest first, so that the oldest values are written last.
    list=$(find "$FOLDER" -name '*.old' 2>/dev/null | sort -r)
    for file in $list; do
        found=yes
        while read -r kind key value; do
            case $kind in
            offload) if [ -n "$value" ]; then ethtool -K "$link" "$key" "$value"; fi ;;
            sysctl) put "$key" "$value" ;;
            esac
        done <"$file"
        mv "$file" "$file.reverted"
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
