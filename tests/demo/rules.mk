# make demo - a real redis-server under glibc, jemalloc and tidepool; under 90 s with the build.
.PHONY: demo
demo:
	$(Q)tests/setup/install.sh build demo
	$(Q)$(MAKE) --no-print-directory $(JOBS) all || echo 'demo: tidepool did not build; showing the others' >&2
	$(Q)B=$(abspath $(B)) bash tests/demo/demo.sh
