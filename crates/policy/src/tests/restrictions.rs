//! What rules ask of a request beyond path and capability.

use super::{asks, check, compiled, policy};
use crate::{Policy, Reason};

/// A rule on `a` for all writes, reads and lists.
fn rule(restrictions: &str) -> String {
    format!(
        "path \"a\" {{ capabilities = [\"create\", \"update\", \"patch\", \"read\", \"list\", \"scan\", \"delete\"]\n{restrictions}\n}}"
    )
}

fn check_rule(restrictions: &str, allowed: &[&str], refused: &[&str]) {
    check(&[&rule(restrictions)], allowed, refused);
}

#[test]
fn allowed_parameters() {
    check_rule(
        "allowed_parameters = { \"bar\" = [\"zip\", \"zap*\", \"*end\", \"*mid*\", 8, true], \"Free\" = [] }",
        &[
            "update a",
            "create a bar=zip",
            "patch a bar=zap",
            "update a bar=zappy BAR=zip free=x FREE={} Free=[a|b]",
            "update a bar=the-end",
            "update a bar=amidst",
            "update a bar=#8",
            "update a bar=#8.0",
            "update a bar=!true",
            "update a bar=[zip|#8]",
            // What does not write is not asked for parameters.
            "delete a ?",
            "list a ?",
            "read a ?",
        ],
        &[
            "update a bar=zop",
            "update a bar=ZIP",
            "update a bar=8",
            "update a bar=true",
            "update a bar=!false",
            "update a bar=#9",
            "update a bar=null",
            "update a bar={}",
            "update a bar=[]",
            "update a bar=[zip|zop]",
            "update a bar=[zip|{}]",
            "update a bar=zip other=x",
            "update a *=x",
            // Not known is not none.
            "update a ?",
            "create a ?",
            "patch a ?",
            // Parameters that a read has count as well.
            "read a other=x",
        ],
    );
    check_rule(
        "allowed_parameters { bar = [\"zip\"] \"*\" = [] }",
        &["update a other=x bar=zip"],
        &["update a other=x bar=zop", "update a ?"],
    );
    check_rule("allowed_parameters { \"*\" = [] }", &["update a x={}"], &["update a ?"]);
    // One star alone is no glob.
    check_rule(
        "allowed_parameters { b = [\"*\"] }",
        &["update a b=*"],
        &["update a b=x"],
    );
    check_rule(
        "allowed_parameters { b = [\"**\"] }",
        &["update a b=x", "update a b="],
        &[],
    );
}

#[test]
fn denied_parameters() {
    check_rule(
        "denied_parameters = { \"policies\" = [\"admin\", \"root*\"], \"force\" = [true], \"ttl\" = [10], gone = [] }",
        &[
            "update a",
            "update a policies=dev other=x",
            "update a force=!false ttl=#1",
            "update a policies=null",
        ],
        &[
            "update a policies=admin",
            "update a Policies=admin",
            "update a policies=rootless",
            "update a policies=[dev|admin]",
            "update a policies=dev,admin",
            // What cannot be compared might be it.
            "update a policies={}",
            "update a policies=[{}]",
            // What engines take for it is it.
            "update a force=TRUE",
            "update a force=#1",
            "update a force=t",
            "update a ttl=10",
            "update a ttl=#1e1",
            "update a gone=null",
            "update a ?",
        ],
    );
    check_rule(
        "denied_parameters { \"*\" = [] }",
        &["update a"],
        &["update a x=1", "update a ?"],
    );
    // Denied overrides allowed.
    check_rule(
        "allowed_parameters { b = [], c = [\"x*\"] }\ndenied_parameters { c = [\"xx\"] }",
        &["update a b=1 c=xy"],
        &["update a c=xx", "update a d=1"],
    );
}

