//! What apply keeps of a container: one encoding, and nothing after it.

use aumbry_state::ContainerState;
use bytes::Bytes;

use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "container",
    seeds,
    run,
    input_bytes_max: 64,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let state = |revoked| ContainerState {
        generation: 1,
        scan: 2,
        children: 3,
        revoked,
    };
    vec![state(false).encode().to_vec(), state(true).encode().to_vec()]
}

fn run(input: &[u8]) -> Verdict {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(state) = bounded(input, USUAL, || ContainerState::decode(&bytes)) else {
        return Verdict::Refused;
    };
    assert_eq!(state.encode(), input, "a state has one encoding");
    Verdict::Accepted
}
