# Names, links, times and open files, as the kernel's client shows them.
attach models
attach projects
attach cache

for volume in models projects cache; do
    kilobytes=$(df -k "/mnt/$volume" | tail -1 | awk '{print $2}')
    [ "$kilobytes" -gt 0 ] || fail "df of $volume: $kilobytes"
done
passed "three volumes mounted, df answers"

cd /mnt/projects
same "file made on the host" "$(cat /mnt/models/hello.txt)" "hello from the host"

su alice -c 'mkdir work && echo old > work/a && echo new > work/b'
exec 3< work/a
su alice -c 'mv work/b work/a'
same "the open file after a rename over it" "$(cat <&3)" old
exec 3<&-
same "the name after the rename" "$(cat work/a)" new
passed "rename over an open file"

chmod 0777 /mnt/projects/work 2> /dev/null || su alice -c 'chmod 0777 /mnt/projects/work'
su alice -c 'echo kept > work/silly && chmod 0666 work/silly'
exec 4<> work/silly
rm -f work/silly || su alice -c 'rm work/silly'
[ ! -e work/silly ] || fail "removed name still there"
[ "$(ls -a work | grep -c '^\.nfs')" = 1 ] || fail "no silly name while the file is open"
same "the removed but open file" "$(cat <&4)" kept
exec 4>&-
[ "$(ls -a work | grep -c '^\.nfs')" = 0 ] || fail "silly name left behind"
passed "silly rename"

su alice -c 'ln work/a work/hard && ln -s a work/soft && mkfifo work/pipe'
same "links" "$(stat -c %h work/a)" 2
same "symbolic link" "$(readlink work/soft)" a
same "through the symbolic link" "$(cat work/soft)" new
[ -p work/pipe ] || fail "no fifo"
passed "hard link, symbolic link, fifo"

su alice -c 'touch -d "2001-02-03 04:05:06" work/a && chmod 0640 work/a'
same "modification time" "$(stat -c %Y work/a)" "$(date -d '2001-02-03 04:05:06' +%s)"
same "mode" "$(stat -c %a work/a)" 640
su alice -c 'truncate -s 1000000 work/sparse && truncate -s 10 work/sparse'
same "length after truncation" "$(stat -c %s work/sparse)" 10
passed "times, modes, lengths"

long=$(printf 'n%.0s' $(seq 255))
su alice -c "touch work/$long"
[ -e "work/$long" ] || fail "a name of 255 bytes is lost"
refused "File name too long" "touch work/x$long"
su alice -c 'touch "work/naïve ☃ name"'
forget_cache
same "bytes of a foreign name" "$(echo work/na*name)" "work/naïve ☃ name"
passed "long and foreign names"

su alice -c 'set -C; echo one > work/exclusive'
refused "File exists" "su alice -c 'set -C; echo two > work/exclusive'"
same "exclusive create" "$(cat work/exclusive)" one
refused "Directory not empty" "su alice -c 'rmdir work'"
refused "No such file" "cat work/missing"
refused "Not a directory" "ls work/exclusive/below"
passed "errors are the right ones"
