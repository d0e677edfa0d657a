# Directories of many entries: made on the host, made here, and emptied while they are read.
attach models ro
attach projects
found=$(find /mnt/models/many -maxdepth 1 -type f | sort -u | wc -l)
same "entries made on the host" "$found" "$ENTRIES"
same "entries with their attributes" "$(ls -l /mnt/models/many | grep -c entry-)" "$ENTRIES"
passed "a directory of $ENTRIES entries"
su alice -c 'mkdir /mnt/projects/many && cd /mnt/projects/many && seq 1 3000 | xargs touch'
forget_cache
same "entries made here" "$(ls /mnt/projects/many | wc -l)" 3000
su alice -c 'rm -r /mnt/projects/many'
[ ! -e /mnt/projects/many ] || fail "directory still there"
passed "3000 entries made, listed and removed"
