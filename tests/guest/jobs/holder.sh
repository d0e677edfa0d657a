# Holds a lock until the host says so; another guest waits for it.
attach projects
cd /mnt/projects
su alice -c 'touch waited && chmod 0666 waited'
exec 5<> waited
flock -x 5
echo lock-held
waited=0
until [ -e let-go ]; do
    sleep 0.5
    waited=$((waited + 1))
    [ "$waited" -lt 400 ] || fail "the host never said to let go"
    ls > /dev/null
done
flock -u 5
echo lock-let-go
passed "a lock was held for another machine"
