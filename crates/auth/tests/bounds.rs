//! What binds a token beside its policies: a period, addresses, a role, a mount.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_auth::cidr::{Cidr, parse_cidrs};
use aumbry_auth::token::{
    Create, CreateError, Info, Login, NewToken, Refusal, RenewError, Role, TTL_S_DEFAULT, TTL_S_MAX, accessors,
    authenticate, create, find_by_text, info, issue, list_roles, make_root, renew, revoke,
};
use aumbry_auth::{Place, TokenParams};
use aumbry_barrier::{Kind, ObjectOptions, Txn};
use aumbry_state::{Outcome, Write};
use aumbry_types::{Name, ObjectId, SecretBytes};
use common::Bed;

struct Tokens {
    bed: Bed,
    root: SecretBytes,
}

impl Tokens {
    fn new() -> Self {
        let mut bed = Bed::new(13);
        let root = bed.run(|txn| make_root(txn, None).expect("is new")).token;
        Self { bed, root }
    }

    /// Creates as the token with this text, from the first address.
    fn create(&mut self, parent: &SecretBytes, wanted: Create) -> Result<NewToken, CreateError> {
        self.bed.run(|txn| {
            let caller = authenticate(txn, parent.expose(), false, HERE).expect("the parent stands");
            let created = create(txn, &caller, false, wanted);
            if created.is_err() {
                txn.abandon();
            }
            created
        })
    }

    fn create_as_root(&mut self, wanted: Create) -> NewToken {
        let root = self.root.duplicate();
        self.create(&root, wanted).expect("root may")
    }

