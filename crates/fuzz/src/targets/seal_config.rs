//! The configuration of the seal: one encoding, and nothing after it.

use aumbry_crypto::seal::{SealConfig, make_seal};
use aumbry_types::SimulatedEntropy;

use super::{STORAGE, key};
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "seal_config",
    seeds,
    run,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let seal = |shares, threshold| {
        let (config, _) =
            make_seal(STORAGE, 3, shares, threshold, &key(1), &SimulatedEntropy::new(1)).expect("it is a threshold");
        config.encode()
    };
    vec![seal(1, 1), seal(3, 2), seal(5, 3)]
}

fn run(input: &[u8]) -> Verdict {
    let Ok(config) = bounded(input, USUAL, || SealConfig::decode(input)) else {
        return Verdict::Refused;
    };
    assert_eq!(config.encode(), input, "a configuration has one encoding");
    assert_eq!(config.share_digests.len(), usize::from(config.shares));
    assert!(config.threshold <= config.shares && config.threshold > 0);
    Verdict::Accepted
}
