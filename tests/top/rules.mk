# make test-top - `tidepool top` over real processes, on a terminal and as JSON; TOP_CASES='word' selects.
.PHONY: test-top
test-top: all $(B)/tests/preload/asked
	$(Q)tests/setup/install.sh build top
	$(Q)tests/setup/stage.sh $(B) python3 -B tests/top/test_top.py $(TOP_CASES)
