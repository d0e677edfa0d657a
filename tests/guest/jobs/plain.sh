# What a person types: no version, one port. Then what only minor version 2 has.
mkdir -p /mnt/projects
mount.nfs 10.0.2.2:/projects /mnt/projects -o "proto=tcp,port=$PORT,nconnect=8,hard,noatime"
grep -q " /mnt/projects nfs4 .*vers=4.2" /proc/mounts || fail "not mounted by version 4.2"
passed "mounted by version 4.2 without being told to"
cd /mnt/projects
su alice -c 'dd if=/dev/urandom of=source bs=64k count=32 2> /dev/null'
su alice -c '/usr/bin/cp source copy'
forget_cache
same "the copy" "$(sha256sum < copy)" "$(sha256sum < source)"
passed "copied"
su alice -c '/usr/bin/fallocate -l 8M room'
same "length of what was allocated" "$(stat -c %s room)" 8388608
su alice -c '/usr/bin/fallocate -p -o 65536 -l 65536 copy'
forget_cache
same "what is in the hole" "$(dd if=copy bs=64k skip=1 count=1 2> /dev/null | tr -d '\0' | wc -c)" 0
same "what is behind it" "$(dd if=copy bs=64k skip=2 2> /dev/null | sha256sum)" \
    "$(dd if=source bs=64k skip=2 2> /dev/null | sha256sum)"
passed "allocated and punched"
su alice -c 'chmod 0666 room'
exec 5<> room
flock -x 5
if flock -n -x room true; then fail "somebody else got the lock"; fi
exec 5>&-
flock -n -x room true || fail "the lock was not given back"
passed "locked and unlocked"
cd /
umount /mnt/projects
