# make bench-survival [PATTERNS='shift idle'] [ALLOCS='tidepool jemalloc'] [LIVE_MIB=200]
#                                smallest limit survived; -> build/bench/survival.{tsv,svg}

SURVIVAL_PROG := $(addprefix $(B)/tests/survival/,shift idle handover family random)

.PHONY: bench-survival

$(SURVIVAL_PROG): $(B)/tests/survival/%: $(B)/tests/survival/%.o $(B)/tests/survival/load.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread -lm

# The library itself is only looked for: the peers can be measured before it builds.
bench-survival: $(SURVIVAL_PROG)
	$(Q)B=$(abspath $(B)) PATTERNS='$(PATTERNS)' ALLOCS='$(ALLOCS)' LIVE_MIB='$(or $(LIVE_MIB),200)' \
	    python3 tests/survival/survival.py build/bench/survival.tsv