    fn is_valid_at(&mut self, token: &SecretBytes, address: &str) -> bool {
        let (caller, command) = self
            .bed
            .plan(|txn| authenticate(txn, token.expose(), false, address).map(|c| c.id));
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

    fn write_role(&mut self, role: &Role) {
        self.bed.run(|txn| role.write(txn, &name("ci"))).expect("is written");
    }

    fn issue(&mut self, params: TokenParams) -> Result<NewToken, CreateError> {
        self.bed.run(|txn| {
            let issued = issue(txn, "auth/approle", login(params));
            if issued.is_err() {
                txn.abandon();
            }
            issued
        })
    }
}

fn login(params: TokenParams) -> Login {
    Login {
        mount: MOUNT,
        path: "login".to_owned(),
        alias: "app".to_owned(),
        display_name: String::new(),
        metadata: [("role_name".to_owned(), "app".to_owned())].into(),
        groups: Vec::new(),
        params,
        source: None,
        entity: None,
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("is a name")
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn cidrs(ranges: &[&str]) -> Vec<Cidr> {
    parse_cidrs(&texts(ranges)).expect("are ranges")
}

/// Abuse cases: 39, 40.
#[test]
fn a_periodic_token_is_renewed_by_its_period_and_never_past_its_explicit_limit() {
    let day = 86_400;
    let check = |period_s: u64, explicit_max_ttl_s: u64, renewals: &[(u64, u64, u64)]| {
        let mut tokens = Tokens::new();
        let start = tokens.bed.now;
        let new = tokens.create_as_root(Create {
            policies: texts(&["a"]),
            period_s,
            explicit_max_ttl_s,
            renewable: true,
            ttl_s: 7,
            ..Create::default()
        });
        assert_eq!(new.info.period_s, period_s);
        for (at_s, increment_s, end_s) in renewals {
            tokens.bed.now = start + at_s * 1_000;
            let renewed = tokens.renew(&new.token, *increment_s).expect("lives");
            assert_eq!(
                renewed.expires_at,
                start + end_s * 1_000,
                "{period_s} {explicit_max_ttl_s} at {at_s}"
            );
            assert_eq!(renewed.period_s, period_s, "a renewal raises nothing");
        }
    };
    check(
        100,
        0,
        &[(0, 0, 100), (50, 7, 150), (149, u64::MAX, 249), (248, 1, 348)],
    );
    check(100, 120, &[(0, 0, 100), (50, 0, 120), (119, u64::MAX, 120)]);
    check(100, 60, &[(0, 0, 60), (59, 0, 60)]);
    check(
        1_000 * day,
        0,
        &[(0, 0, TTL_S_MAX), (10 * day, 0, TTL_S_MAX + 10 * day)],
    );
    // Past the limit of every other token.
    check(
        20 * day,
        0,
        &[
            (15 * day, 0, 35 * day),
            (30 * day, 0, 50 * day),
            (49 * day, 0, 69 * day),
        ],
    );
}

#[test]
fn a_period_needs_sudo() {
    let mut tokens = Tokens::new();
    let plain = tokens.create_as_root(Create {
        policies: texts(&["a"]),
        ..Create::default()
    });
    let periodic = Create {
        period_s: 60,
        ..Create::default()
    };
    let refused = tokens.create(&plain.token, periodic.clone()).map(|new| new.info);
    assert_eq!(
        refused,
        Err(CreateError::Invalid("a periodic token needs `sudo` on the path"))
    );
    let made = tokens.bed.run(|txn| {
        let caller = authenticate(txn, plain.token.expose(), false, "").expect("stands");
        create(txn, &caller, true, periodic).map(|new| new.info.period_s)
    });
    assert_eq!(made, Ok(60));
}

/// Abuse cases: 46.
#[test]
fn a_token_is_refused_elsewhere_and_loses_no_use_by_it() {
    let mut tokens = Tokens::new();
    let new = tokens.create_as_root(Create {
        bound_cidrs: cidrs(&["10.0.0.0/8", "2001:db8::/32"]),
        num_uses: 3,
        ..Create::default()
    });
    for elsewhere in [
        "",
        "11.0.0.1:5",
        "[2001:db9::1]:5",
        "10.0.0.1, 11.0.0.1",
        "localhost",
        "[::1]:1",
    ] {
        assert!(!tokens.is_valid_at(&new.token, elsewhere), "{elsewhere}");
    }
    for inside in ["10.9.8.7:5", "[::ffff:10.9.8.7]:5", "[2001:db8::1]:5"] {
        assert!(tokens.is_valid_at(&new.token, inside), "{inside}");
    }
    assert!(!tokens.is_valid_at(&new.token, "10.9.8.7:5"), "three uses");
}

/// Abuse cases: 35.
#[test]
fn a_child_is_bound_within_its_parent() {
    let mut tokens = Tokens::new();
    let parent = tokens.create_as_root(Create {
        policies: texts(&["a"]),
        bound_cidrs: cidrs(&["10.0.0.0/8"]),
        ..Create::default()
    });
    let mut check = |bound: &[&str], orphan: bool, expect: Option<&[&str]>| {
        let wanted = Create {
            bound_cidrs: cidrs(bound),
            orphan,
            ..Create::default()
        };
        let made = tokens.create(&parent.token, wanted).map(|new| new.info.bound_cidrs);
        assert_eq!(made.ok(), expect.map(cidrs), "{bound:?}");
    };
    for orphan in [false, true] {
        check(&[], orphan, Some(&["10.0.0.0/8"]));
        check(&["10.1.0.0/16", "10.2.0.3"], orphan, Some(&["10.1.0.0/16", "10.2.0.3"]));
        check(&["10.0.0.0/7"], orphan, None);
        check(&["10.1.0.0/16", "0.0.0.0/0"], orphan, None);
        check(&["::/0"], orphan, None);
    }
}

#[test]
fn a_role_decides_what_can_be_asked_for() {
    let all = ["allowed", "globbed", "disallowed", "disglobbed"];
    // What the role says, what the creator holds, what is asked, and what comes of it.
    type Case<'a> = (&'a [&'a str; 4], &'a [&'a str], &'a [&'a str], Option<&'a [&'a str]>);
    let cases: &[Case<'_>] = &[
        (&["", "", "", ""], &["a"], &[], Some(&["a", "default"])),
        (&["", "", "", ""], &["a"], &["b"], None),
        (&["b,c", "", "", ""], &["a"], &[], Some(&["b", "c", "default"])),
        (&["b,c", "", "", ""], &["a"], &["c"], Some(&["c", "default"])),
        (&["b,c", "", "", ""], &["a"], &["a"], None),
        (&["", "app-*", "", ""], &["a"], &["app-x"], Some(&["app-x", "default"])),
        (&["", "app-*", "", ""], &["a"], &["web"], None),
        (&["", "app-*", "", ""], &["a"], &[], Some(&["default"])),
        (&["b", "app-*", "app-x", ""], &["a"], &["app-x"], None),
        (
            &["", "", "secret", ""],
            &["a"],
            &["anything"],
            Some(&["anything", "default"]),
        ),
        (&["", "", "secret", ""], &["a"], &["secret"], None),
        (&["", "", "", "*-rw"], &["a"], &["x-rw"], None),
        (&["", "", "default", ""], &["a"], &["x"], Some(&["x"])),
        (&["", "", "a", ""], &["a"], &[], None),
        // No role gives `root`, unless root itself asks for it.
        (&["root", "", "", ""], &["a"], &["root"], None),
        (&["", "*", "", ""], &["a"], &["root"], None),
        (&["", "*", "", ""], &["root"], &["root"], Some(&["root"])),
    ];
    for (said, held, asked, expect) in cases {
        let mut tokens = Tokens::new();
        let list = |place: usize| {
            said[place]
                .split(',')
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect()
        };
        tokens.write_role(&Role {
            allowed_policies: list(0),
            allowed_policies_glob: list(1),
            disallowed_policies: list(2),
            disallowed_policies_glob: list(3),
            ..Role::default()
        });
        let parent = tokens.create_as_root(Create {
            policies: texts(held),
            ..Create::default()
        });
        let wanted = Create {
            policies: texts(asked),
            role: Some(name("ci")),
            ..Create::default()
        };
        let made = tokens.create(&parent.token, wanted).map(|new| new.info.policies);
        assert_eq!(
            made.ok(),
            expect.map(texts),
            "{all:?} {said:?} held {held:?} asked {asked:?}"
        );
    }
}

#[test]
fn a_role_bounds_what_its_tokens_are_like() {
    let mut tokens = Tokens::new();
    tokens.write_role(&Role {
        orphan: true,
        renewable: false,
        path_suffix: "prod".to_owned(),
        params: TokenParams {
            explicit_max_ttl_s: 100,
            num_uses: 5,
            bound_cidrs: cidrs(&["192.168.0.0/16"]),
            no_default_policy: true,
            ..TokenParams::default()
        },
        ..Role::default()
    });
    let parent = tokens.create_as_root(Create {
        policies: texts(&["a"]),
        bound_cidrs: cidrs(&["10.0.0.0/8"]),
        ..Create::default()
    });
    let wanted = Create {
        policies: texts(&["a"]),
        role: Some(name("ci")),
        num_uses: 9,
        renewable: true,
        explicit_max_ttl_s: 50,
        ..Create::default()
    };
    let made = tokens.create(&parent.token, wanted).expect("the role allows it").info;
    assert_eq!(made.policies, texts(&["a"]), "without `default`");
    assert_eq!((made.num_uses, made.renewable, made.orphan), (5, false, true));
    assert_eq!((made.explicit_max_ttl_s, made.ttl_s), (50, 50));
    assert_eq!(made.path, "auth/token/create/ci/prod");
    assert_eq!(made.role, "ci");
    assert_eq!(made.bound_cidrs, cidrs(&["192.168.0.0/16"]), "what the operator wrote");

    let missing = Create {
        role: Some(name("other")),
        ..Create::default()
    };
    let refused = tokens.create(&parent.token, missing).map(|new| new.info);
    assert_eq!(refused, Err(CreateError::NoSuchRole));

    // A role whose tokens have a parent keeps them where the parent is bound.
    tokens.write_role(&Role {
        params: TokenParams {
            bound_cidrs: cidrs(&["192.168.0.0/16"]),
            period_s: 60,
            ..TokenParams::default()
        },
        ..Role::default()
    });
    let wanted = Create {
        role: Some(name("ci")),
        renewable: true,
        ..Create::default()
    };
    assert!(tokens.create(&parent.token, wanted.clone()).is_err());
    let made = tokens.create_as_root(wanted);
    assert_eq!(
        (made.info.period_s, made.info.ttl_s),
        (60, 60),
        "a role's period needs no sudo"
    );
    assert!(tokens.renew(&made.token, 0).is_ok());
    let listed = tokens.bed.plan(|txn| list_roles(txn, "", 0)).0;
    assert_eq!(listed, Ok((texts(&["ci"]), false)));
    assert_eq!(tokens.bed.run(|txn| Role::delete(txn, &name("ci"))), Ok(true));
    assert_eq!(tokens.bed.run(|txn| Role::delete(txn, &name("ci"))), Ok(false));
    assert_eq!(tokens.renew(&made.token, 0), Err(RenewError::SourceGone));
}

#[test]
fn a_login_gets_what_its_source_says() {
    let mut tokens = Tokens::new();
    let mut check = |params: TokenParams, ttl_s: u64, policies: &[&str]| {
        let new = tokens.issue(params).expect("may").info;
        assert_eq!(new.ttl_s, ttl_s);
        assert_eq!(new.policies, texts(policies));
        assert!(new.orphan && new.renewable);
        assert_eq!(new.path, "auth/approle/login");
    };
    let params = |ttl_s, max_ttl_s, explicit_max_ttl_s, period_s| TokenParams {
        policies: texts(&["b", "a", "b"]),
        ttl_s,
        max_ttl_s,
        explicit_max_ttl_s,
        period_s,
        ..TokenParams::default()
    };
    let usual = &["a", "b", "default"];
    check(params(0, 0, 0, 0), TTL_S_DEFAULT, usual);
    check(params(50, 0, 0, 0), 50, usual);
    check(params(0, 40, 0, 0), 40, usual);
    check(params(50, 40, 0, 0), 40, usual);
    check(params(50, 40, 30, 0), 30, usual);
    check(params(50, 40, 0, 20), 20, usual);
    check(params(0, 0, 10, 20), 10, usual);
    let bare = TokenParams {
        no_default_policy: true,
        ..params(5, 0, 0, 0)
    };
    check(bare, 5, &["a", "b"]);
    check(TokenParams::default(), TTL_S_DEFAULT, &["default"]);
    for policy in ["root", "Root", "a/b", ""] {
        let refused = tokens.issue(TokenParams {
            policies: texts(&[policy]),
            ..TokenParams::default()
        });
        assert!(matches!(refused, Err(CreateError::Invalid(_))), "{policy:?}");
    }
}

#[test]
fn a_logins_token_is_renewed_within_its_sources_limit() {
    let mut tokens = Tokens::new();
    let start = tokens.bed.now;
    let new = tokens.issue(TokenParams {
        ttl_s: 50,
        max_ttl_s: 80,
        ..TokenParams::default()
    });
    let token = new.expect("may").token;
    tokens.bed.now += 40_000;
    for increment in [0, 60, u64::MAX] {
        let end = tokens.renew(&token, increment).map(|info| info.expires_at);
        assert_eq!(end, Ok(start + 80_000));
    }
}

/// The tokens of a mount end with it, at once, with all that they created.
#[test]
fn tokens_of_logins_end_with_their_mount() {
    let mut tokens = Tokens::new();
    let token = tokens.issue(TokenParams::default()).expect("may").token;
    let child = tokens.create(&token, Create::default()).expect("may").token;
    let (id, child_id) = (tokens.id(&token), tokens.id(&child));
    assert!(tokens.is_valid_at(&token, HERE) && tokens.is_valid_at(&child, HERE));
    let racing = tokens
        .bed
        .plan(|txn| issue(txn, "auth/approle", login(TokenParams::default())).map(|_| ()))
        .1;
    tokens
        .bed
        .run(|txn| txn.write(Write::DeleteContainer(Place::Logins.of(MOUNT))));
    assert!(!tokens.is_valid_at(&token, HERE) && !tokens.is_valid_at(&child, HERE));
    for gone in [id, child_id] {
        assert_eq!(tokens.bed.plan(|txn| info(txn, gone)).0, Err(RenewError::NotFound));
    }
    assert_eq!(
        tokens.bed.apply(&racing),
        Outcome::Conflict,
        "no login is entered after it"
    );
}

#[test]
fn a_revoked_login_leaves_no_name() {
    let mut tokens = Tokens::new();
    let before = tokens.bed.plan(|txn| accessors(txn, 0)).0;
    let token = tokens.issue(TokenParams::default()).expect("may").token;
    assert_eq!(tokens.bed.plan(|txn| accessors(txn, 0)).0.0.len(), before.0.len() + 1);
    assert!(tokens.bed.plan(|txn| accessors(txn, 1)).0.1, "more follow");
    let id = tokens.id(&token);
    assert_eq!(tokens.bed.run(|txn| revoke(txn, id)), Ok(true));
    assert_eq!(tokens.bed.plan(|txn| accessors(txn, 0)).0, before);
    let home = tokens.bed.plan(|txn| txn.container(Place::Logins.of(MOUNT))).0;
    assert_eq!(home.map(|state| state.children), Ok(0));
}

#[test]
fn a_token_is_not_renewed_without_its_source() {
    let mut tokens = Tokens::new();
    let source = ObjectId::from_bytes([7; 16]);
    let put = |txn: &mut Txn<'_>| txn.put_object(source, Kind::TokenRole, b"role", ObjectOptions::default());
    tokens.bed.run(put);
    let new = tokens.bed.run(|txn| {
        let login = Login {
            source: Some(source),
            ..login(TokenParams::default())
        };
        issue(txn, "auth/approle", login).expect("may")
    });
    assert!(tokens.renew(&new.token, 5).is_ok());
    tokens.bed.run(|txn| txn.delete_object(source));
    assert_eq!(tokens.renew(&new.token, 5), Err(RenewError::SourceGone));
    assert!(tokens.is_valid_at(&new.token, HERE), "it lives as long as it was given");
    let refusal = tokens.bed.plan(|txn| authenticate(txn, b"", false, HERE).map(|_| ())).0;
    assert_eq!(refusal, Err(Refusal::Invalid));
}

const HERE: &str = "10.0.0.1:1";
const MOUNT: ObjectId = ObjectId::from_bytes([0x55; 16]);