#[test]
fn required_parameters() {
    check_rule(
        "required_parameters = [\"Name\", \"id\"]",
        &[
            "update a name=x id=#1",
            "create a name={} id=[] more=1",
            "read a",
            "delete a ?",
            "list a",
        ],
        // An engine knows its parameters by their own spelling alone.
        &[
            "update a name=x",
            "update a name=x id=null",
            "update a",
            "update a NAME=x id=1",
            "update a ?",
            "patch a id=1",
        ],
    );
}

/// As Vault merges them: lists grow, no values swallow some, and one restriction holds for all that share the pattern.
#[test]
fn restrictions_of_one_pattern_are_united() {
    let of = |restrictions: &str| rule(restrictions);
    let (x, y) = (
        of("allowed_parameters { b = [\"x\"] }"),
        of("allowed_parameters { b = [\"y\"], c = [] }"),
    );
    check(
        &[&x, &y],
        &["update a b=x", "update a b=y c=1"],
        &["update a b=z", "update a d=1"],
    );
    check(&[&x, &of("")], &["update a b=x"], &["update a b=y", "update a ?"]);
    check(
        &[&x, &of("allowed_parameters { b = [] }")],
        &["update a b=z"],
        &["update a c=1"],
    );
    let denied = [
        of("denied_parameters { b = [\"x\"] }"),
        of("denied_parameters { b = [\"y\"] }"),
    ];
    check(
        &[&denied[0], &denied[1]],
        &["update a b=z"],
        &["update a b=x", "update a b=y"],
    );
    check(
        &[&denied[0], &of("denied_parameters { b = [] }")],
        &["update a"],
        &["update a b=z"],
    );
    let required = [of("required_parameters = [\"b\"]"), of("required_parameters = [\"c\"]")];
    check(
        &[&required[0], &required[1]],
        &["update a b=1 c=1"],
        &["update a b=1", "update a c=1"],
    );
    let wrapping = [
        of("min_wrapping_ttl = 60\nmax_wrapping_ttl = 600"),
        of("min_wrapping_ttl = 30"),
    ];
    check(
        &[&wrapping[0], &wrapping[1]],
        &["read a wrap=30"],
        &["read a wrap=29", "read a wrap=601", "read a"],
    );
    let none_left = [of("min_wrapping_ttl = 60"), of("max_wrapping_ttl = 30")];
    check(
        &[&none_left[0], &none_left[1]],
        &[],
        &["read a wrap=30", "read a wrap=60", "read a wrap=45"],
    );
    let limits = [of("pagination_limit = 10"), of("pagination_limit = 5")];
    check(&[&limits[0], &limits[1]], &["list a limit=5"], &["list a limit=6"]);
    // A more specific pattern has none of it.
    check(
        &[
            "path \"a*\" { policy = \"write\" denied_parameters { \"*\" = [] } }",
            "path \"ab\" { policy = \"write\" }",
        ],
        &["update ab x=1"],
        &["update ac x=1"],
    );
    // And a deny stays one.
    check(&[&x, "path \"a\" { policy = \"deny\" }"], &[], &["update a b=x"]);
}

#[test]
fn wrapping_ttls() {
    check_rule(
        "min_wrapping_ttl = \"1m\"\nmax_wrapping_ttl = \"90s\"",
        &[
            "read a wrap=60",
            "update a wrap=90",
            "list a wrap=75",
            "delete a wrap=60",
        ],
        &[
            "read a",
            "read a wrap=59",
            "read a wrap=91",
            "read a wrap=0",
            "list a",
            "delete a",
        ],
    );
    check_rule(
        "max_wrapping_ttl = 90",
        &["read a wrap=1"],
        &["read a", "read a wrap=91"],
    );
    check_rule(
        "min_wrapping_ttl = \"1s\"",
        &["read a wrap=99999999"],
        &["read a", "read a wrap=0"],
    );
    check_rule("min_wrapping_ttl = 0", &["read a"], &[]);
    let set = compiled(&[&rule("min_wrapping_ttl = \"1m\"\nmax_wrapping_ttl = \"90s\"")]);
    let decision = asks("read a wrap=60", |access| set.decide(access));
    assert_eq!(
        (decision.min_wrapping_ttl_s, decision.max_wrapping_ttl_s),
        (Some(60), Some(90))
    );
}

