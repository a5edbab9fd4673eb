# make test-fresh [FRESH=short] - the README's two commands, word for word, in a bare Debian that knows nothing yet;
# some 6 minutes. Needs root and debootstrap. FRESH_DIR=build/fresh holds the root and a cache of its packages.
FRESH_DIR ?= build/fresh
.PHONY: test-fresh
test-fresh:
	$(Q)tests/setup/install.sh fresh || :
	$(Q)bash tests/fresh/fresh.sh '$(FRESH_DIR)' $(FRESH)

# make test-deb - the package of `make deb` in a bare Debian: installed, used by an ordinary user, removed.
.PHONY: test-deb
test-deb: deb
	$(Q)tests/setup/install.sh fresh || :
	$(Q)bash tests/fresh/deb.sh build/deb/tidepool_$(VERSION)_*.deb '$(FRESH_DIR)-deb'
