# make test-cgroup2 [CASES='max swap']
#                                what cannot be tested under cgroup v1: one boot of a small VM, two to four minutes.
#      CASES=patterns            the survival bench's patterns there, at their bars: about a minute.
#      CASES=features            what the kernel has.
#      VM_KERNEL=FILE.deb        another of Debian's kernels than the one that apt names.
# make bench-cgroup2 [LIVE_MIB=200] [STEP_MIB=2] [ALLOCS='tidepool glibc'] [VM_KERNEL=FILE.deb]
#                                the survival bench's patterns there: the smallest memory.max each survives. 15 minutes

CGROUP2_FILES := $(B)/libtidepool.so $(B)/tests/cgroup2/features \
    $(addprefix $(B)/tests/survival/,growth giveback shift refused regroup moves idle handover family random drift workers)

.PHONY: test-cgroup2 bench-cgroup2

$(B)/tests/cgroup2/features: %: %.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^

test-cgroup2: $(CGROUP2_FILES)
	$(Q)tests/setup/install.sh cgroup2
	$(Q)CASES='$(CASES)' bash tests/cgroup2/vm.sh tests/cgroup2/guest.sh $(CGROUP2_FILES)

bench-cgroup2: $(CGROUP2_FILES)
	$(Q)tests/setup/install.sh cgroup2
	$(Q)CASES='$(or $(LIVE_MIB),200) $(or $(STEP_MIB),2) $(ALLOCS)' VM_SECONDS=7200 bash tests/cgroup2/vm.sh \
	    tests/cgroup2/limits.sh $(CGROUP2_FILES)
