//! The right edge of the audit tree: one encoding, and leaves are added to whatever is read.

use aumbry_audit::Frontier;

use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "audit_frontier",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let mut tree = Frontier::new();
    let mut all = vec![tree.encode()];
    for n in 0..40 {
        tree.push([n; 32]);
        if n % 13 == 0 {
            all.push(tree.encode());
        }
    }
    let mut full = Vec::from([1]);
    full.extend((1_u64 << 62).to_be_bytes());
    full.extend([9; 32]);
    all.push(full);
    all
}

fn run(input: &[u8]) -> Verdict {
    let Some(mut tree) = bounded(input, USUAL, || Frontier::decode(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(tree.encode(), input, "a tree has one encoding");
    let (size, root) = (tree.size(), tree.root());
    tree.push([7; 32]);
    assert!(tree.size() == size + 1 && tree.root() != root);
    Verdict::Accepted
}
