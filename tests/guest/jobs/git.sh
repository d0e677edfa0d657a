# A clone from the read-only volume into the read-write one, and a check of every object.
attach models ro
attach projects
su alice -c 'git clone --quiet /mnt/models/repository.git /mnt/projects/clone'
forget_cache
cd /mnt/projects/clone
su alice -c 'git fsck --full --strict'
same "files" "$(su alice -c 'git ls-files' | wc -l)" "$FILES"
same "changes" "$(su alice -c 'git status --porcelain' | wc -l)" 0
passed "clone, fsck and status of $FILES files"
su alice -c 'echo change >> file-1.txt && git commit --quiet -a -m change && git fsck'
passed "commit"
