//! Histories of tokens and of wrappings made by hand.

mod support;

use aumbry_checker::Reply;
use support::*;

#[test]
fn tokens() {
    good(
        "two uses",
        &[
            told(1, 2, token("t", 2), Reply::Done),
            told(3, 6, use_token("t"), Reply::Done),
            told(4, 7, use_token("t"), Reply::Refused),
            told(5, 8, use_token("t"), Reply::Done),
            told(9, 10, use_token("t"), Reply::Refused),
            told(11, 12, revoke("t"), Reply::NotFound),
        ],
    );
    good(
        "an open use may have counted",
        &[
            told(1, 2, token("t", 1), Reply::Done),
            open(3, use_token("t")),
            told(4, 5, use_token("t"), Reply::Refused),
        ],
    );
    good(
        "revocation reaches below",
        &[
            told(1, 2, token("p", 0), Reply::Done),
            told(3, 4, child("c", "p", 0), Reply::Done),
            told(5, 6, child("g", "c", 3), Reply::Done),
            told(7, 8, use_token("g"), Reply::Done),
            told(9, 10, child("x", "g", 1), Reply::Refused),
            told(11, 12, revoke("p"), Reply::Done),
            told(13, 14, use_token("g"), Reply::Refused),
            told(15, 16, revoke("c"), Reply::Done),
            told(17, 18, revoke("c"), Reply::NotFound),
            told(19, 20, child("y", "c", 1), Reply::Refused),
        ],
    );
    let uses = |last: Reply| {
        vec![
            told(1, 2, token("t", 2), Reply::Done),
            told(3, 4, use_token("t"), Reply::Done),
            told(5, 6, use_token("t"), Reply::Done),
            told(7, 8, use_token("t"), last),
        ]
    };
    good("as often as allowed", &uses(Reply::Refused));
    bad("once more than allowed", "token \"t\"", 8, &[], &uses(Reply::Done));
    bad(
        "once less than allowed",
        "token \"t\"",
        6,
        &[],
        &[
            told(1, 2, token("t", 2), Reply::Done),
            told(3, 4, use_token("t"), Reply::Done),
            told(5, 6, use_token("t"), Reply::Refused),
        ],
    );
    bad(
        "used after its parent was revoked",
        "token \"p\"",
        8,
        &[],
        &[
            told(1, 2, token("p", 0), Reply::Done),
            told(3, 4, child("c", "p", 0), Reply::Done),
            told(5, 6, revoke("p"), Reply::Done),
            told(7, 8, use_token("c"), Reply::Done),
        ],
    );
    bad(
        "used again after its revocation was seen",
        "token \"t\"",
        8,
        &[],
        &[
            told(1, 2, token("t", 0), Reply::Done),
            open(3, revoke("t")),
            told(4, 5, use_token("t"), Reply::Refused),
            told(7, 8, use_token("t"), Reply::Done),
        ],
    );
}

#[test]
fn wrappings() {
    good(
        "once",
        &[
            told(1, 2, wrap("w", 5), Reply::Done),
            told(3, 5, unwrap("w"), Reply::Refused),
            told(4, 6, unwrap("w"), Reply::Unwrapped { value: 5 }),
            told(7, 8, unwrap("w"), Reply::Refused),
        ],
    );
    bad(
        "twice",
        "wrapping \"w\"",
        6,
        &[],
        &[
            told(1, 2, wrap("w", 5), Reply::Done),
            told(3, 5, unwrap("w"), Reply::Unwrapped { value: 5 }),
            told(4, 6, unwrap("w"), Reply::Unwrapped { value: 5 }),
        ],
    );
    bad(
        "another's value",
        "wrapping \"w\"",
        5,
        &[],
        &[
            told(1, 2, wrap("w", 5), Reply::Done),
            told(3, 5, unwrap("w"), Reply::Unwrapped { value: 6 }),
        ],
    );
}
