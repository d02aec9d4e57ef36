//! The rules of tokens: who is a caller, what a child may have, how long anything lives, and what revocation leaves.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::sweep;
use aumbry_auth::token::{
    Create, CreateError, Info, NewToken, OrphanError, Refusal, RenewError, TTL_S_DEFAULT, TTL_S_MAX, authenticate,
    create, find_by_accessor, find_by_text, info, make_root, renew, revoke, revoke_orphan,
};
use aumbry_barrier::Txn;
use aumbry_state::{Outcome, View as _, key};
use aumbry_types::{ObjectId, SecretBytes};
use common::Bed;

struct Tokens {
    bed: Bed,
    root: SecretBytes,
}

impl Tokens {
    fn new() -> Self {
        let mut bed = Bed::new(11);
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        let mut tokens = Self { bed, root };
        // The counts of root's children stand from its first child on: let them stand, so that rows can be compared.
        let root = tokens.root.duplicate();
        let first = tokens.create(&root, Create::default()).expect("root may").token;
        tokens.revoke(&first);
        tokens
    }

    /// Creates below the token with this text.
    fn create(&mut self, parent: &SecretBytes, wanted: Create) -> Result<NewToken, CreateError> {
        self.bed.run(|txn| {
            let caller = authenticate(txn, parent.expose(), false, "").expect("the parent stands");
            create(txn, &caller, false, wanted)
        })
    }

    fn is_valid(&mut self, token: &SecretBytes) -> bool {
        let (caller, command) = self
            .bed
            .plan(|txn| authenticate(txn, token.expose(), false, "").map(|c| c.id));
        let outcome = self.bed.apply(&command);
        caller.is_ok() && outcome == Outcome::Ok
    }

    fn id(&self, token: &SecretBytes) -> ObjectId {
        let found = self.bed.plan(|txn| find_by_text(txn, token.expose(), false)).0;
        found.expect("opens").expect("is there")
    }

    fn renew(&mut self, token: &SecretBytes, increment_s: u64) -> Result<Info, RenewError> {
        let id = self.id(token);
        self.bed.run(|txn| renew(txn, id, increment_s))
    }

    fn revoke(&mut self, token: &SecretBytes) {
        let id = self.id(token);
        self.bed.run(|txn| revoke(txn, id)).expect("opens");
    }

    /// Sweeps until nothing waits; gives the number of steps.
    fn sweep(&mut self, limit: usize) -> usize {
        for step in 0..1_000 {
            let waiting = self.bed.view.scan(&key::work_prefix(), None, 1);
            let Some(id) = waiting.first().and_then(|(row, _)| key::parse_id(row)) else {
                return step;
            };
            assert_eq!(self.bed.run(|txn| sweep(txn, id, limit)), Some(0));
        }
        panic!("the sweep does not end");
    }

    /// How many rows there are beside the machine's own and the counts of the well-known containers.
    fn rows(&self) -> usize {
        let rows = self.bed.view.rows();
        let own = |row: &&bytes::Bytes| {
            **row != key::machine() && key::parse_container(row).is_none_or(|id| id.as_bytes()[..15] != [0; 15])
        };
        rows.keys().filter(own).count()
    }
}

