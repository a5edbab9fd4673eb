# make test-mfile                mapped files in a real cgroup that is too small for them, and programs that
#                                live on mapped files, without a policy and with one for every file; 2 min
# make bench-mfile               what a mapping call costs, and what prefetch gains; -> build/bench/mfile.tsv

MFILE_PROG := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/mfile/*.c))
MFILE_REAL := sqlite3-mmap lmdb git-packs python3-mmap rg-mmap ld-large

.PHONY: test-mfile bench-mfile

$(MFILE_PROG): %: %.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -pthread

test-mfile: $(B)/libtidepool.so $(MFILE_PROG)
	$(Q)tests/setup/install.sh programs || :
	$(Q)rm -f $(B)/tests/mfile-results
	$(Q)B=$(abspath $(B)) LIB=$(abspath $<) tests/setup/suite.sh mfile $(B)/tests/mfile-results \
	    bash tests/mfile/test_limit.sh --- sh tests/programs/run.sh $(MFILE_REAL) \
	    --- env 'TIDEPOOL_MFILE=*=lazyfree,prefetch' sh tests/programs/run.sh $(MFILE_REAL); rc=$$?; \
	    tests/setup/suite.sh --total $(B)/tests/mfile-results; exit $$rc

bench-mfile: $(B)/libtidepool.so $(MFILE_PROG)
	$(Q)B=$(abspath $(B)) bash tests/mfile/bench.sh
