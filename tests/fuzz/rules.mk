# make fuzz [FUZZ_SECONDS=20]: each parser against libFuzzer's inputs, with ASan and UBSan. A fuzzer
# is tests/fuzz/fuzz_NAME.c; what it tests stands in FUZZ_SRC_NAME, seeds in tests/fuzz/seeds/NAME.

FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 20
FUZZ_SRC_config := shim/config/load.c shim/config/parse.c shim/config/table.c shim/base/log.c export/labels.c export/out.c mfile/parse/policy.c
FUZZ_SRC_labels := export/labels.c export/out.c
FUZZ_SRC_cgroup := $(wildcard pressure/*.c pressure/*/*.c)
FUZZ_SRC_cgroup_tree := $(wildcard pressure/*.c pressure/*/*.c)
FUZZ_SRC_mfile := mfile/parse/policy.c mfile/parse/maps.c
FUZZ_SRC_psi := $(wildcard pressure/*.c pressure/*/*.c)
FUZZ_SRC_profile := shim/cli/common/out.c $(patsubst %,shim/cli/profile/%.c,profile intern names hide stacks file) \
    $(patsubst %,shim/cli/symbols/%.c,lines perfmap) $(patsubst %,shim/cli/report/%.c,rows sites folded flame)
FUZZ_SRC_top := $(patsubst %,shim/cli/top/%.c,prom show json sort) shim/cli/common/out.c
FUZZ_SRC_elf := shim/cli/symbols/elf.c shim/cli/profile/intern.c

FUZZ_NAMES := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: fuzz
fuzz: $(FUZZ_NAMES:%=run-fuzz-%)

build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c FORCE
	$(call say,FUZZ,$@)
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(TP_CPPFLAGS) -std=c17 -g -O1 $(WARN) -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -o $@ $< $(FUZZ_SRC_$*)

# Found inputs stay below build/; one that breaks something is printed and kept there, too.
run-fuzz-%: build/fuzz/fuzz_%
	@mkdir -p build/fuzz/corpus-$*
	$(Q)build/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=5 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ build/fuzz/corpus-$* $(wildcard tests/fuzz/seeds/$*) \
	    2> build/fuzz/$*.log || { tail -40 build/fuzz/$*.log >&2; exit 1; }
	@awk -F: '/stat::number_of_executed_units/ { print "  fuzz   $*:" $$NF " inputs, nothing broke" }' build/fuzz/$*.log