#[test]
fn pagination_limits() {
    let limit = |restrictions: &str, question: &str| {
        let decision = asks(question, |access| compiled(&[&rule(restrictions)]).decide(access));
        decision.allowed.then_some(decision.limit)
    };
    let ten = "pagination_limit = 10";
    for (question, expect) in [
        ("list a", Some(Some(10))),
        ("scan a", Some(Some(10))),
        ("list a/", Some(Some(10))),
        ("list a limit=0", Some(Some(10))),
        ("list a limit=max", Some(Some(10))),
        ("list a limit=3", Some(Some(3))),
        ("list a limit=10", Some(Some(10))),
        ("list a limit=11", None),
        ("list a/ limit=11", None),
        ("read a", Some(None)),
    ] {
        assert_eq!(limit(ten, question), expect, "{question}");
    }
    assert_eq!(limit("", "list a"), Some(None));
    assert_eq!(limit("", "list a limit=7"), Some(Some(7)));
    let required = "pagination_limit = 10\nrequired_parameters = [\"limit\"]";
    for (question, expect) in [
        ("list a", None),
        ("list a limit=0", None),
        ("list a limit=max", Some(Some(10))),
        ("list a limit=4", Some(Some(4))),
    ] {
        assert_eq!(limit(required, question), expect, "{question}");
    }
    // The two spellings of a listed path cannot be played against each other.
    let set = compiled(&[
        "path \"b\" { capabilities = [\"list\"] } path \"b/\" { capabilities = [\"list\"] pagination_limit = 2 }",
    ]);
    for path in ["list b", "list b/"] {
        assert_eq!(asks(path, |access| set.decide(access).limit), Some(2));
        assert!(!asks(&format!("{path} limit=3"), |access| set.decide(access).allowed));
    }
}

