# make test-fleet - the examples of export/fleet/: well-formed, consistent, and their settings in use.
.PHONY: test-fleet
test-fleet: all $(B)/tests/preload/asked
	$(Q)tests/setup/install.sh build fleet
	$(Q)B=$(abspath $(B)) python3 -B tests/fleet/test_fleet.py
