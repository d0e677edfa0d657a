# HTTPS where the kernel has TLS: curl fetches and stores under both versions, and the node says that
# the kernel encrypts. Beside it lie towline, its certificate and its configuration.
# The ciphers lie in modules too, which a whole system loads by itself.
for module in tls ctr gcm ghash_generic aesni_intel; do modprobe "$module"; done
mkdir -p /tmp/data/projects
chmod 1777 /tmp/data/projects
dd if=/dev/urandom of=/tmp/data/projects/big bs=1024 count=9001 2>/dev/null
chmod 644 /tmp/data/projects/big
./towline up --config ./node.toml > /tmp/node.log 2>&1 &
node=$!
ready=no
for _ in $(seq 100); do
    if curl -s http://127.0.0.1:8420/healthz > /dev/null; then ready=yes; break; fi
    sleep 0.2
done
[ "$ready" = yes ] || { cat /tmp/node.log; exit 1; }
secure() { curl --silent --show-error --fail --cacert ./node.pem --max-time 100 "$@"; }
for version in "--tls-max 1.2" "--tlsv1.3"; do
    secure $version https://localhost:8443/files/projects/big -o /tmp/got
    cmp /tmp/got /tmp/data/projects/big
    secure $version --range 16000-70000 https://localhost:8443/files/projects/big -o /tmp/part
    dd if=/tmp/data/projects/big bs=1 skip=16000 count=54001 2>/dev/null | cmp - /tmp/part
    secure $version -T /tmp/got https://localhost:8443/files/projects/up
    cmp /tmp/got /tmp/data/projects/up
    # What the control plane answers, and many requests over one connection.
    secure $version https://localhost:8443/healthz
    secure $version https://localhost:8443/files/projects/big -o /dev/null \
        https://localhost:8443/files/projects/big -o /dev/null
done
curl -s http://127.0.0.1:8420/metrics | grep '^towline_tls_'
kill "$node"