fn policies(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn with(names: &[&str]) -> Create {
    Create {
        policies: policies(names),
        ..Create::default()
    }
}

/// Abuse cases: 35.
#[test]
fn a_child_never_has_more_policies_than_its_parent() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let parent = tokens.create(&root, with(&["a", "b"])).expect("root may").token;
    let mut check = |wanted: Create, expect: Result<&[&str], CreateError>| {
        let created = tokens.create(&parent, wanted).map(|new| new.info.policies);
        assert_eq!(created, expect.map(policies));
    };
    check(with(&["a"]), Ok(&["a", "default"]));
    check(with(&[]), Ok(&["a", "b", "default"]));
    check(with(&["b", "a", "b"]), Ok(&["a", "b", "default"]));
    check(
        Create {
            no_default_policy: true,
            ..with(&["a"])
        },
        Ok(&["a"]),
    );
    check(with(&["a", "c"]), Err(CreateError::PolicyNotHeld));
    check(with(&["root"]), Err(CreateError::PolicyNotHeld));
    let form = CreateError::Invalid("at most 63 policies, each a name of a-z, 0-9, `-`, `_`, `.`");
    for bad in ["ROOT", "root ", "", "a/b", "r\u{f6}ot"] {
        let refused = tokens.create(&parent, with(&[bad])).map(|new| new.info.policies);
        assert_eq!(refused.as_ref().err(), Some(&form), "{bad:?}");
    }
    // `sudo` gives any policy but root.
    let refused = tokens.bed.run(|txn| {
        let caller = authenticate(txn, parent.expose(), false, "").expect("stands");
        assert!(create(txn, &caller, true, with(&["c"])).is_ok());
        create(txn, &caller, true, with(&["root"])).map(|new| new.info.policies)
    });
    assert_eq!(refused, Err(CreateError::PolicyNotHeld));
}

/// Abuse cases: 35.
#[test]
fn lifetimes_at_creation_are_bounded() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let day = 86_400;
    let mut check = |ttl_s, explicit_max_ttl_s, names: &[&str], expect: Option<u64>| {
        let created = tokens.create(
            &root,
            Create {
                ttl_s,
                explicit_max_ttl_s,
                ..with(names)
            },
        );
        assert_eq!(
            created.ok().map(|new| new.info.ttl_s),
            expect,
            "{ttl_s} {explicit_max_ttl_s}"
        );
    };
    check(0, 0, &["a"], Some(TTL_S_DEFAULT));
    check(day, 0, &["a"], Some(day));
    check(1_000 * day, 0, &["a"], Some(TTL_S_MAX));
    check(2 * day, day, &["a"], Some(day));
    check(0, day, &["a"], Some(day));
    check(0, 1_000 * day, &["a"], Some(TTL_S_MAX));
    check(u64::MAX, 0, &["a"], None);
    check(0, u64::MAX, &["a"], None);
    check(5, 0, &["root"], Some(5));
    check(0, 0, &["root"], Some(0));
    check(0, day, &["root"], Some(day));
    check(0, 1_000 * day, &["root"], Some(TTL_S_MAX));
}

#[test]
fn a_root_token_with_a_greatest_lifetime_expires() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let wanted = Create {
        explicit_max_ttl_s: 60,
        ..with(&["root"])
    };
    let new = tokens.create(&root, wanted).expect("root may");
    assert_eq!(new.info.expires_at, tokens.bed.now + 60_000);
    assert!(tokens.is_valid(&new.token));
    tokens.bed.now += 60_000;
    assert!(!tokens.is_valid(&new.token));
}

#[test]
fn what_a_request_may_carry_is_bounded() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let mut is_created = |policies: usize, pairs: usize, key: usize, value: usize| {
        let pair = |n| (format!("{n:0key$}"), "v".repeat(value));
        let wanted = Create {
            policies: (0..policies).map(|n| format!("{n:0128}")).collect(),
            metadata: (0..pairs).map(pair).collect(),
            ..Create::default()
        };
        match tokens.create(&root, wanted) {
            Ok(new) => {
                assert_eq!(new.info.policies.len(), policies + 1, "with `default`");
                true
            }
            Err(error) => {
                assert!(error.to_string().contains("at most"), "{error}");
                false
            }
        }
    };
    assert!(is_created(63, 32, 128, 512));
    assert!(!is_created(64, 0, 1, 0));
    assert!(!is_created(1, 33, 128, 512));
    assert!(!is_created(1, 1, 129, 512));
    assert!(!is_created(1, 1, 128, 513));
}

