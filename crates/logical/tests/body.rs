//! Bodies: what is read as what, and what is refused.

use std::collections::BTreeMap;

use aumbry_logical::{Body, BodyError, FieldError};

fn body(text: &str) -> Body {
    Body::parse(text.as_bytes()).expect("is a body")
}

#[test]
fn bytes() {
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    for (text, expected) in [
        (String::new(), Ok(0)),
        (" \n".to_owned(), Ok(0)),
        ("null".to_owned(), Ok(0)),
        ("{}".to_owned(), Ok(0)),
        ("{\"a\":1}".to_owned(), Ok(1)),
        ("[]".to_owned(), Err(BodyError::NotAnObject)),
        ("1".to_owned(), Err(BodyError::NotAnObject)),
        ("{".to_owned(), Err(BodyError::NotAnObject)),
        ("{\"a\":1}x".to_owned(), Err(BodyError::NotAnObject)),
        (nested(31), Ok(1)),
        (nested(32), Err(BodyError::TooDeep)),
        (nested(100_000), Err(BodyError::TooDeep)),
        ("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}".to_owned(), Ok(1)),
        (
            format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)),
            Err(BodyError::TooLong),
        ),
    ] {
        let parsed = Body::parse(text.as_bytes()).map(|body| body.object().len());
        assert_eq!(parsed, expected, "{}", &text[..text.len().min(40)]);
    }
}

#[test]
fn values() {
    let of = |value: &str| body(&format!("{{\"f\":{value}}}"));
    let text = |value| of(value).text("f").ok().flatten();
    assert_eq!(text("\"a\""), Some("a".to_owned()));
    assert_eq!(text("5"), Some("5".to_owned()));
    assert_eq!(text("null"), None);
    assert!(of("[]").text("f").is_err());

    let count = |value| of(value).count("f");
    for (value, expected) in [
        ("0", Some(0)),
        ("\"7\"", Some(7)),
        ("3.0", Some(3)),
        ("\"\"", None),
        ("null", None),
    ] {
        assert_eq!(count(value), Ok(expected), "{value}");
    }
    for bad in ["-1", "1.5", "\"x\"", "true", "1e40", "[1]"] {
        assert!(count(bad).is_err(), "{bad}");
    }

    let flag = |value| of(value).flag("f");
    for (value, expected) in [
        ("true", Some(true)),
        ("\"false\"", Some(false)),
        ("1", Some(true)),
        ("\"\"", None),
    ] {
        assert_eq!(flag(value), Ok(expected), "{value}");
    }
    assert!(flag("\"yes\"").is_err() && flag("2").is_err());

    let seconds = |value| of(value).seconds("f");
    for (value, expected) in [
        ("3600", Some(3_600)),
        ("\"3600\"", Some(3_600)),
        ("\"1h\"", Some(3_600)),
        ("\"\"", None),
    ] {
        assert_eq!(seconds(value), Ok(expected), "{value}");
    }
    for bad in ["-1", "\"-1h\"", "18446744073709551615", "\"1y\"", "{}"] {
        assert!(seconds(bad).is_err(), "{bad}");
    }

    let texts = |value| of(value).texts("f");
    for (value, expected) in [
        ("\"a, b,\"", vec!["a", "b"]),
        ("[\"a\",\"b\"]", vec!["a", "b"]),
        ("[]", vec![]),
        ("\"\"", vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(texts(value), Ok(Some(expected)), "{value}");
    }
    assert!(texts("[[]]").is_err() && texts("{}").is_err());

    let counts = |value| of(value).counts("f");
    for value in ["[1,2]", "[\"1\",\"2\"]", "\"1,2\""] {
        assert_eq!(counts(value), Ok(Some(vec![1, 2])), "{value}");
    }
    assert_eq!(counts("3"), Ok(Some(vec![3])));
    assert!(counts("[-1]").is_err() && counts("\"x\"").is_err());

    let pairs = |value| of(value).pairs("f");
    let expected: BTreeMap<String, String> = [("a".to_owned(), "1".to_owned())].into();
    for value in ["{\"a\":\"1\"}", "{\"a\":1}", "[\"a=1\"]", "\"a=1\""] {
        assert_eq!(pairs(value), Ok(Some(expected.clone())), "{value}");
    }
    assert!(pairs("\"a\"").is_err() && pairs("{\"a\":[]}").is_err());
}

#[test]
fn an_error_names_the_field_and_not_the_value() {
    let body = body("{\"ttl\":\"canary\",\"name\":\"\"}");
    let error = body.seconds("ttl").expect_err("is no duration");
    assert!(error.to_string().contains("ttl") && !error.to_string().contains("canary"));
    assert_eq!(body.required_text("name"), Err(FieldError::Missing("name")));
    assert_eq!(format!("{body:?}"), "Body(2 values)");
}
