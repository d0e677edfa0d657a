# Random reads, writes, truncations and mappings, each compared with what must be there.
attach projects
attach cache
su alice -c "fsx -q -N $OPERATIONS -S $SEED -P /tmp /mnt/projects/fsx.dat"
passed "fsx, $OPERATIONS operations, seed $SEED, on projects"
su alice -c "fsx -q -N 2000 -S $SEED -P /tmp /mnt/cache/fsx.dat"
passed "fsx on cache"
