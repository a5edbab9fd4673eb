# tidepool - an LD_PRELOAD allocator for I/O servers in containers (GNU make).
#
#   make                          build/libtidepool.so and the launcher, build/tidepool; in truth they are in
#                                 build/release, and those of a sanitizer in build/<its name>
#   make demo                     a service in small containers under glibc, jemalloc and tidepool, side by side
#   make test [T='pool/*']        unit tests, races, then programs run under the preload
#   make test SAN=address         the modules under a sanitizer (address, undefined, thread)
#   make install | uninstall      DESTDIR= and PREFIX= as usual
#   make deb                      a Debian package, in build/
#   make bench | check | format   figures; lint and documents; layout
#   make setup                    installs what all targets need
#
# V=1 prints every command. Local settings go into config.mak; nothing here needs editing.
# Each folder below tests/ may bring targets of its own in a rules.mk.

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
BINDIR     ?= $(PREFIX)/bin
INCDIR     ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
VERSION    := 0.1.0
PKG_CONFIG ?= pkg-config
OBJCOPY    ?= objcopy
-include config.mak

MODULES := pool pressure mfile export
SAN     ?=
FLAVOUR := $(or $(SAN),release)
B       := build/$(FLAVOUR)

WARN := -Wall -Wextra -Wshadow -Wundef -Wcast-qual -Wwrite-strings \
        -Wstrict-prototypes -Wmissing-prototypes -Wvla
TP_CPPFLAGS := -D_GNU_SOURCE -DTIDEPOOL_VERSION='"$(VERSION)"' -I.
TP_CFLAGS   := -std=c17 -O2 -g -fPIC -fvisibility=hidden $(WARN) \
               $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -DTIDEPOOL_DEBUG)
LIBS        := -pthread -ldl -lm $(if $(SAN),-fsanitize=$(SAN))
CRITERION    = $(shell $(PKG_CONFIG) --cflags --libs criterion)
COMPILE      = $(CC) $(TP_CPPFLAGS) $(CPPFLAGS) $(TP_CFLAGS) $(CFLAGS) -MMD -MP

INSTALLED := $(LIBDIR)/libtidepool.so $(BINDIR)/tidepool $(INCDIR)/tidepool.h \
             $(LIBDIR)/pkgconfig/tidepool.pc $(MANDIR)/man1/tidepool.1 $(MANDIR)/man7/tidepool.7

