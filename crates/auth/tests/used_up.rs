//! Tokens with a number of uses: exactly so many succeed, and then the token goes, from the disk too.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::sweep;
use aumbry_auth::token::{Create, authenticate, create, find_by_text, info, make_root, renew, revoke};
use aumbry_barrier::Txn;
use aumbry_state::{Command, Outcome, View as _, key};
use aumbry_types::{ObjectId, SecretBytes};
use common::Bed;

struct Tokens {
    bed: Bed,
    root: SecretBytes,
}

impl Tokens {
    fn new() -> Self {
        let mut bed = Bed::new(12);
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        Self { bed, root }
    }

    /// A token with so many uses that never expires.
    fn counted(&mut self, num_uses: u64) -> SecretBytes {
        let wanted = Create {
            num_uses,
            ..Create::default()
        };
        let root = self.root.duplicate();
        let new = self.bed.run(|txn| child(txn, &root, wanted));
        assert_eq!(new.1, 0, "never expires");
        new.0
    }

    fn id(&self, token: &SecretBytes) -> Option<ObjectId> {
        let found = self.bed.plan(|txn| find_by_text(txn, token.expose(), false)).0;
        found.expect("opens")
    }

    fn plan_use(&self, token: &SecretBytes) -> (bool, Command) {
        self.bed
            .plan(|txn| authenticate(txn, token.expose(), false, "").is_ok())
    }

    fn is_valid(&mut self, token: &SecretBytes) -> bool {
        let (is_valid, command) = self.plan_use(token);
        assert_eq!(self.bed.apply(&command), Outcome::Ok);
        is_valid
    }

    fn waiting(&self) -> Option<ObjectId> {
        let waiting = self.bed.view.scan(&key::work_prefix(), None, 1);
        waiting.first().and_then(|(row, _)| key::parse_id(row))
    }

    fn sweep_all(&mut self) {
        for _ in 0..10 {
            let Some(id) = self.waiting() else { return };
            assert_eq!(self.bed.run(|txn| sweep(txn, id, 10)), Some(0));
        }
        panic!("the sweep does not end");
    }

    fn objects(&self) -> usize {
        let rows = self.bed.view.rows();
        rows.keys()
            .filter(|row| row[0] == key::object(ObjectId::well_known(0))[0])
            .count()
    }
}

/// Creates a token below the one with this text; gives its text and when it expires.
fn child(txn: &mut Txn<'_>, parent: &SecretBytes, wanted: Create) -> (SecretBytes, u64) {
    let caller = authenticate(txn, parent.expose(), false, "").expect("the parent stands");
    let new = create(txn, &caller, false, wanted).expect("may");
    (new.token, new.info.expires_at)
}

#[test]
fn a_used_up_token_goes() {
    let mut tokens = Tokens::new();
    let before = tokens.bed.view.rows().len();
    let token = tokens.counted(3);
    assert!(tokens.is_valid(&token));
    assert!(tokens.is_valid(&token));
    assert_eq!(tokens.waiting(), None);
    assert!(tokens.is_valid(&token), "the last use is one");
    assert!(!tokens.is_valid(&token));
    tokens.sweep_all();
    assert!(!tokens.is_valid(&token));
    assert_eq!(tokens.id(&token), None);
    assert_eq!(tokens.objects(), 1, "the root token alone");
    // The counts of root's children stand from its first child on.
    assert_eq!(tokens.bed.view.rows().len(), before + 1);
}

#[test]
fn a_token_with_a_number_of_uses_creates_none() {
    let mut tokens = Tokens::new();
    let token = tokens.counted(3);
    for orphan in [false, true] {
        let refused = tokens.bed.run(|txn| {
            let caller = authenticate(txn, token.expose(), false, "").expect("stands");
            let wanted = Create {
                orphan,
                num_uses: 1,
                ..Create::default()
            };
            let refused = create(txn, &caller, true, wanted).err();
            txn.abandon();
            refused
        });
        let text = refused.expect("is refused").to_string();
        assert!(text.contains("use one without a limit"), "{text}");
    }
    assert_eq!(tokens.objects(), 2, "root and the one itself");
    assert!(tokens.is_valid(&token), "each attempt took one use");
    assert!(!tokens.is_valid(&token));
}

/// Whatever the last use is for, the token does not outlive it.
#[test]
fn the_last_use_may_be_for_the_token_itself() {
    let last_uses: [fn(&mut Txn<'_>, &SecretBytes, ObjectId); 3] = [
        |txn, token, id| {
            authenticate(txn, token.expose(), false, "").expect("stands");
            revoke(txn, id).expect("opens");
        },
        |txn, token, id| {
            authenticate(txn, token.expose(), false, "").expect("stands");
            let _ = renew(txn, id, 5);
        },
        |txn, token, _| {
            authenticate(txn, token.expose(), false, "").expect("stands");
            txn.abandon();
        },
    ];
    for last_use in last_uses {
        let mut tokens = Tokens::new();
        let token = tokens.counted(2);
        assert!(tokens.is_valid(&token));
        let id = tokens.id(&token).expect("is there");
        tokens.bed.run(|txn| last_use(txn, &token, id));
        tokens.sweep_all();
        assert!(tokens.bed.plan(|txn| info(txn, id)).0.is_err());
        assert_eq!(tokens.objects(), 1);
    }
}

/// The mark is planned on what is in flight, and the sweep decides on what was applied.
#[test]
fn exactly_so_many_uses_succeed_whatever_is_lost() {
    let mut tokens = Tokens::new();
    let token = tokens.counted(2);
    let id = tokens.id(&token).expect("is there");
    let (_, lost) = tokens.plan_use(&token);
    assert_eq!(tokens.bed.fly(&lost), Outcome::Ok);
    let (_, second) = tokens.plan_use(&token);
    assert_eq!(tokens.bed.fly(&second), Outcome::Ok);
    assert_eq!(
        tokens.bed.plan(|txn| sweep(txn, id, 10)).0,
        None,
        "waits for what is in flight"
    );
    // The first use comes to nothing, and the second was marked as the last.
    assert_eq!(tokens.bed.apply(&second), Outcome::Ok);
    tokens.bed.lose_flight();
    tokens.sweep_all();
    assert!(tokens.is_valid(&token), "one use was left");
    assert!(!tokens.is_valid(&token));
    tokens.sweep_all();
    assert_eq!(tokens.id(&token), None);

    // Every use was planned as if it were not the last: the next attempt marks the token.
    let token = tokens.counted(2);
    let plans = [
        tokens.plan_use(&token).1,
        tokens.plan_use(&token).1,
        tokens.plan_use(&token).1,
    ];
    let outcomes = plans.map(|plan| tokens.bed.apply(&plan));
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::Exhausted]);
    assert_eq!(tokens.waiting(), None);
    assert!(!tokens.is_valid(&token));
    tokens.sweep_all();
    assert_eq!(tokens.id(&token), None);
}
