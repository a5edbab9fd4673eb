# Call sites: real programs sampled, profiles read by jeprof, a kill, and a storm of it all.
#   make test-sample [SAMPLE_T='sites programs kill victims stress'] [RUNS=3] [STRESS_S=15]
.PHONY: test-sample
SAMPLE_T ?= sites programs kill victims stress
RUNS     ?= 3
STRESS_S ?= 15
SAMPLE_BIN := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/sample/*.c)) \
              $(patsubst tests/%.cc,$(B)/tests/%,$(wildcard tests/sample/*.cc))

$(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/sample/*.c)): $(B)/tests/sample/%: tests/sample/%.c $(B)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -O1 -g -fno-builtin $(CFLAGS) $(LDFLAGS) -o $@ $< -pthread -ldl

$(patsubst tests/%.cc,$(B)/tests/%,$(wildcard tests/sample/*.cc)): $(B)/tests/sample/%: tests/sample/%.cc $(B)/flags
	$(call say,CXX,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -O1 -g -fno-builtin $(CXXFLAGS) $(LDFLAGS) -o $@ $< -pthread -ldl

$(B)/tests/sample/sites $(B)/tests/sample/sites_cxx: tests/sample/walker.h

$(B)/tests/sample/plugin.so: tests/sample/lib/plugin.c $(B)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O1 -g -fno-builtin -fPIC -shared -o $@ $<

test-sample: all $(PROG_BIN) $(SAMPLE_BIN) $(B)/tests/sample/plugin.so
	$(Q)tests/setup/install.sh build test sample
	$(Q)RUNS=$(RUNS) STRESS_S=$(STRESS_S) B=$(abspath $(B)) $(SUITE) $(foreach t,$(SAMPLE_T),--- bash tests/sample/$(t).sh)
