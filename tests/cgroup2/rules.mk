# make test-cgroup2 [CASES='max swap']
#                                what cannot be tested under cgroup v1: one boot of a small VM, about two minutes.

CGROUP2_FILES := $(B)/libtidepool.so $(addprefix $(B)/tests/survival/,growth giveback shift refused regroup moves)

.PHONY: test-cgroup2

test-cgroup2: $(CGROUP2_FILES)
	$(Q)tests/setup/install.sh cgroup2
	$(Q)CASES='$(CASES)' bash tests/cgroup2/vm.sh tests/cgroup2/guest.sh $(CGROUP2_FILES)