# Every folder of the library's sources. shim/cli is the launcher, a program of its own.
FOLDERS := $(sort $(dir $(wildcard $(foreach m,shim $(MODULES),$m/*.[ch] $m/*/*.[ch] $m/*/*/*.[ch]))))
CLI_DIR := $(filter shim/cli/%,$(FOLDERS))
LAUNCHER_SRC := $(wildcard $(CLI_DIR:%=%*.c))
LAUNCHER_OBJ := $(LAUNCHER_SRC:%.c=$(B)/%.o)
# Parts of shim/ that touch nothing of libc's heap: tests and the launcher link them, too.
TESTED_SHIM := $(patsubst %.c,$(B)/%.o,$(wildcard shim/config/*.c) shim/base/log.c shim/cli/common/out.c \
    $(addsuffix .c,$(addprefix shim/cli/profile/,profile intern names hide stacks file) \
    $(addprefix shim/cli/symbols/,elf lines made_name perfmap) shim/cli/report/rows))
# The one part of shim/ that the modules below it may call.
BELOW_SRC := shim/next.c
# These folders last: in this order a thread's variables have no gaps between them (test: static_tls).
POOL_DIRS := pool/region/ pool/common/ pool/thread_cache/ pool/
CORE_OBJ  := $(patsubst %.c,$(B)/%.o,$(BELOW_SRC) $(wildcard $(addsuffix *.c,$(filter-out shim/% $(POOL_DIRS),$(FOLDERS)) $(POOL_DIRS))))
SHIM_OBJ  := $(patsubst %.c,$(B)/%.o,$(filter-out $(LAUNCHER_SRC) $(BELOW_SRC),$(wildcard $(addsuffix *.c,$(filter shim/%,$(FOLDERS))))))
UNIT_BIN  := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))
RACE_BIN  := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/race/*.c))
PROG_BIN  := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/preload/*.c))
BENCH_BIN := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/bench/*.c))
SRC       := $(wildcard $(FOLDERS:%=%*.[ch]) tests/*/*.[ch])

ifndef V
Q = @
say = @printf '  %-6s %s\n' '$(1)' '$(2)'
endif

# Inside malloc the compiler must not turn malloc+memset into calloc, nor reach TLS through a
# call that allocates. Where malloc() and free() begin is worth up to a nanosecond a pair: at
# multiples of 32 it is not left to chance.
$(SHIM_OBJ) $(CORE_OBJ): private TP_CFLAGS += -fno-builtin-malloc -fno-builtin-calloc \
                                      -ftls-model=initial-exec -falign-functions=32

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all help test unit race preload bench check format install uninstall clean FORCE

all: $(B)/libtidepool.so $(B)/tidepool
ifeq ($(MAKECMDGOALS)$(SAN),)
	@echo 'Built. Next: build/tidepool check; build/tidepool redis-server; make help lists the rest.'
endif

help:
	@sed -n 's/^#   //p' Makefile

ifeq ($(FLAVOUR),release)
all: build/libtidepool.so build/tidepool
build/libtidepool.so build/tidepool: build/%: $(B)/%
	$(Q)ln -sf release/$* $@
endif

include pool/jemalloc_private/build.mk

# New flags mean new objects: the stamp changes only when the command line does.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(COMPILE) $(LDFLAGS) $(LIBS)' | cmp -s - $@ || echo '$(COMPILE) $(LDFLAGS) $(LIBS)' > $@

# Jemalloc's archive first: what the build lacks is said before anything is compiled.
$(B)/%.o: %.c $(B)/flags | build/jemalloc/libje.a
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -c -o $@ $<

$(B)/libtidepool.so: $(SHIM_OBJ) $(CORE_OBJ) build/jemalloc/libje.a shim/api/libtidepool.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -static-libgcc $(LDFLAGS) -Wl,-z,defs,-z,relro,-z,now,--version-script=shim/api/libtidepool.map \
	    -Wl,-soname,libtidepool.so $(JE_WRAP) -Wl,--wrap=_Unwind_Find_FDE,--wrap=syscall -o $@ $(SHIM_OBJ) $(CORE_OBJ) build/jemalloc/libje.a $(filter-out -lm,$(LIBS))

# Where the launcher looks last; private, or the flags stamp would see it and differ.
$(LAUNCHER_OBJ) $(LAUNCHER_OBJ:.o=.tidy): private TP_CPPFLAGS += -DTIDEPOOL_LIBDIR='"$(LIBDIR)"' \
                                        -DTIDEPOOL_MULTIARCH='"$(shell $(CC) -print-multiarch 2>/dev/null)"'
$(LAUNCHER_OBJ): $(B)/libdir
$(B)/shim/cli/report/flame.o: shim/cli/report/flame.html
$(B)/libdir: FORCE
	@mkdir -p $(@D)
	@echo '$(LIBDIR)' | cmp -s - $@ || echo '$(LIBDIR)' > $@

$(B)/tidepool: $(LAUNCHER_OBJ) $(TESTED_SHIM) $(B)/core.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/core.a: $(CORE_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Unit and race tests see the modules and the parts of shim/ that touch nothing of libc's.
$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/core.a $(TESTED_SHIM) build/jemalloc/libje.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(JE_WRAP) -o $@ $< $(TESTED_SHIM) $(B)/core.a build/jemalloc/libje.a $(CRITERION) $(LIBS)

$(B)/tests/race/%: $(B)/tests/race/%.o $(B)/core.a build/jemalloc/libje.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(JE_WRAP) -o $@ $^ $(LIBS)

# Victims and benchmarks are ordinary programs: they must not link us or jemalloc.
$(B)/tests/preload/%: $(B)/tests/preload/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread -ldl

$(B)/tests/bench/%: $(B)/tests/bench/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread

include $(wildcard tests/*/rules.mk)

# A sanitizer brings its own malloc, so nothing is preloaded under one: victims have the library linked
# in (tests/inside). Criterion cannot start under ThreadSanitizer, so races are hunted by plain programs.
SUITES  := $(if $(filter thread,$(SAN)),race,unit $(if $(SAN),inside,race preload public))
RESULTS := $(B)/tests/results
SUITE    = tests/setup/suite.sh $@ $(RESULTS)
JOBS     = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# Installs what is missing; the makes after it then see what was installed. What cannot be installed
# is skipped where only tests need it. A suite that does not even build counts as a failed test, and
# the others still run.
test:
	$(Q)tests/setup/install.sh build
	$(Q)tests/setup/install.sh test || echo 'test: what needs these is SKIPPED' >&2
	$(Q)mkdir -p $(dir $(RESULTS)) && : > $(RESULTS)
	$(Q)rc=0; for s in $(SUITES); do $(MAKE) --no-print-directory $(JOBS) $$s || { rc=1; \
	    grep -q "^$$s " $(RESULTS) || echo "$$s 0 1 0" >> $(RESULTS); }; done; \
	    tests/setup/suite.sh --total $(RESULTS) && exit $$rc

WITHOUT_CRITERION := $(if $(filter unit,$(MAKECMDGOALS)),$(shell $(PKG_CONFIG) --exists criterion || echo yes))

unit: $(if $(WITHOUT_CRITERION),,$(UNIT_BIN))
	$(Q)$(SUITE) $(if $^,$(foreach t,$^,--- $(t) --filter '$(or $(T),*)' -j0 --verbose),\
	    echo 'SKIPPED unit tests: neither Criterion nor the right to install it')

race: $(RACE_BIN)
	$(Q)$(SUITE) $(foreach t,$^,--- $(t))

preload: all $(PROG_BIN)
	$(Q)tests/setup/stage.sh $(B) $(SUITE) $(foreach t,$(wildcard tests/preload/*.sh),--- sh $(t))

bench: $(B)/libtidepool.so $(BENCH_BIN)
	$(Q)tests/setup/install.sh bench || :
	$(Q)B=$(abspath $(B)) bash tests/bench/run.sh

# Lint, once for each state of a file: its object is new when anything that it includes is.
TIDY := $(patsubst %.c,$(B)/%.tidy,$(wildcard $(FOLDERS:%=%*.c)))
$(B)/%.tidy: %.c $(B)/%.o .clang-tidy
	$(call say,TIDY,$<)
	$(Q)clang-tidy --quiet $< -- $(TP_CPPFLAGS) -std=c17 > $@.log 2>&1 || { grep -v 'warnings generated' $@.log; exit 1; }
	$(Q)mv $@.log $@

check: all $(TIDY)
	$(call say,CHECK,layers)
	$(Q)python3 tests/check/layers.py
	$(call say,CHECK,prose)
	$(Q)python3 tests/check/prose.py
	$(call say,CHECK,guard of calls into jemalloc)
	$(Q)! grep -nE '\bje_[a-z_]+\(' $$(find shim -name '*.[ch]') | \
	    grep -vE '^shim/(jemalloc/guarded|lowmem/low_memory)\.c:|:.*//|\bje_(nallocx|alignment|private_[a-z_]+)\(' | grep .
	$(call say,CHECK,headers stand alone)
	$(Q)set -e; for h in $(wildcard $(FOLDERS:%=%*.h)); do \
	    echo "#include \"$$h\"" | $(CC) $(TP_CPPFLAGS) $(TP_CFLAGS) -Werror -fsyntax-only -x c -; done
	$(call say,CHECK,clang-format)
	$(Q)clang-format --dry-run --Werror $(SRC)
	$(call say,CHECK,cppcheck)
	$(Q)cppcheck -q --enable=warning,portability --inline-suppr --error-exitcode=1 -I. shim $(MODULES)
	$(call say,CHECK,exports)
	$(Q)sed -n 's/^ *\([A-Za-z_][A-Za-z0-9_]*\);$$/\1/p' shim/api/libtidepool.map | LC_ALL=C sort > $(B)/exports.want
	$(Q)nm -D --defined-only $(B)/libtidepool.so | awk '{print $$3}' | LC_ALL=C sort | diff -u $(B)/exports.want -

# A path below the prefix is written as such, so that the file still tells the truth when it moves.
$(B)/tidepool.pc: shim/api/tidepool.pc.in FORCE
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBDIR@|$(LIBDIR:$(PREFIX)/%=$${prefix}/%)|' \
	    -e 's|@INCDIR@|$(INCDIR:$(PREFIX)/%=$${prefix}/%)|' $< > $@

# The loader finds new libraries by its cache. LD_PRELOAD with a path, and so the launcher, does without.
REFRESH = $(if $(DESTDIR),,@PATH=$$PATH:/usr/sbin:/sbin ldconfig 2>/dev/null || \
    echo 'note: the cache of ld.so is as it was; as root: ldconfig (only programs that link with -ltidepool need it)')

install: all $(B)/tidepool.pc
	install -d $(foreach d,$(sort $(dir $(INSTALLED))),'$(DESTDIR)$(d)')
	install -m 644 $(B)/libtidepool.so '$(DESTDIR)$(LIBDIR)'
	install -m 755 $(B)/tidepool '$(DESTDIR)$(BINDIR)'
	install -m 644 shim/api/tidepool.h '$(DESTDIR)$(INCDIR)'
	install -m 644 $(B)/tidepool.pc '$(DESTDIR)$(LIBDIR)/pkgconfig'
	install -m 644 shim/man/tidepool.1 '$(DESTDIR)$(MANDIR)/man1'
	install -m 644 shim/man/tidepool.7 '$(DESTDIR)$(MANDIR)/man7'
	$(REFRESH)

uninstall:
	rm -f $(INSTALLED:%='$(DESTDIR)%')
	$(REFRESH)

format:
	clang-format -i $(SRC)

clean:
	rm -rf build

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
