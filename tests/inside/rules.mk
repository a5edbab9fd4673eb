# make inside SAN=address|undefined|thread
#                                the whole library, shim/ included, under a sanitizer: victims of tests/preload, linked with it
#
# A sanitizer brings its own malloc, so a library that defines one cannot be preloaded under it. Here the names that the
# library exports get a prefix, in its objects and in the victims', which then call it directly. But for syscall(), whose
# calls by the library itself the linker binds to __wrap_syscall(), here as in the library.
#
# Victims to which libc hands blocks of its own heap (strdup, open_memstream) have no place here.
INSIDE := errno_rules usable_size alignment calloc_zeroes jemalloc_api producer_consumer thread_exit trim_gives_back \
    fork_storm fork_handlers short_threads rounds signal_alloc misuse mapping_calls mapped_files
INSIDE_BIN := $(INSIDE:%=$(B)/tests/inside/%)

.PHONY: inside

$(B)/tests/inside/names: shim/api/libtidepool.map tests/inside/rules.mk
	@mkdir -p $(@D)
	$(Q)sed -n '/ syscall;/d; s/^ *\([A-Za-z_][A-Za-z0-9_]*\);$$/\1 tp_\1/p' $< > $@

$(B)/tests/inside/library.o: $(SHIM_OBJ) $(CORE_OBJ) $(B)/tests/inside/names
	$(call say,LD,$@)
	$(Q)$(LD) -r --wrap=syscall -o $@.all $(SHIM_OBJ) $(CORE_OBJ)
	$(Q)$(OBJCOPY) --redefine-syms=$(B)/tests/inside/names $@.all $@

$(B)/tests/inside/%.o: $(B)/tests/preload/%.o $(B)/tests/inside/names
	@mkdir -p $(@D)
	$(Q)$(OBJCOPY) --redefine-syms=$(B)/tests/inside/names --redefine-sym dlsym=inside_dlsym $< $@

$(B)/tests/inside/lookup.o: tests/inside/lookup.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(COMPILE) -c -o $@ $<

$(INSIDE_BIN): %: %.o $(B)/tests/inside/lookup.o $(B)/tests/inside/library.o build/jemalloc/libje.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(JE_WRAP) -Wl,--wrap=_Unwind_Find_FDE,--wrap=syscall -rdynamic -o $@ $^ $(LIBS)

inside: $(INSIDE_BIN)
	$(Q)tests/setup/stage.sh $(B) $(SUITE) sh tests/inside/run.sh
