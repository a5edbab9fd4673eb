# What the build does to jemalloc's archive, and which of its functions it wraps: see jemalloc_private.h.

# Versions whose private parts were verified; README.md says how to verify another one.
JEMALLOC_VERSIONS := 5.3.0 5.3.1
JEMALLOC_VERIFIED ?= no

# The archive, position-independent: make JEMALLOC_A=/path/to/libjemalloc_pic.a
# Without a compiler, which knows the folder's name, it is found by a pattern.
JEMALLOC_A ?= $(firstword $(wildcard $(addsuffix /libjemalloc_pic.a,\
    /usr/lib/$(or $(shell $(CC) -print-multiarch 2>/dev/null),*-linux-gnu) /usr/lib /usr/local/lib)))

# What the build lacks, by Debian's names.
LACKS = $(strip $(shell command -v $(firstword $(CC)) >/dev/null || echo $(patsubst cc,gcc,$(firstword $(CC))); \
    $(CC) -include stdlib.h -E -x c /dev/null >/dev/null 2>&1 || echo libc6-dev; \
    command -v $(firstword $(OBJCOPY)) >/dev/null || echo binutils) $(if $(JEMALLOC_A),,libjemalloc-dev))
JE_VERSION := $(shell strings -a '$(JEMALLOC_A)' 2>/dev/null | sed -n 's/^\([0-9][0-9.]*\)-[0-9]*-g[0-9a-f]*$$/\1/p' | head -n 1)

# -u: a program that links core.a and asks for nothing in a file of wraps has to find them there, too.
JE_WRAPPED := pages_map pages_commit pages_decommit pages_boot base_alloc base_alloc_edata \
    ecache_init ecache_evict ecache_alloc_grow ecache_dalloc pa_dalloc \
    tcache_alloc_small_hard te_event_trigger tsd_tcache_enabled_data_init \
    pa_shard_prefork0 malloc_mutex_prefork malloc_mutex_lock_slow
# 5.3.1 makes a thread's caches another way: there each thread has them from its first request on.
ifeq ($(JE_VERSION),5.3.0)
JE_WRAPPED += tcache_cleanup tcache_gc_new_event_wait tcache_gc_dalloc_new_event_wait \
    tcache_gc_event_handler tcache_gc_dalloc_event_handler arena_palloc arena_decay \
    arena_cache_bin_fill_small cache_bin_preincrement cache_bin_postincrement
else
TP_CFLAGS += -DTIDEPOOL_JE_TCACHE_AT_ONCE
endif
, := ,
JE_WRAP := $(JE_WRAPPED:%=-Wl,--wrap=je_%) $(patsubst %,-Wl$(,)-u$(,)__wrap_je_%,\
    pages_map base_alloc pa_shard_prefork0 tsd_tcache_enabled_data_init) -Wl,-umaths_log

# Debian's jemalloc archive. Every public name (global, default visibility) gets the prefix je_. Its C++ operators
# are left out: they would bring libstdc++ into programs that have none. Its mappings and its key of a thread's end
# are not the program's: they go to pages_mmap() and its like, and to guard_key_create(). For what its profile needs of
# libm there are maths_log() and its like.
JE_WEAK := je_opt_cache_oblivious je_opt_disable_large_size_classes
build/jemalloc/path: FORCE
	@mkdir -p $(@D)
	@echo '$(JEMALLOC_A)' | cmp -s - $@ || echo '$(JEMALLOC_A)' > $@

build/jemalloc/libje.a: Makefile pool/jemalloc_private/build.mk build/jemalloc/path $(wildcard $(JEMALLOC_A))
	$(if $(LACKS),@echo 'missing: $(LACKS): apt-get install $(LACKS)$(,) or make setup for all targets' >&2; exit 1)
	$(call say,JE,$@)
	@test -r '$(JEMALLOC_A)' || { echo 'no $(JEMALLOC_A)' >&2; exit 1; }
	@mkdir -p $(@D)
	@v=$(JE_VERSION); \
	case ' $(JEMALLOC_VERSIONS) ' in *" $${v:-none} "*) ;; *) test '$(JEMALLOC_VERIFIED)' = yes || { \
	    echo "jemalloc $${v:-of an unknown version}: its private parts were verified in $(JEMALLOC_VERSIONS) only." >&2; \
	    echo 'How to verify it: pool/jemalloc_private/README.md. To build with it as it is: make JEMALLOC_VERIFIED=yes' >&2; exit 1; };; esac
	$(Q)readelf -Ws '$(JEMALLOC_A)' | awk '($$5 == "GLOBAL" || $$5 == "WEAK") && $$6 == "DEFAULT" && \
	    $$7 != "UND" && $$8 !~ /^(_Z|je_)/ { print $$8, "je_" $$8 }' | sort -u > $(@D)/names
	$(Q)for n in mmap munmap madvise mprotect; do echo $$n pages_$$n; done >> $(@D)/names
	$(Q)for n in log exp round; do echo $$n maths_$$n; done >> $(@D)/names
	$(Q)echo pthread_key_create guard_key_create >> $(@D)/names
	$(Q)$(OBJCOPY) --redefine-syms=$(@D)/names $(JE_WEAK:%=--weaken-symbol=%) '$(JEMALLOC_A)' $@
	$(Q)$(AR) d $@ jemalloc_cpp.pic.o
