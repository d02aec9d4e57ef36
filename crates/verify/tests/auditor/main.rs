//! An auditor's hour: the program, on exports that are as they were written and on exports that are not.

mod exports;
mod memory;
mod notes;
mod proofs;
mod receipts;
mod support;
