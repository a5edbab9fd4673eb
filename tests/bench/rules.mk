# Optimised calls to malloc would be no calls at all: the compiler may drop a pair it knows.
$(B)/tests/bench/%.o: TP_CFLAGS += -fno-builtin
