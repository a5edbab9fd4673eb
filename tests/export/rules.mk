# make test-export               redis, node_exporter and Prometheus, for real; two to four minutes, most of them
#                                scrapes of a crowd: CROWD=200 SCRAPES=500
# make bench-export              what one write of the text file costs
EXPORT_BIN := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/export/*.c))
EXPORT_INSIDE := $(B)/tests/export/write_cost

.PHONY: test-export bench-export

# It calls the modules by themselves; the other programs run under the library.
$(EXPORT_INSIDE): $(B)/%: $(B)/%.o $(B)/core.a build/jemalloc/libje.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(JE_WRAP) -o $@ $^ $(LIBS)

bench-export: $(EXPORT_INSIDE)
	$(Q)sh tests/export/write_cost.sh $(EXPORT_INSIDE)

$(filter-out $(EXPORT_INSIDE),$(EXPORT_BIN)): $(B)/%: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread

# Each call of the heap that a program makes is to be seen.
$(EXPORT_BIN:%=%.o): private TP_CFLAGS += -fno-builtin

test-export: all $(EXPORT_BIN)
	$(Q)tests/setup/install.sh export
	$(Q)B=$(abspath $(B)) TEST_TIMEOUT=750 tests/setup/suite.sh export $(B)/tests/export-results \
	    $(foreach t,$(wildcard tests/export/test_*.py),--- python3 $(t)); rc=$$?; \
	    tests/setup/suite.sh --total $(B)/tests/export-results; rm -f $(B)/tests/export-results; exit $$rc
