race: export TSAN_OPTIONS := suppressions=tests/race/tsan.supp $(TSAN_OPTIONS)
