# Links that only a whole kernel makes: a VLAN over a bond, a bridge with a port that is too small,
# fq under bbr. TOWLINE is the program; what it prints goes between lines of @@ to the test.
ip=/usr/bin/ip
# A veth has no speed of its own: these pretend to be cables.
export TOWLINE_LINK_SPEED=10G
for module in bonding 8021q bridge veth sch_fq tcp_bbr; do modprobe "$module" || true; done
mount -t tmpfs tmpfs /var/lib 2>/dev/null || mkdir -p /var/lib

report() {
    echo "@@ $1"
    shift
    ./towline tune check --json "$@" || [ $? = 1 ]
    echo
}

# Two cables, both into one bond; their other ends stay loose.
$ip link add lag0 type bond mode 802.3ad xmit_hash_policy layer3+4 miimon 100
for number in 1 2; do
    $ip link add "port$number" type veth peer name "loose$number"
    $ip link set "port$number" master lag0
    $ip link set "loose$number" up
done
$ip link set lag0 up
$ip link add link lag0 name lag0.100 type vlan id 100
$ip addr add 10.99.0.1/24 dev lag0.100
$ip link set lag0.100 up
report vlan --interface lag0.100

# A member that is smaller than what lies on it.
$ip link set port2 mtu 1400
report small-member --interface lag0.100
echo "@@ repair"
./towline tune apply link.mtu_vlan_bridge --interface lag0.100 --yes --runtime-only --json
./towline tune confirm
echo "@@ repaired"
$ip -o link show port2
./towline tune revert
$ip -o link show port2
$ip link set port2 mtu 1500

$ip link add br0 type bridge
$ip link add port3 type veth peer name loose3
$ip link set port3 master br0
$ip addr add 10.98.0.1/24 dev br0
for link in port3 loose3 br0; do $ip link set "$link" up; done
report bridge --interface br0

echo bbr > /proc/sys/net/ipv4/tcp_congestion_control
report without-fq --interface eth0
/usr/bin/tc qdisc replace dev eth0 root fq
report with-fq --interface eth0
echo "@@ end"
