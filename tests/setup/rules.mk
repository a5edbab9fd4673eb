# make setup - installs what all targets need, the ones that CI runs included. `make test` and
# `make demo` install their own share.
.PHONY: setup
setup:
	$(Q)tests/setup/install.sh build test demo check ci report export top rules fleet sample \
	    programs cgroup2

# make deb - build/deb/tidepool_VERSION_ARCH.deb, checked by lintian; the templates are export/debian/.
.PHONY: deb
deb:
	$(Q)tests/setup/install.sh build deb
	$(Q)tests/setup/deb.sh $(VERSION) build/deb
