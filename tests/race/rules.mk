race: export TSAN_OPTIONS := suppressions=$(CURDIR)/tests/race/tsan.supp $(TSAN_OPTIONS)
