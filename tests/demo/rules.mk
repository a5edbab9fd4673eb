# make demo - a real JSON service under glibc, jemalloc and tidepool; under 90 s with the build.
.PHONY: demo
demo:
	$(Q)tests/setup/install.sh build
	$(Q)tests/setup/install.sh demo || echo 'demo: what needs these is SKIPPED' >&2
	$(Q)$(MAKE) --no-print-directory $(JOBS) all || echo 'demo: tidepool did not build; showing the others' >&2
	$(Q)tests/setup/stage.sh $(B) python3 -B tests/demo/demo.py $(dir $(B))
