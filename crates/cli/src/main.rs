//! The `aumbry` binary.
fn main() {}
