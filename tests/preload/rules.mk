# Victims in C++, and the small shared objects that some victims load.
CXX       ?= g++
PRELOAD_CC := $(if $(shell command -v $(CXX) 2>&1 || :),$(patsubst tests/%.cc,$(B)/tests/%,$(wildcard tests/preload/*.cc)))
PRELOAD_SO := $(patsubst tests/%.c,$(B)/tests/%.so,$(wildcard tests/preload/lib/*.c))
PROG_BIN   += $(PRELOAD_CC) $(PRELOAD_SO)
SRC        += $(wildcard tests/preload/*.cc tests/preload/lib/*.c)

# A compiler that knows malloc drops calls whose result nobody reads; victims want every one made.
# private: the flags stamp, a prerequisite of each object, must not see them.
VICTIM_OBJ := $(patsubst tests/%.c,$(B)/tests/%.o,$(wildcard tests/preload/*.c tests/preload/lib/*.c))
$(VICTIM_OBJ): private TP_CFLAGS += -fno-builtin

$(PRELOAD_CC): $(B)/%: %.cc $(B)/flags
	$(call say,CXX,$@)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(TP_CPPFLAGS) $(CPPFLAGS) -std=c++17 -O2 -g -fno-builtin -Wall -Wextra -Wshadow \
	    $(CXXFLAGS) -MMD -MP -MF $@.d -MT $@ $(LDFLAGS) -o $@ $< -pthread -ldl

$(PRELOAD_SO): $(B)/%.so: $(B)/%.o
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(LDFLAGS) -o $@ $< -pthread

# The plugin is found by this program's own search path alone.
$(B)/tests/preload/deepbind $(B)/tests/preload/settings: private LDFLAGS += -Wl,-rpath,'$$ORIGIN/lib'

# Programs whose addresses are fixed: they are no offsets there, and a function's may be that of a jump to it.
FIXED := $(patsubst %,$(B)/tests/preload/%_fixed,call_lines foreign_front)
PROG_BIN += $(FIXED)
$(FIXED): $(B)/%_fixed: %.c $(B)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -fno-builtin -fno-pic -no-pie -MF $@.d -MT $@ $(LDFLAGS) -o $@ $< -pthread

# One that has a malloc() in itself.
PROG_BIN += $(B)/tests/preload/foreign_own
$(B)/tests/preload/foreign_own: $(B)/tests/preload/foreign_front.o $(B)/tests/preload/lib/other_heap.o
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ -pthread

# The library without the wrap by which pages are counted.
UNWRAPPED := $(B)/tests/preload/lib/unwrapped.so
PROG_BIN += $(UNWRAPPED)
$(UNWRAPPED): $(B)/libtidepool.so
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -static-libgcc $(LDFLAGS) -Wl,--version-script=shim/api/libtidepool.map \
	    $(filter-out %=je_pages_commit,$(JE_WRAP)) -Wl,--defsym=__real_je_pages_commit=je_pages_commit \
	    -Wl,--wrap=_Unwind_Find_FDE,--wrap=syscall -o $@ $(SHIM_OBJ) $(CORE_OBJ) build/jemalloc/libje.a $(LIBS)

# make public                    a short form of `make preload PRIVATE=off`: what depends most on jemalloc's private parts
PUBLIC := rounds trim_gives_back 'zero_again*' public_api refused_then_reused fork_handlers short_threads 'signal_alloc*' \
    'bucket_limits*' level_ends small_process 'verbose?2' 'large_blocks?arena' 'large_blocks?child' 'marked_pages*' \
    'raw_children*' 'misuse?twice?65536' 'setting?P*' moves_on 'private*' small_beyond_limit fork_while_purging
.PHONY: public
public: all $(PROG_BIN)
	$(Q)PRIVATE=off tests/setup/stage.sh $(B) $(SUITE) sh tests/preload/run.sh $(PUBLIC)
