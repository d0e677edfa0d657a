# Holds a lock until the host says so; another guest waits for it.
attach projects
cd /mnt/projects
su alice -c 'touch waited && chmod 0666 waited'
exec 5<> waited
flock -x 5
echo lock-held
until_told let-go 400
flock -u 5
echo lock-let-go
passed "a lock was held for another machine"