/// Abuse cases: 39.
#[test]
fn renewal_never_passes_a_limit_and_never_means_for_ever() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let start = tokens.bed.now;
    let wanted = Create {
        ttl_s: 100,
        explicit_max_ttl_s: 150,
        renewable: true,
        ..with(&["a"])
    };
    let token = tokens.create(&root, wanted).expect("root may").token;
    let mut check = |after_s: u64, increment_s, expect_end_s: u64| {
        tokens.bed.now = start + after_s * 1_000;
        let renewed = tokens.renew(&token, increment_s).expect("lives");
        assert_eq!(
            renewed.expires_at,
            start + expect_end_s * 1_000,
            "at {after_s} by {increment_s}"
        );
        assert!(renewed.renewable);
    };
    check(0, 50, 50);
    check(10, 0, 110);
    check(10, u64::MAX, 150);
    check(10, u64::MAX / 1_000, 150);
    check(120, 100, 150);
    check(149, 1_000, 150);
    tokens.bed.now = start + 150_000 - 1;
    assert!(tokens.is_valid(&token));
    assert_eq!(
        tokens.renew(&token, 0).map(|info| info.expires_at),
        Ok(start + 150_000),
        "in the last millisecond"
    );
    tokens.bed.now = start + 150_000;
    assert!(!tokens.is_valid(&token));
    assert_eq!(tokens.renew(&token, 100), Err(RenewError::NotFound), "expired is gone");

    let plain = tokens
        .create(
            &root,
            Create {
                ttl_s: 100,
                ..with(&["a"])
            },
        )
        .expect("root may")
        .token;
    assert_eq!(tokens.renew(&plain, 50), Err(RenewError::NotRenewable));
    let never = tokens
        .create(
            &root,
            Create {
                renewable: true,
                ..with(&["root"])
            },
        )
        .expect("root may")
        .token;
    assert_eq!(
        tokens.renew(&never, 50),
        Err(RenewError::NotRenewable),
        "what never expires gets no expiry, and no more"
    );
    let longest = tokens
        .create(
            &root,
            Create {
                renewable: true,
                ..with(&["a"])
            },
        )
        .expect("root may")
        .token;
    let issued = tokens.bed.now;
    tokens.bed.now += 86_400_000;
    assert_eq!(
        tokens.renew(&longest, u64::MAX).map(|info| info.expires_at),
        Ok(issued + TTL_S_MAX * 1_000)
    );
}

#[test]
fn renewal_keeps_the_uses_that_are_left() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let wanted = Create {
        ttl_s: 100,
        renewable: true,
        num_uses: 3,
        ..with(&["a"])
    };
    let token = tokens.create(&root, wanted).expect("root may").token;
    assert!(tokens.is_valid(&token));
    assert_eq!(tokens.renew(&token, 0).map(|info| info.num_uses), Ok(2));
    assert!(tokens.is_valid(&token));
    assert!(tokens.is_valid(&token));
    assert!(!tokens.is_valid(&token));
}

#[test]
fn uses_are_counted_where_the_log_puts_them() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let token = tokens
        .create(
            &root,
            Create {
                num_uses: 5,
                ..with(&["a"])
            },
        )
        .expect("root may")
        .token;
    // Nine plans on one state: each saw five uses left.
    let plans: Vec<_> = (0..9)
        .map(|_| {
            tokens
                .bed
                .plan(|txn| {
                    authenticate(txn, token.expose(), false, "")
                        .map(|_| ())
                        .expect("stands")
                })
                .1
        })
        .collect();
    let used = plans
        .iter()
        .filter(|plan| tokens.bed.apply(plan) == Outcome::Ok)
        .count();
    assert_eq!(used, 5);
}

