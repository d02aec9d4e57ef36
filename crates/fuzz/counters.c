/* Tells a build that LLVM has instrumented where its counters are. Linked into that build alone; see src/coverage.rs. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called before main, once for each unit of code, each time with the bounds of all counters. */
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop) {
    char place[64];
    snprintf(place, sizeof place, "%llx-%llx", (unsigned long long)(uintptr_t)start, (unsigned long long)(uintptr_t)stop);
    setenv("AUMBRY_FUZZ_COUNTERS", place, 1);
}
