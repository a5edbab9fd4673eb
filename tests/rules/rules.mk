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
