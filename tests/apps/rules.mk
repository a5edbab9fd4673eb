# make bench-apps [APPS='redis node'] [ALLOCS='glibc tidepool'] [SHORT=1]
#                                real services at real load, over an hour; SHORT=1: under 5
#                                -> build/bench/apps.{tsv,svg}, and build/bench/apps/ with the samples
.PHONY: bench-apps
bench-apps:
	$(Q)tests/setup/install.sh bench apps || :
	$(Q)APPS='$(APPS)' ALLOCS='$(ALLOCS)' tests/setup/stage.sh $(B) \
	    python3 -B tests/apps/apps.py build/bench/apps.tsv $(if $(SHORT),short)
