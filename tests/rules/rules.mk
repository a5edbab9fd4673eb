# make test-rules - the alerts, the recording rules and the dashboard's expressions against a real Prometheus; some 60 s.
RULES_LOAD := $(B)/tests/rules/load
$(RULES_LOAD).o: private TP_CFLAGS += -fno-builtin
$(RULES_LOAD): %: %.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $<

.PHONY: test-rules
test-rules: all $(RULES_LOAD)
	$(Q)tests/setup/install.sh build rules
	$(Q)B=$(abspath $(B)) python3 -B tests/rules/test_rules.py

# make picture-dashboard - the dashboard's queries over 60 s of two services near and far from their limits, drawn for
# the README; some 90 s. Needs root, for cgroups.
.PHONY: picture-dashboard
picture-dashboard: all
	$(Q)tests/setup/install.sh build rules demo
	$(Q)B=$(abspath $(B)) python3 -B tests/rules/picture.py shim/man/guides/dashboard.svg
