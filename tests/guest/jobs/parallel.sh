# Several writers and readers at once, then everything again from the server.
attach models ro
attach projects nconnect=4
dd if=/mnt/models/large.bin of=/tmp/source bs=1M count=16 2> /dev/null
wanted=$(sha256sum < /tmp/source)
for index in 1 2 3 4; do
    dd if=/tmp/source of=/mnt/projects/parallel-$index bs=64k conv=fsync 2> /dev/null &
done
wait
forget_cache
for index in 1 2 3 4; do
    (sha256sum < /mnt/projects/parallel-$index > /tmp/sum-$index) &
    dd if=/mnt/models/large.bin of=/dev/null bs=1M 2> /dev/null &
done
wait
for index in 1 2 3 4; do
    same "checksum of writer $index" "$(cat /tmp/sum-$index)" "$wanted"
done
passed "four writers and eight readers"
dd if=/tmp/source of=/mnt/projects/shared bs=1M 2> /dev/null
for index in 0 1 2 3; do
    dd if=/tmp/source of=/mnt/projects/shared bs=1M skip=$((index * 4)) seek=$((index * 4)) \
        count=4 conv=notrunc,fsync 2> /dev/null &
done
wait
forget_cache
same "checksum of the shared file" "$(sha256sum < /mnt/projects/shared)" "$wanted"
passed "four writers in one file"