#[test]
fn expiry_takes_the_children_along_by_the_logs_time() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let parent = tokens
        .create(
            &root,
            Create {
                ttl_s: 10,
                ..with(&["a"])
            },
        )
        .expect("root may")
        .token;
    let child = tokens
        .create(
            &parent,
            Create {
                ttl_s: 100,
                ..with(&[])
            },
        )
        .expect("may")
        .token;
    let child_id = tokens.id(&child);
    assert!(tokens.is_valid(&child));
    // Planned in time and applied too late: refused where the log decides.
    let plan = tokens
        .bed
        .plan(|txn| {
            authenticate(txn, child.expose(), false, "")
                .map(|_| ())
                .expect("stands")
        })
        .1;
    tokens.bed.now += 10_000;
    assert_eq!(tokens.bed.apply(&plan), Outcome::Expired);
    assert!(!tokens.is_valid(&parent));
    assert!(!tokens.is_valid(&child));
    let told = tokens.bed.plan(|txn| info(txn, child_id)).0;
    assert_eq!(told, Err(RenewError::NotFound));
    assert_eq!(
        tokens.bed.plan(|txn| renew(txn, child_id, 50)).0,
        Err(RenewError::NotFound)
    );
}

/// Abuse cases: 42.
#[test]
fn an_accessor_names_a_token_and_is_none() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let new = tokens.create(&root, with(&["a"])).expect("root may");
    let accessor = new.info.accessor.clone();
    let found = tokens.bed.plan(|txn| find_by_accessor(txn, &accessor)).0;
    assert_eq!(found, Ok(Some(tokens.id(&new.token))));
    let id = tokens.id(&new.token).to_string();
    for evidence in [
        accessor.as_bytes(),
        id.as_bytes(),
        b"",
        b"aum.",
        &new.token.expose()[1..],
    ] {
        for custom in [false, true] {
            let refused = tokens
                .bed
                .plan(|txn| authenticate(txn, evidence, custom, "").map(|_| ()))
                .0;
            assert_eq!(refused, Err(Refusal::Invalid));
        }
    }
    let mut mistyped = new.token.expose().to_vec();
    mistyped[20] ^= 1;
    assert!(!tokens.is_valid(&SecretBytes::new(mistyped)));
}

#[test]
fn revoking_takes_the_tree_at_once_and_the_sweep_leaves_no_row() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let before = tokens.rows();
    let top = tokens.create(&root, with(&["a"])).expect("root may").token;
    let mut all = vec![top.duplicate()];
    for _ in 0..5 {
        let child = tokens.create(&top, with(&[])).expect("may").token;
        for _ in 0..5 {
            all.push(tokens.create(&child, with(&[])).expect("may").token);
        }
        all.push(child);
    }
    let orphan = tokens
        .create(
            &top,
            Create {
                orphan: true,
                ..with(&[])
            },
        )
        .expect("may")
        .token;
    let ids: Vec<_> = all.iter().map(|token| tokens.id(token)).collect();
    tokens.revoke(&top);
    for (token, id) in all.iter().zip(ids) {
        assert!(!tokens.is_valid(token));
        assert_eq!(tokens.bed.plan(|txn| info(txn, id)).0, Err(RenewError::NotFound));
    }
    assert!(tokens.is_valid(&orphan));
    assert!(tokens.sweep(2) > 5, "in pieces");
    tokens.revoke(&orphan);
    assert_eq!(tokens.rows(), before);
}

/// Children of a token that is revoked alone keep their uses, their time and what is below them, and nothing is left of it.
#[test]
fn a_token_that_is_revoked_alone_leaves_its_children() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let before = tokens.rows();
    let parent = tokens.create(&root, with(&["a"])).expect("root may").token;
    let counted = Create {
        num_uses: 3,
        ttl_s: 100,
        ..with(&[])
    };
    let counted = tokens.create(&parent, counted).expect("may").token;
    let child = tokens.create(&parent, with(&[])).expect("may").token;
    let grandchild = tokens.create(&child, with(&[])).expect("may").token;
    assert!(tokens.is_valid(&counted));
    let id = tokens.id(&parent);
    tokens.bed.run(|txn| revoke_orphan(txn, id)).expect("may");
    assert!(!tokens.is_valid(&parent));
    tokens.sweep(10);
    assert!(tokens.is_valid(&child) && tokens.is_valid(&grandchild));
    let of_counted = tokens.id(&counted);
    let told = tokens.bed.plan(|txn| info(txn, of_counted)).0.expect("is there");
    assert_eq!((told.num_uses, told.orphan, told.ttl_s), (2, true, 100));
    assert!(tokens.is_valid(&counted) && tokens.is_valid(&counted) && !tokens.is_valid(&counted));
    assert_eq!(tokens.bed.run(|txn| revoke_orphan(txn, id)), Err(OrphanError::NotFound));
    tokens.sweep(10);
    tokens.revoke(&child);
    tokens.sweep(10);
    assert!(!tokens.is_valid(&grandchild));
    assert_eq!(tokens.rows(), before);
}

