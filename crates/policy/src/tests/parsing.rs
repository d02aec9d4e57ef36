//! Texts that are policies and texts that are not.

use aumbry_types::PathError;
use proptest::prelude::*;

use super::policy;
use crate::{PatternError, Policy, Reason};

/// The rules as `pattern capability,capability`.
pub(super) fn rules(policy: &Policy) -> Vec<String> {
    let show = |rule: &crate::Rule| {
        let names: Vec<_> = rule.capabilities().iter().map(|c| c.as_str()).collect();
        format!("{} {}", rule.pattern(), names.join(","))
    };
    policy.rules().iter().map(show).collect()
}

#[test]
fn accepted() {
    let check = |text: &str, expect: &[&str]| assert_eq!(rules(&policy(text)), expect, "{text}");
    check("", &[]);
    check("# nothing\n// at /* all\n/* ] \" */", &[]);
    check("{}", &[]);
    check(
        "path \"a/*\" {\n  capabilities = [\"list\", \"read\",]\n}\npath \"b\" { policy = \"read\" }",
        &["a/* read,list", "b read,list"],
    );
    check(
        r#" {"path": {"a/*": {"capabilities": ["read"]}, "b": {"policy": "write"}}}"#,
        &["a/* read", "b create,read,update,delete,list"],
    );
    check(
        r#"path "a/.*" { policy = "sudo" }"#,
        &["a/.* create,read,update,delete,list,sudo"],
    );
    check(r#"path "secret/" { policy = "deny" }"#, &["secret/ deny"]);
}

#[test]
fn secret_blocks() {
    let check = |pattern: &str, rest: &str, expect: &[&str]| {
        let text = format!("secret \"{pattern}\" {{\n{rest}\n}}");
        assert_eq!(rules(&policy(&text)), expect, "{text}");
    };
    check("kv/app/*", "capabilities = [\"read\"]", &["kv/data/app/* read"]);
    check(
        "kv/a",
        "capabilities = [\"list\", \"scan\"]",
        &["kv/metadata/a list,scan"],
    );
    check("kv/*", "capabilities = [\"create\"]", &["kv/data/* create"]);
    check(
        "team/kv/+/x",
        "mount = \"team/kv/\"\n capabilities = [\"update\", \"patch\"]",
        &["team/kv/data/+/x update,patch"],
    );
    check(
        "kv/a",
        "capabilities = [\"delete\"]",
        &[
            "kv/data/a delete",
            "kv/metadata/a delete",
            "kv/delete/a update",
            "kv/undelete/a update",
            "kv/destroy/a update",
        ],
    );
    check(
        "kv/a",
        "capabilities = [\"deny\"]",
        &[
            "kv/data/a deny",
            "kv/metadata/a deny",
            "kv/delete/a deny",
            "kv/undelete/a deny",
            "kv/destroy/a deny",
            "kv/subkeys/a deny",
        ],
    );
}

#[test]
fn refused_patterns() {
    let check = |pattern: &str, expect: PatternError| {
        let text = format!(r#"path "{pattern}" {{ policy = "read" }}"#);
        let error = Policy::parse(&text).expect_err(&text);
        assert_eq!((error.reason, error.line), (Reason::Pattern(expect), Some(1)), "{text}");
    };
    check("a/*/b", PatternError::StarNotLast);
    check("a**", PatternError::StarNotLast);
    for pattern in ["a+", "a/+b/c", "a/+*", "++"] {
        check(pattern, PatternError::PlusInSegment);
    }
    for pattern in [
        "a/{{identity.entity}}",
        "a/{{identity.entity.id",
        "a/identity.entity.id}}",
        "a/{{}}",
        "a/{{{identity.entity.id}}}",
        "a/{{identity.entity.metadata}}",
        "a/{{identity.entity.metadata.}}",
        "a/{{identity.entity.custom_metadata.a}}",
        "a/{{identity.entity.aliases.a}}",
        "a/{{identity.entity.aliases..id}}",
        "a/{{identity.groups.ids.g.id}}",
        "a/{{identity.groups.names.g.name}}",
        "a/{{identity.groups.names.id}}",
        "a/{{time.now}}",
        "a/{b}}",
    ] {
        check(pattern, PatternError::Template);
    }
    check("a/{{identity.entity.id}}/*/b", PatternError::StarNotLast);
    check("a/{{identity.entity.id}}+", PatternError::PlusInSegment);
    check("/{{identity.entity.id}}", PatternError::Path(PathError::EmptySegment));
    for pattern in ["", "/"] {
        check(pattern, PatternError::Path(PathError::Empty));
    }
    for pattern in ["/a", "a//b", "a//", "//*", "a//*", "/*"] {
        check(pattern, PatternError::Path(PathError::EmptySegment));
    }
    for pattern in ["..", "a/../*", "./a", "a/."] {
        check(pattern, PatternError::Path(PathError::DotSegment));
    }
    for pattern in ["a\\u200bb", "a\\u202e", "a\\n"] {
        check(pattern, PatternError::Path(PathError::Forbidden));
    }
    check("cafe\u{301}", PatternError::Path(PathError::NotNormal));
}

#[test]
fn refused() {
    let check = |text: &str, expect: Reason, line: Option<usize>| {
        let error = Policy::parse(text).expect_err(text);
        assert_eq!((error.reason, error.line), (expect, line), "{text}");
    };
    let line = Some(2);
    let wrong_list = Reason::WrongType("capabilities is a list of strings");
    // In a block that begins on the first line and has this on the second.
    let in_path = |inner: &str, expect| check(&format!("path \"a\" {{\n{inner}\n}}"), expect, line);
    in_path(r#"capabilities = ["raed"]"#, aumbry_types::UnknownCapability.into());
    in_path(r#"capabilities = "read""#, wrong_list);
    in_path(r#"capability = ["read"]"#, Reason::UnknownKey);
    in_path(r#"mount = "a""#, Reason::UnknownKey);
    in_path(r#"policy = "all""#, Reason::UnknownLegacy);
    in_path(r#"policy = 1"#, Reason::WrongType("policy is a string"));
    for key in [
        "control_group",
        "mfa_methods",
        "list_scan_response_keys_filter_path",
        "subscribe_event_types",
        "conditions",
        "mcp",
    ] {
        in_path(&format!("{key} = \"a\""), Reason::Unsupported(key));
        in_path(&format!("{key} {{\n}}"), Reason::Unsupported(key));
    }
    for value in [
        "[upper(\"read\")]",
        "a.b",
        "\"${a}\"",
        "\"%{ if a }\"",
        "<<E\nE",
        "!true",
        "-1",
    ] {
        in_path(&format!("capabilities = {value}"), Reason::NotLiteral);
    }
    for value in ["read", "[read]", "[\"read\", 1]", "null"] {
        in_path(
            &format!("capabilities = {value}"),
            Reason::WrongType("capabilities is a list of strings"),
        );
    }
    in_path(&"[".repeat(16), Reason::TooDeep);
    in_path(&"{\"]\":".repeat(16), Reason::TooDeep);

    let first = Some(1);
    check("path \"a\" {}", Reason::NoCapabilities, first);
    check("path \"a\" { capabilities = [] }", Reason::NoCapabilities, first);
    check(
        "path \"a\" {\ncapabilities = [\"read\"]\npolicy = \"read\"\n}",
        Reason::BothForms,
        first,
    );
    check("path a { policy = \"read\" }", Reason::Label, first);
    check("path \"a\" \"b\" { policy = \"read\" }", Reason::Label, first);
    check("name = \"x\"", Reason::UnknownBlock, first);
    check("rule \"a\" { policy = \"read\" }", Reason::UnknownBlock, first);
    check(
        "path \"a\" { policy = \"read\" }\npath \"a\" { policy = \"deny\" }",
        Reason::DuplicateBlock,
        line,
    );
    check("# a\n# \u{202e}", Reason::Forbidden, line);
    check("# a\n\0", Reason::Forbidden, line);
    check("\n# a\rpath \"a\" {}", Reason::Forbidden, line);
    check("\n{\r}", Reason::Forbidden, line);
    check("\u{feff}{}", Reason::Forbidden, first);
    check("path \"a\" {\n= 1 }", Reason::Syntax, line);
    for pattern in ["kv", "kv*", "+/a", "*"] {
        let text = format!("secret \"{pattern}\" {{ capabilities = [\"read\"] }}");
        check(&text, Reason::NoMount, first);
    }
    check(
        "secret \"kv/a\" { capabilities = [\"sudo\"] }",
        Reason::NotForSecrets,
        first,
    );
    for mount in ["kv/b", "k", "", "kv/a/x/y/z", "v/"] {
        let text = format!("secret \"kv/a\" {{\nmount = \"{mount}\"\ncapabilities = [\"read\"]\n}}");
        check(&text, Reason::NoMount, first);
    }

    check(
        r#"{"path": {"a": {"policy": "read"}, "a": {"policy": "deny"}}}"#,
        Reason::DuplicateKey,
        first,
    );
    check("{\"path\": {},\n\"path\": {}}", Reason::DuplicateKey, line);
    check(r#"{"paths": {}}"#, Reason::UnknownBlock, None);
    check(
        r#"{"path": []}"#,
        Reason::WrongType("path and secret are objects of patterns"),
        None,
    );
    check(
        r#"{"path": {"a": []}}"#,
        Reason::WrongType("what is said of a pattern is an object"),
        None,
    );
    check(
        r#"{"path": {"a": {"max_wrapping_ttl": 1.5}}}"#,
        Reason::WrongType("a wrapping TTL is a time such as \"90s\" or \"1h\", or seconds"),
        None,
    );
    check("{} {}", Reason::Syntax, first);
    check(&"{\"a\":".repeat(17), Reason::TooDeep, first);
}

/// Abuse cases: 92.
#[test]
fn depth_bombs_are_refused_before_the_parsers() {
    let attribute = "path \"a\" { capabilities = ";
    for (begin, unit, expect) in [
        (attribute, "[", Reason::TooDeep),
        (attribute, "{a=", Reason::TooDeep),
        (attribute, "[\"]\",", Reason::TooDeep),
        (attribute, "[\"\\\"]\",", Reason::TooDeep),
        (attribute, "[/*]*/", Reason::TooDeep),
        (attribute, "[#]\n", Reason::TooDeep),
        (attribute, "[//]\r\n", Reason::TooDeep),
        (attribute, "(", Reason::NotLiteral),
        (attribute, "!", Reason::NotLiteral),
        (attribute, "-", Reason::NotLiteral),
        (attribute, "a?", Reason::NotLiteral),
        (attribute, "\"${", Reason::NotLiteral),
        (attribute, "\"%{if a}", Reason::NotLiteral),
        (attribute, "1==", Reason::Syntax),
        ("", "a \"b\" {", Reason::TooDeep),
        ("{", "\"a\":{", Reason::TooDeep),
        ("{\"a\":", "[", Reason::TooDeep),
        ("{\"a\":", "[\"\\\\\",\"]\\\"\",", Reason::TooDeep),
    ] {
        let text = format!("{begin}{}", unit.repeat(60_000 / unit.len()));
        let error = Policy::parse(&text).expect_err(unit);
        assert_eq!(error.reason, expect, "{begin}{unit}");
    }
}

#[test]
fn abuse_021_what_is_wrong_is_refused_at_write() {
    let blocks = |count: usize| -> String {
        (0..count)
            .map(|at| format!("path \"{at}\"{{policy=\"read\"}}\n"))
            .collect()
    };
    let of = |name: &str| format!("path \"a\" {{ capabilities = [\"{name}\"] }}");
    let equal_keys = r#"{"path": {"a": {"policy": "read"}, "\u0061": {"policy": "deny"}}}"#;
    for (text, expect) in [
        (of("raed"), aumbry_types::UnknownCapability.into()),
        (of("Read"), aumbry_types::UnknownCapability.into()),
        (blocks(1).repeat(2), Reason::DuplicateBlock),
        (equal_keys.to_owned(), Reason::DuplicateKey),
        (
            "path \"a\" {\n policy = \"read\"\n policy = \"deny\"\n}".to_owned(),
            Reason::DuplicateKey,
        ),
        (blocks(2_000), Reason::TooManyRules),
        (blocks(10_000), Reason::TooLong),
    ] {
        let error = Policy::parse(&text).expect_err("is wrong");
        assert_eq!(error.reason, expect, "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn bounds() {
    let blocks = |count: usize| -> String {
        (0..count)
            .map(|at| format!("path \"{at}\" {{ policy = \"read\" }}\n"))
            .collect()
    };
    assert_eq!(policy(&blocks(1_000)).rules().len(), 1_000);
    let error = Policy::parse(&blocks(1_001)).expect_err("has a rule too many");
    assert_eq!((error.reason, error.line), (Reason::TooManyRules, Some(1_001)));
    assert!(Policy::parse(&" ".repeat(64 * 1024)).is_ok());
    let error = Policy::parse(&" ".repeat(64 * 1024 + 1)).expect_err("is a byte too long");
    assert_eq!(error.reason, Reason::TooLong);
}

#[test]
fn errors_repeat_the_pattern_and_nothing_else() {
    let show = |text: &str| Policy::parse(text).expect_err(text).to_string();
    let shown = show("path \"a/b\" {\n  capabilities = [\"canary\"]\n}");
    assert!(shown.starts_with("line 2: \"a/b\": unknown capability"), "{shown}");
    for text in [
        "path \"a\" { canary = 1 }",
        "canary = 1",
        "canary \"x\" {}",
        "path \"a\" { \"canary }",
        "path \"a\" { policy = \"canary\" }",
        "{\"canary\": 1}",
        "{\"path\": {\"a\": {\"canary\": 1, \"canary\": 1}}}",
    ] {
        assert!(!show(text).contains("canary"), "{text}");
    }
}

#[test]
fn errors_are_short_and_their_debug_hides_patterns() {
    let text = format!("path \"canary{}\" {{}}", "\u{e9}".repeat(30_000));
    let error = Policy::parse(&text).expect_err("is too long");
    assert!(error.to_string().len() < 512, "{error}");
    assert!(!format!("{error:?}").contains("canary"));
}

fn fragments() -> impl Strategy<Value = String> {
    let fragment = prop::sample::select(vec![
        "path",
        "secret",
        " ",
        "\"a/*\"",
        "\"+/b\"",
        "{",
        "}",
        "[",
        "]",
        "=",
        ",",
        ":",
        "\"read\"",
        "\"",
        "capabilities",
        "mount",
        "policy",
        "\n",
        "#",
        "/*",
        "*/",
        "\\",
        "${",
        "<<E",
        "E",
        "(",
        "1",
        "\\u00",
        "é",
        "==",
        "\r",
        "\\\"",
    ]);
    prop::collection::vec(fragment, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    /// Abuse cases: 103.
    #[test]
    fn parse_never_panics(any in any::<String>(), near in fragments()) {
        for text in [&any, &near, &format!("{{{near}"), &format!("path \"a\" {{{near}}}")] {
            if let Err(error) = Policy::parse(text) {
                let _ = error.to_string();
            }
        }
    }
}
