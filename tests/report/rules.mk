# make test-report               tidepool report: its text, profiles of programs with known call sites, and the
#                                page in headless Chromium; screenshots in build/release/report/. Under a minute.

REPORT_PROG := $(addprefix $(B)/tests/report/,sites sites_nopie sites_cxx) $(B)/tests/preload/made_code
REPORT_TEST := $(wildcard tests/report/test_*.py)

.PHONY: test-report
test-report:
	$(Q)tests/setup/install.sh build report
	$(Q)$(MAKE) --no-print-directory $(JOBS) all $(REPORT_PROG)
	$(Q)mkdir -p $(B)/tests/report && : > $(B)/tests/report/results
	$(Q)B=$(abspath $(B)) tests/setup/suite.sh report $(B)/tests/report/results \
	    $(foreach t,$(REPORT_TEST),--- python3 $(t)) && tests/setup/suite.sh --total $(B)/tests/report/results

# A compiler that knows malloc may drop calls, and one that inlines all has no call sites left.
$(B)/tests/report/sites: tests/report/sites.c $(B)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 -g -fno-builtin -o $@ $<

$(B)/tests/report/sites_nopie: tests/report/sites.c $(B)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c17 -O2 -g -fno-builtin -fno-pie -no-pie -o $@ $<

$(B)/tests/report/sites_cxx: tests/report/sites_cxx.cc $(B)/flags
	$(call say,CXX,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) -std=c++17 -O2 -g -fno-builtin -o $@ $<
