# A copy that outlives the node: the host kills and restarts it meanwhile.
attach models ro
attach projects
wanted=$(sha256sum < /mnt/models/large.bin)
echo copy-starts
su alice -c 'dd if=/mnt/models/large.bin of=/mnt/projects/copy.bin bs=1M conv=fsync'
forget_cache
same "checksum of the copy" "$(sha256sum < /mnt/projects/copy.bin)" "$wanted"
passed "the copy finished and is whole"
