//! A token as it is shown: none is accepted but one that was given, byte for byte, whatever is like it.

use aumbry_auth::token::{Create, TokenType, authenticate, batch_info, create, make_root};

use super::HERE;
use crate::check::{USUAL, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "batch_token",
    seeds: || GIVEN.with(|given| given.texts.clone()),
    run,
    words: &[b"aum.b.", b"aum.", b"_", b"-", b"="],
    input_bytes_max: 4_096,
    smoke: 3_000,
    ..Target::USUAL
};

/// A store with a token of each kind.
struct Given {
    bed: Bed,
    /// Another cluster, which knows none of them.
    other: Bed,
    /// One that lives as a row, and two that hold all there is themselves.
    texts: Vec<Vec<u8>>,
}

thread_local! {
    static GIVEN: Given = Given::make();
}

impl Given {
    fn make() -> Self {
        let mut bed = Bed::new(3);
        let root = bed.run(|txn| make_root(txn, None)).expect("is made").token;
        let mut texts = vec![root.expose().to_vec()];
        for policy in ["p", "a-policy-with-a-longer-name"] {
            let wanted = Create {
                policies: vec![policy.to_owned()],
                ttl_s: 3_600,
                token_type: Some(TokenType::Batch),
                ..Create::default()
            };
            let made = bed.run(|txn| {
                let caller = authenticate(txn, root.expose(), false, HERE).map_err(|_| "the root is refused")?;
                create(txn, &caller, true, wanted).map_err(|_| "it is not made")
            });
            texts.push(made.expect("is made").token.expose().to_vec());
        }
        // What is only as long-lived as a row comes last.
        texts.rotate_left(1);
        Self {
            bed,
            other: Bed::new(4),
            texts,
        }
    }
}

fn run(input: &[u8]) -> Verdict {
    GIVEN.with(|given| {
        let of = |bed: &Bed| {
            let plan = bed.plan(|txn| {
                let accepted = bounded(input, USUAL, || authenticate(txn, input, false, HERE).is_ok());
                assert!(accepted || txn.is_read_only(), "what is refused writes nothing");
                let told = batch_info(txn, input).is_some();
                assert!(accepted || !told, "nothing is told of what is refused");
                accepted
            });
            plan.0
        };
        assert!(!of(&given.other), "a token is good in its own cluster alone");
        let accepted = of(&given.bed);
        let is_given = given.texts.iter().any(|text| text == input);
        assert_eq!(
            accepted, is_given,
            "a token is good as it was given, and in no other form"
        );
        Verdict::of(accepted)
    })
}
