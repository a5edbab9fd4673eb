# make bench-survival [PATTERNS='shift idle'] [ALLOCS='tidepool jemalloc'] [LIVE_MIB=200]
#                                smallest limit survived; -> build/bench/survival.{tsv,svg}
#      LOAD=8                    with as many busy processes beside it; -> build/bench/survival-load8.{tsv,svg}
# make bench-pressure [ROWS='growth tight idle watch'] [ALLOCS=tidepool] [RUNS=50]
#                                the other bars; -> build/bench/pressure.tsv, appended
# make test-pressure             real kills in real cgroups: without tidepool and with it

SURVIVAL_PROG := $(patsubst tests/%.c,$(B)/tests/%,$(filter-out %/load.c %/load_threads.c,\
    $(wildcard tests/survival/*.c)))
SURVIVAL_LOAD := $(B)/tests/survival/load.o $(B)/tests/survival/load_threads.o

.PHONY: bench-survival bench-pressure test-pressure

# A compiler that knows malloc may drop a pair of calls.
$(SURVIVAL_PROG:=.o) $(SURVIVAL_LOAD): private TP_CFLAGS += -fno-builtin

$(SURVIVAL_PROG): %: %.o $(SURVIVAL_LOAD)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread -lm

# The library itself is only looked for: the peers can be measured before it builds.
bench-survival: $(SURVIVAL_PROG)
	$(Q)tests/setup/install.sh bench survival || :
	$(Q)B=$(abspath $(B)) PATTERNS='$(PATTERNS)' ALLOCS='$(ALLOCS)' LIVE_MIB='$(or $(LIVE_MIB),200)' LOAD='$(LOAD)' \
	    python3 tests/survival/survival.py build/bench/survival$(LOAD:%=-load%).tsv

bench-pressure: $(SURVIVAL_PROG)
	$(Q)B=$(abspath $(B)) ROWS='$(ROWS)' ALLOCS='$(ALLOCS)' RUNS='$(RUNS)' \
	    python3 tests/survival/rows.py build/bench/pressure.tsv

test-pressure: $(B)/libtidepool.so $(SURVIVAL_PROG)
	$(Q)B=$(abspath $(B)) bash tests/survival/test_kill.sh

# make picture - the last chart of bench-survival becomes the README's.
.PHONY: picture
picture:
	$(Q)cp build/bench/survival.svg shim/man/guides/survival.svg
