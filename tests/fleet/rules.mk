# make test-fleet - the examples of export/fleet/: well-formed, consistent, and their settings in use.
.PHONY: test-fleet
test-fleet: all $(B)/tests/preload/asked
	$(Q)tests/setup/install.sh build fleet
	$(Q)B=$(abspath $(B)) python3 -B tests/fleet/test_fleet.py

# make test-containers - the Dockerfile, the compose files and the manifests, built and started by podman; some 4 minutes,
# and 3 GB in CONTAINERS_DIR. Needs root.
CONTAINERS_DIR ?= build/containers
.PHONY: test-containers
test-containers:
	$(Q)if [ "$$(id -u)" != 0 ]; then echo 'SKIPPED test-containers: needs root'; \
	elif ! tests/setup/install.sh containers; then echo 'SKIPPED test-containers: no podman, nor the right to install it'; \
	else mkdir -p '$(CONTAINERS_DIR)' && bash tests/fleet/base.sh '$(CONTAINERS_DIR)/base.tar' && \
	    python3 -B tests/fleet/containers.py '$(CONTAINERS_DIR)'; fi
