//! Parse policies and decide: pure.
