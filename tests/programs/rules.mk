# Real programs, each once without and once with the library; PROGRAMS='bash git' selects.
.PHONY: test-programs
test-programs: $(B)/libtidepool.so
	$(Q)LIB=$(or $(LIB),$(abspath $<)) sh tests/programs/run.sh $(PROGRAMS)
