# Who may do what: read-only volumes, squashed root, and the caller's own uid and groups.
attach models
attach projects

for command in 'touch /mnt/models/new' 'mkdir /mnt/models/new' 'ln -s a /mnt/models/new' \
    'rm /mnt/models/hello.txt' 'mv /mnt/models/hello.txt /mnt/models/moved'; do
    refused "Read-only file system" "$command"
done
for command in 'echo x >> /mnt/models/hello.txt' 'chmod 0777 /mnt/models/hello.txt'; do
    if sh -c "$command" 2> /dev/null; then fail "succeeded: $command"; fi
done
passed "the read-only volume refuses writes"

cd /mnt/projects
touch by-root
same "owner of root's file" "$(stat -c %u:%g by-root)" "65534:65534"
refused "Permission denied" "cat root-only"
refused "Operation not permitted" "chown 1000 by-root"
passed "root is squashed"

su alice -c 'echo mine > by-alice && chmod 0600 by-alice'
same "owner of alice's file" "$(stat -c %u:%g by-alice)" "1000:1000"
refused "Permission denied" "su bob -c 'cat by-alice'"
refused "Permission denied" "cat by-alice"
su alice -c 'cat by-alice' > /dev/null
same "alice reads what her group may" "$(su alice -c 'cat team-only')" "for the team"
refused "Permission denied" "su bob -c 'cat team-only'"
refused "Permission denied" "su bob -c 'echo x >> team-only'"
refused "Permission denied" "su alice -c 'echo x >> team-only'"
refused "Operation not permitted" "su bob -c 'chmod 0777 by-alice'"
su alice -c 'mkdir private && chmod 0700 private && touch private/inside'
refused "Permission denied" "su bob -c 'ls private'"
refused "Permission denied" "su bob -c 'touch private/new'"
passed "the kernel decides by the caller's uid and groups"

# Who may write may cut, without owning; what only the owner may do changes nothing.
su alice -c 'echo longer than that > team-writes'
su alice -c ': > team-writes'
same "size after : >" "$(stat -c %s team-writes)" "0"
su alice -c 'cp by-alice team-writes'
same "content after cp" "$(cat team-writes)" "mine"
su alice -c 'truncate -s 2 team-writes'
same "content after truncate" "$(cat team-writes)" "mi"
su alice -c 'touch team-writes'
refused "Operation not permitted" "su alice -c 'touch -d 2001-01-01 team-writes'"
refused "Permission denied" "su bob -c ': > team-writes'"
refused "Permission denied" "su bob -c 'truncate -s 0 team-writes'"
same "content after refusals" "$(cat team-writes)" "mi"
passed "whoever may write may cut, and nobody else"

su alice -c 'echo x >> sgid-plain'
same "set-gid without group-execute stays" "$(stat -c %a sgid-plain)" "2664"
su alice -c 'echo x >> sgid-program'
same "set-gid with group-execute goes" "$(stat -c %a sgid-program)" "775"
passed "a write takes away the set-id bits that the kernel takes away"