/// A child that goes before its parent leaves the parent's counts behind; they go with the parent.
#[test]
fn a_parent_whose_children_are_gone_leaves_no_row() {
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let before = tokens.rows();
    let parent = tokens.create(&root, with(&["a"])).expect("root may").token;
    let child = tokens.create(&parent, with(&[])).expect("may").token;
    tokens.revoke(&child);
    tokens.revoke(&parent);
    assert_eq!(tokens.sweep(10), 0);
    assert_eq!(tokens.rows(), before);
}

/// Abuse cases: 36.
#[test]
fn no_child_survives_a_revocation_that_it_raced() {
    let plan_child = |tokens: &Tokens, parent: &SecretBytes| {
        let planned = tokens.bed.plan(|txn: &mut Txn<'_>| {
            let caller = authenticate(txn, parent.expose(), false, "").expect("stands");
            create(txn, &caller, false, Create::default()).expect("may").token
        });
        (planned.0, planned.1)
    };
    // Create and revoke are planned on one state. Whichever comes second in the log is refused.
    for create_first in [true, false] {
        for has_child in [true, false] {
            let mut tokens = Tokens::new();
            let root = tokens.root.duplicate();
            let parent = tokens.create(&root, with(&["a"])).expect("root may").token;
            if has_child {
                tokens.create(&parent, with(&[])).expect("may");
            }
            let id = tokens.id(&parent);
            let (child, creation) = plan_child(&tokens, &parent);
            let revocation = tokens.bed.plan(|txn| revoke(txn, id).expect("opens")).1;
            let (first, second) = if create_first {
                (&creation, &revocation)
            } else {
                (&revocation, &creation)
            };
            assert_eq!(tokens.bed.apply(first), Outcome::Ok);
            assert_eq!(tokens.bed.apply(second), Outcome::Conflict);
            assert_eq!(tokens.is_valid(&child), create_first);
            if create_first {
                tokens.revoke(&parent);
            }
            assert!(!tokens.is_valid(&child));
            tokens.sweep(10);
            assert_eq!(tokens.rows(), Tokens::new().rows());
        }
    }
    // A grandchild is fenced by every ancestor, not only by its parent.
    let mut tokens = Tokens::new();
    let root = tokens.root.duplicate();
    let top = tokens.create(&root, with(&["a"])).expect("root may").token;
    let middle = tokens.create(&top, with(&[])).expect("may").token;
    let (_, creation) = plan_child(&tokens, &middle);
    tokens.revoke(&top);
    assert_eq!(tokens.bed.apply(&creation), Outcome::Conflict);
}

#[test]
fn the_tree_has_a_greatest_depth() {
    let mut tokens = Tokens::new();
    let mut parent = tokens.root.duplicate();
    for _ in 0..32 {
        parent = tokens
            .create(&parent, with(&["a"]))
            .or_else(|_| tokens.create(&parent, with(&[])))
            .expect("may")
            .token;
    }
    assert!(tokens.is_valid(&parent));
    assert!(matches!(
        tokens.create(&parent, with(&[])),
        Err(CreateError::Invalid(_))
    ));
    assert!(
        tokens
            .create(
                &parent,
                Create {
                    orphan: true,
                    ..with(&[])
                }
            )
            .is_ok()
    );
    tokens.revoke(&tokens.root.duplicate());
    assert!(!tokens.is_valid(&parent));
}
