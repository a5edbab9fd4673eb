# make test-mfile                mapped files in a real cgroup that is too small for them

MFILE_PROG := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/mfile/*.c))

.PHONY: test-mfile

$(MFILE_PROG): %: %.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -pthread

test-mfile: $(B)/libtidepool.so $(MFILE_PROG)
	$(Q)B=$(abspath $(B)) tests/setup/suite.sh $@ $(RESULTS) --- bash tests/mfile/test_limit.sh
