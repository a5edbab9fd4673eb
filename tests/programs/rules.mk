# Real programs, each once without and once with the library; PROGRAMS='bash git' selects. What cannot
# be installed is skipped, and said to be.
.PHONY: test-programs
test-programs: $(B)/libtidepool.so
	$(Q)tests/setup/install.sh programs || :
	$(Q)LIB=$(or $(LIB),$(abspath $<)) sh tests/programs/run.sh $(PROGRAMS)
