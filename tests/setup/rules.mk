# make setup - installs what all targets need, the ones that CI runs included. `make test` and
# `make demo` install their own share.
.PHONY: setup
setup:
	$(Q)tests/setup/install.sh build test demo check ci report export top rules fleet sample \
	    programs cgroup2