#[test]
fn what_is_wrong_is_refused() {
    for (text, says) in [
        ("allowed_parameters = [\"a\"]", "objects of lists"),
        ("allowed_parameters = { a = \"b\" }", "a list of strings"),
        ("allowed_parameters = { a = [[\"b\"]] }", "a list of strings"),
        ("allowed_parameters = { a = [b] }", "a list of strings"),
        ("allowed_parameters = {}", "at least one parameter"),
        ("denied_parameters {}", "at least one parameter"),
        ("denied_parameters { \"*\" = [\"a\"] }", "write []"),
        ("denied_parameters { a = [] A = [] }", "twice"),
        ("denied_parameters \"x\" { a = [] }", "objects of lists"),
        ("required_parameters = \"a\"", "a list of names"),
        ("required_parameters = [1]", "a list of names"),
        ("required_parameters = [\"\"]", "a list of names"),
        ("min_wrapping_ttl = \"1 s\"", "wrapping TTL"),
        ("min_wrapping_ttl = true", "wrapping TTL"),
        ("min_wrapping_ttl = 2 max_wrapping_ttl = 1", "not less than"),
        ("pagination_limit = 0", "from 1"),
        ("pagination_limit = \"many\"", "from 1"),
        ("expiration = \"tomorrow\"", "expiration is a moment"),
        ("comment = 1", "comment is a string"),
        ("comment = \"a\" comment = \"a\"", "twice"),
    ] {
        let error = Policy::parse(&rule(text)).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    let error =
        Policy::parse("secret \"kv/a\" { capabilities = [\"update\"] denied_parameters { a = [] } }").unwrap_err();
    assert_eq!(error.reason, Reason::OnlyInPath("denied_parameters"));
}

/// A rule about secrets keeps what holds for all its routes.
#[test]
fn secret_blocks_are_restricted_too() {
    let text = "secret \"kv/a\" { capabilities = [\"read\", \"list\"] min_wrapping_ttl = 1 pagination_limit = 3 expiration = 5 comment = \"why\" }";
    check(
        &[text],
        &["read kv/data/a wrap=1", "list kv/metadata/a wrap=1 limit=3"],
        &[
            "read kv/data/a",
            "list kv/metadata/a wrap=1 limit=4",
            "read kv/data/a wrap=1 at=5001",
        ],
    );
    let json = r#"{"path": {"a": {"capabilities": ["update"], "allowed_parameters": {"n": [1, 2.50, "x", true]}, "pagination_limit": 3, "expiration": "5"}}}"#;
    let hcl = "path \"a\" { capabilities = [\"update\"] allowed_parameters { n = [1, \"x\", true] } pagination_limit = \"3\" expiration = 5 }";
    check(&[json], &["update a n=#2.5"], &["update a n=#3"]);
    assert_ne!(policy(json).rules(), policy(hcl).rules());
    assert_eq!(policy(&json.replace("2.50, ", "")).rules(), policy(hcl).rules());
}

#[test]
fn a_set_says_whether_parameters_matter() {
    assert!(!compiled(&[&rule("min_wrapping_ttl = 1")]).restricts_parameters());
    assert!(compiled(&[&rule("required_parameters = [\"a\"]")]).restricts_parameters());
}

#[test]
fn a_rule_that_is_written_is_read_as_itself() {
    for text in [
        &rule(""),
        &rule("allowed_parameters = { \"b\" = [\"z*\", 8, true, \"\\\"\"], \"*\" = [] }\ndenied_parameters { c = [] }"),
        &rule(
            "required_parameters = [\"A\", \"b\"]\nmin_wrapping_ttl = \"1m\"\nmax_wrapping_ttl = 90\npagination_limit = 5",
        ),
        "path \"a/{{ identity.entity.name }}/*\" { policy = \"deny\" expiration = \"2027-01-31T12:00:00.5+01:00\" }",
        "{\"path\": {\"a\\\"\\\\${b\": {\"policy\": \"write\", \"denied_parameters\": {\"n\": [-1, 2.50, 1e300, -0.0, 18446744073709551615, 1e-7]}}}}",
        "secret \"kv/{{identity.entity.id}}\" { capabilities = [\"deny\"] expiration = 99999999999999 }",
    ] {
        for rule in policy(text).rules() {
            let written = rule.to_json();
            assert_eq!(policy(&written).rules(), core::slice::from_ref(rule), "{written}");
        }
    }
}

/// A request can be long, and so can a policy; both together must not be.
#[test]
fn what_is_compared_is_bounded() {
    let named = |count: usize| (0..count).map(|n| format!("\"v{n}\", ")).collect::<String>();
    for (text, fits) in [
        (format!("denied_parameters = {{ b = [{}] }}", named(256)), true),
        (format!("denied_parameters = {{ b = [{}] }}", named(257)), false),
        (format!("required_parameters = [{}]", named(257)), false),
        (
            format!("allowed_parameters = {{ {} }}", named(257).replace(',', " = []")),
            false,
        ),
        (
            format!("allowed_parameters = {{ {} }}", named(256).replace(',', " = []")),
            true,
        ),
    ] {
        assert_eq!(Policy::parse(&rule(&text)).is_ok(), fits, "{}", &text[..40]);
    }
    let texts = |count: usize| format!("update a b={}", vec!["x"; count].join(","));
    let lists = |count: usize| format!("update a b=[{}]", vec!["x"; count].join("|"));
    check_rule(
        "denied_parameters = { b = [\"y\"] }",
        &[&texts(1_000), &lists(1_000), "update a c=1"],
        &[&texts(1_001), &lists(1_001)],
    );
    check_rule(
        "allowed_parameters = { b = [\"x\"] }",
        &[&lists(1_000)],
        &[&lists(1_001)],
    );
}
