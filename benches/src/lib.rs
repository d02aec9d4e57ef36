//! Black-box benches over real processes.
