# Waits for a lock that another guest holds.
attach projects
cd /mnt/projects
exec 5<> waited
echo lock-awaited
flock -x 5
echo lock-got
passed "a lock was waited for"
