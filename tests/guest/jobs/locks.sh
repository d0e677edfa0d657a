# Locks: between programs, over a restart of the node (the host kills it), and after it.
attach projects
cd /mnt/projects
su alice -c 'echo first > locked && chmod 0666 locked'
exec 5<> locked
flock -x 5
echo lock-held
if flock -n -x locked true; then fail "somebody else got the lock"; fi
passed "a lock keeps others out"

# The host kills and restarts the node, then makes this name.
until_told go-on 240
echo second >&5
if flock -n -x locked true; then fail "the lock did not outlive the restart"; fi
echo lock-kept
until_told looked 240
flock -u 5
flock -n -x locked true || fail "the lock was not given back"
exec 5>&-
forget_cache
same "what was written under the lock" "$(tail -1 locked)" second
passed "the lock outlived the restart and was given back"
