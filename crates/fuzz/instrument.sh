#!/bin/sh
# What Cargo calls instead of rustc for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER) when it builds the fuzzer: it adds the
# counters of LLVM's SanitizerCoverage, which the stable compiler has. Crates of others stay as they are, so RocksDB is not built again.
rustc=$1
shift
case " $* " in
*" --crate-name aumbry_fuzz "*" --crate-type bin "*)
    exec "$rustc" "$@" -Clink-arg="$AUMBRY_FUZZ_OBJECT" ;;
*" --crate-name aumbry_"*" --crate-type lib "*)
    exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters ;;
esac
exec "$rustc" "$@"
