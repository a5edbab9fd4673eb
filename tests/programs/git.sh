# programs: git

# A history of 400 commits over 120 files, made the same each time.
history() {
    awk 'BEGIN {
        srand(7)
        for (c = 1; c <= 400; c++) {
            printf "commit refs/heads/main\nmark :%d\ncommitter T <t@example.org> %d +0000\ndata <<END\ncommit %d\nEND\n", c, 1600000000 + c * 60, c
            if (c > 1) printf "from :%d\n", c - 1
            for (f = 0; f < 4; f++) {
                printf "M 644 inline d%d/f%d.txt\ndata <<END\n", c % 7, (c * 31 + f * 17) % 120
                n = 20 + (c * 13 + f) % 400
                for (l = 0; l < n; l++) printf "line %d of %d: %d\n", l, f, int(rand() * 1000 * (l % 9 == c % 9))
                print "END"
            }
        }
    }'
}

prog_git() {
    need git awk
    export GIT_AUTHOR_NAME=T GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=T GIT_COMMITTER_EMAIL=t@example.org
    export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' GIT_CONFIG_NOSYSTEM=1
    under git init -q -b main origin
    cd origin
    history | under git fast-import --quiet
    under git reset -q --hard
    for i in 1 2 3 4 5 6 7 8 9 10; do
        head -c $((i * 90000)) /dev/zero | tr '\0' "$i" >big
        echo "$i" >>d1/added
        under git add -A
        under git commit -q -m "by hand $i"
    done
    under git checkout -q -b side HEAD~5
    echo side >side && under git add side && under git commit -q -m side
    under git merge -q -m merge main
    cd ..
    under git clone -q "file://$PWD/origin" clone
    cd clone
    under git -c pack.threads=2 gc -q --aggressive --prune=now
    under git fsck --full --strict --no-progress
    under git repack -q -a -d -f --depth=20 --window=20 --threads=2
    under git rev-parse HEAD
    under git log --stat -M | digest
    under git blame d1/added
    under git grep -c 'line 1 ' | digest
    under git archive --format=tar HEAD | digest
    under git diff HEAD~300 | digest
    under git count-objects -v | grep -E 'count|in-pack|garbage'
    under git rebase -q HEAD~3 2>&1
    under git rev-parse 'HEAD^{tree}'
}
