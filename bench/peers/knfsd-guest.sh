# Runs in the guest: the kernel's NFS server on a file system in memory, then the comparison.
set -eu
# Whatever fails before the comparison means that it could not run.
trap 'exit 2' EXIT
mkdir -p /data /var/lib/nfs/v4recovery
mount -t tmpfs -o size=80% tmpfs /data
mkdir -m 0777 /data/models /data/projects /data/cache
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
# Every socket of both servers and of the client.
echo reno > /proc/sys/net/ipv4/tcp_congestion_control
modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
# The kernel would derive less from the guest's little memory than it gives on a real machine.
echo 1048576 > /proc/fs/nfsd/max_block_size
mkdir /run/rpcbind
rpcbind -i
for volume in models projects cache; do
    id=$((${id:-0} + 1))
    echo "/data/$volume 127.0.0.1(rw,async,insecure,no_subtree_check,root_squash,fsid=$id)"
done > /etc/exports
exportfs -a
rpc.nfsd --no-nfs-version 4 2
rpc.mountd --port 20048 --no-nfs-version 4
trap - EXIT
exec towline-loads peers knfsd --data /data --towline /usr/bin/towline --hot-mib 128 "$@"
