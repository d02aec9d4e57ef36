//! A request, from its head and body to what is asked.

use aumbry_api::v1::{Passcode, Verb};
use aumbry_auth::token::TEXT_BYTES_MAX;
use aumbry_types::percent::{self, Plus};
use aumbry_types::{NamespacePath, SecretBytes, parse_duration};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde_json::{Map, Value};

use super::answer::Refused;

/// What is asked.
pub(super) struct Asked {
    pub(super) verb: Verb,
    /// The namespace that the path is relative to.
    pub(super) namespace: NamespacePath,
    /// Below `/v1/`, decoded.
    pub(super) path: String,
    /// The query as it was sent.
    pub(super) query: String,
    /// One JSON object, or nothing.
    pub(super) body: Vec<u8>,
    pub(super) token: SecretBytes,
    pub(super) wrap_ttl_s: u64,
    /// Of second factors, for a login.
    pub(super) codes: Vec<Passcode>,
    /// Whether a receipt of the record is wanted.
    pub(super) wants_receipt: bool,
}

impl Asked {
    /// Takes a request apart.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(super) fn read(head: &Parts, body: Vec<u8>) -> Result<Self, Refused> {
        refuse_pages(&head.headers)?;
        let bad = |text: &str| Refused::new(StatusCode::BAD_REQUEST, text);
        let not_found = || Refused::new(StatusCode::NOT_FOUND, "the interface is below /v1/");
        let raw = head.uri.path().strip_prefix("/v1/").ok_or_else(not_found)?;
        let path = decode_path(raw).ok_or_else(|| bad("the path is encoded twice, or not UTF-8, or has a `;`"))?;
        let query =
            percent::decode_query(head.uri.query().unwrap_or_default()).ok_or_else(|| bad("the query is malformed"))?;
        let verb = verb(head, &query)?;
        // Help is read at a path of its own, whatever the path would do.
        let path = match verb == Verb::Read && flag(&query, "help")? {
            true => format!("{HELP}/{}", path.trim_matches('/')),
            false => path,
        };
        let namespace = NamespacePath::parse(one(&head.headers, &NAMESPACE)?.unwrap_or_default());
        let namespace = namespace.map_err(|error| bad(&format!("X-Vault-Namespace: {error}")))?;
        let body = match verb {
            Verb::Read | Verb::List | Verb::Scan => of_query(&query),
            // Some clients send what they say in a body, which alone can hold a secret; others can only ask.
            Verb::Delete => match of_query(&query) {
                asked if asked.is_empty() => of_body(&head.headers, body)?,
                asked => asked,
            },
            Verb::Write | Verb::Patch => of_body(&head.headers, body)?,
        };
        Ok(Self {
            verb,
            namespace,
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            body,
            token: token(&head.headers)?,
            wrap_ttl_s: wrap_ttl(&head.headers)?,
            codes: codes(&head.headers)?,
            wants_receipt: wants_receipt(&head.headers)?,
        })
    }
}

/// A page of another origin can make a browser send a request; no client of this interface is a page.
fn refuse_pages(headers: &HeaderMap) -> Result<(), Refused> {
    let is_page = headers.contains_key(header::ORIGIN)
        || headers
            .get(HeaderName::from_static("sec-fetch-site"))
            .is_some_and(|site| site != "none" && site != "same-origin");
    if is_page {
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "requests of web pages are refused; no origin is allowed",
        ));
    }
    Ok(())
}

fn verb(head: &Parts, query: &[(String, String)]) -> Result<Verb, Refused> {
    Ok(match head.method.as_str() {
        "GET" | "HEAD" if flag(query, "list")? => Verb::List,
        "GET" | "HEAD" if flag(query, "scan")? => Verb::Scan,
        "GET" | "HEAD" => Verb::Read,
        "POST" | "PUT" => Verb::Write,
        "DELETE" => Verb::Delete,
        "LIST" => Verb::List,
        "SCAN" => Verb::Scan,
        "PATCH" => {
            let kind = one(&head.headers, &header::CONTENT_TYPE)?.unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if kind != "application/merge-patch+json" {
                return Err(Refused::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "PATCH takes Content-Type: application/merge-patch+json",
                ));
            }
            Verb::Patch
        }
        _ => {
            return Err(Refused::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "use GET, LIST, POST, PUT, PATCH or DELETE",
            ));
        }
    })
}

/// Whether the query says so.
fn flag(query: &[(String, String)], name: &str) -> Result<bool, Refused> {
    match query.iter().find(|(key, _)| key == name) {
        None => Ok(false),
        Some((_, value)) => match value.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => Err(Refused::new(
                StatusCode::BAD_REQUEST,
                format!("{name} in the query must be true or false"),
            )),
        },
    }
}

/// The token; two are one too many: which of them counts must not be a matter of order.
fn token(headers: &HeaderMap) -> Result<SecretBytes, Refused> {
    let bad = |text| Refused::new(StatusCode::BAD_REQUEST, text);
    let of_vault = one(headers, &TOKEN)?.filter(|token| !token.is_empty());
    let bearer = match one(headers, &header::AUTHORIZATION)? {
        None => None,
        Some(value) => Some(
            value
                .strip_prefix("Bearer ")
                .ok_or_else(|| bad("the authorization header must be `Bearer` and a token"))?,
        ),
    };
    let token = match (of_vault, bearer) {
        (Some(_), Some(_)) => return Err(bad("send one token: in X-Vault-Token or as a bearer")),
        (token, other) => token.or(other).unwrap_or_default(),
    };
    if token.len() > TEXT_BYTES_MAX {
        return Err(Refused::new(StatusCode::FORBIDDEN, "permission denied"));
    }
    Ok(SecretBytes::new(token.as_bytes().to_vec()))
}

fn wrap_ttl(headers: &HeaderMap) -> Result<u64, Refused> {
    let Some(text) = one(headers, &WRAP_TTL)?.filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    let ttl = parse_duration(text).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(ttl.as_secs())
}

fn wants_receipt(headers: &HeaderMap) -> Result<bool, Refused> {
    match one(headers, &RECEIPT)?.unwrap_or_default() {
        "true" => Ok(true),
        "" | "false" => Ok(false),
        _ => Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "X-Aumbry-Receipt must be true or false",
        )),
    }
}

/// The codes of second factors, one in each header. Names of methods have no colon.
fn codes(headers: &HeaderMap) -> Result<Vec<Passcode>, Refused> {
    let bad = || {
        let text = "send X-Vault-MFA: METHOD:CODE, with the id or the name of the method, at most 16 times";
        Refused::new(StatusCode::BAD_REQUEST, text)
    };
    let values = headers.get_all(&MFA).iter();
    let codes = values.map(|value| {
        let (method, code) = value.to_str().ok()?.split_once(':')?;
        let (method, code) = (method.trim(), code.trim());
        (!method.is_empty() && !code.is_empty()).then(|| Passcode {
            method_id: method.to_owned(),
            passcode: code.as_bytes().to_vec().into(),
        })
    });
    let codes: Option<Vec<Passcode>> = codes.collect();
    codes.filter(|codes| codes.len() <= CODES_MAX).ok_or_else(bad)
}

/// The value of a header that may stand once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    let bad = || {
        Refused::new(
            StatusCode::BAD_REQUEST,
            format!("send one {name} header, of plain text"),
        )
    };
    if values.next().is_some() {
        return Err(bad());
    }
    first.map(|value| value.to_str().map_err(|_| bad())).transpose()
}

/// Decodes a path once. What is still encoded after that could be decoded again by somebody, to something else.
fn decode_path(raw: &str) -> Option<String> {
    let path = percent::decode(raw, Plus::IsItself)?;
    let mut rest = path.as_str();
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        let is_code = rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        if is_code {
            return None;
        }
    }
    (!path.contains(';')).then_some(path)
}

/// The query as a body: parameters of what has none.
fn of_query(query: &[(String, String)]) -> Vec<u8> {
    let control = ["list", "scan", "help"];
    let pairs = query.iter().filter(|(key, _)| !control.contains(&key.as_str()));
    let object: Map<String, Value> = pairs
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect();
    match object.is_empty() {
        true => Vec::new(),
        // An object of strings is always written.
        false => serde_json::to_vec(&object).unwrap_or_default(),
    }
}

/// The body. Some tools say that JSON is a form, as it is their default; what looks like JSON is taken as that.
fn of_body(headers: &HeaderMap, body: Vec<u8>) -> Result<Vec<u8>, Refused> {
    let kind = one(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    let is_form = kind.starts_with("application/x-www-form-urlencoded");
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if !is_form || matches!(first, None | Some(b'{' | b'[')) {
        return Ok(body);
    }
    let text = String::from_utf8(body).ok();
    let pairs = text.as_deref().and_then(percent::decode_query);
    let pairs = pairs.ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "the form is malformed"))?;
    Ok(of_query(&pairs))
}

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const WRAP_TTL: HeaderName = HeaderName::from_static("x-vault-wrap-ttl");
const RECEIPT: HeaderName = HeaderName::from_static("x-aumbry-receipt");
const MFA: HeaderName = HeaderName::from_static("x-vault-mfa");
/// As many as a login takes.
const CODES_MAX: usize = 16;
/// Where help is read.
const HELP: &str = "sys/internal/help";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Result<Asked, u16> {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("is a request").into_parts();
        Asked::read(&head, body.into()).map_err(|refused| refused.status().as_u16())
    }

    /// Abuse cases: 3, 6.
    #[test]
    fn paths_are_decoded_once() {
        let path = |uri: &str| read("GET", uri, &[], "").map(|asked| asked.path);
        assert_eq!(path("/v1/secret/data/a%20b"), Ok("secret/data/a b".to_owned()));
        assert_eq!(path("/v1/secret/data/a+b"), Ok("secret/data/a+b".to_owned()));
        assert_eq!(path("/v1/secret/data/100%25"), Ok("secret/data/100%".to_owned()));
        // It is a separator before anything is checked, not after.
        assert_eq!(path("/v1/secret/data/a%2Fb"), Ok("secret/data/a/b".to_owned()));
        for uri in ["/v1/a%252e%252e/b", "/v1/a;b/c", "/v1/a%ff", "/v1/a%2"] {
            assert_eq!(path(uri), Err(400), "{uri}");
        }
        for uri in ["/", "/v2/a", "/secret"] {
            assert_eq!(path(uri), Err(404), "{uri}");
        }
    }

    #[test]
    fn methods_are_verbs() {
        let verb = |method: &str, uri: &str| read(method, uri, &[], "").map(|asked| asked.verb as i32);
        for (method, uri, expected) in [
            ("GET", "/v1/a", Ok(Verb::Read as i32)),
            ("GET", "/v1/a?list=true", Ok(Verb::List as i32)),
            ("GET", "/v1/a?list=false", Ok(Verb::Read as i32)),
            ("GET", "/v1/a?list=perhaps", Err(400)),
            ("GET", "/v1/a?scan=1", Ok(Verb::Scan as i32)),
            ("LIST", "/v1/a", Ok(Verb::List as i32)),
            ("POST", "/v1/a", Ok(Verb::Write as i32)),
            ("PUT", "/v1/a", Ok(Verb::Write as i32)),
            ("DELETE", "/v1/a", Ok(Verb::Delete as i32)),
            ("PATCH", "/v1/a", Err(415)),
            ("OPTIONS", "/v1/a", Err(405)),
        ] {
            assert_eq!(verb(method, uri), expected, "{method} {uri}");
        }
        let patch = [("content-type", "application/merge-patch+json; charset=utf-8")];
        assert_eq!(
            read("PATCH", "/v1/a", &patch, "{}").map(|asked| asked.verb as i32),
            Ok(Verb::Patch as i32)
        );
    }

    /// Abuse cases: 31, 32, 47.
    #[test]
    fn heads() {
        let token = |headers: &[(&str, &str)]| {
            read("GET", "/v1/a?token=t", headers, "").map(|asked| asked.token.expose_str().map(str::to_owned))
        };
        assert_eq!(token(&[("x-vault-token", "t")]), Ok(Some("t".to_owned())));
        assert_eq!(token(&[("authorization", "Bearer t")]), Ok(Some("t".to_owned())));
        assert_eq!(token(&[("cookie", "token=t")]), Ok(Some(String::new())));
        assert_eq!(
            token(&[("x-vault-token", "t"), ("authorization", "Bearer t")]),
            Err(400)
        );
        assert_eq!(token(&[("x-vault-token", "t"), ("x-vault-token", "t")]), Err(400));
        assert_eq!(token(&[("authorization", "Basic t")]), Err(400));
        for (header, expected) in [("", Ok("")), ("/", Ok("")), ("team/", Ok("team")), ("/a/b/", Ok("a/b"))] {
            let asked = read("GET", "/v1/a", &[("x-vault-namespace", header)], "");
            assert_eq!(
                asked.as_ref().map(|asked| asked.namespace.as_str()),
                expected.as_ref().copied()
            );
        }
        for header in ["root", "Team", "..", "a//b", "a/../b", "sys", "a%2fb"] {
            assert_eq!(token(&[("x-vault-namespace", header)]), Err(400), "{header}");
        }
        assert_eq!(
            token(&[("x-vault-namespace", "a"), ("x-vault-namespace", "b")]),
            Err(400)
        );
        for page in [("origin", "https://example.com"), ("sec-fetch-site", "cross-site")] {
            assert_eq!(token(&[page]), Err(403));
        }
    }

    /// Abuse cases: 26.
    #[test]
    fn codes_of_second_factors() {
        let told = |code: Passcode| {
            let passcode = String::from_utf8(code.passcode.to_vec()).expect("is UTF-8");
            (code.method_id, passcode)
        };
        let codes = |headers: &[(&str, &str)]| {
            let asked = read("POST", "/v1/auth/userpass/login/a", headers, "{}");
            asked.map(|asked| asked.codes.into_iter().map(told).collect::<Vec<_>>())
        };
        let pair = |method: &str, code: &str| (method.to_owned(), code.to_owned());
        assert_eq!(codes(&[]), Ok(Vec::new()));
        assert_eq!(
            codes(&[("x-vault-mfa", "id:123"), ("x-vault-mfa", " my phone : passcode=1:2 ")]),
            Ok(vec![pair("id", "123"), pair("my phone", "passcode=1:2")])
        );
        for wrong in ["id", "id:", ":123", ""] {
            assert_eq!(codes(&[("x-vault-mfa", wrong)]), Err(400), "{wrong}");
        }
        assert_eq!(codes(&[("x-vault-mfa", "id:1"); 17]), Err(400));
    }

    #[test]
    fn bodies() {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = |method: &str, uri: &str, headers: &[(&str, &str)], body: &str| {
            read(method, uri, headers, body).map(|asked| String::from_utf8(asked.body).expect("is UTF-8"))
        };
        assert_eq!(body("POST", "/v1/a", &form, "{\"a\":1}"), Ok("{\"a\":1}".to_owned()));
        assert_eq!(
            body("POST", "/v1/a", &form, "a=1&b=x+y"),
            Ok("{\"a\":\"1\",\"b\":\"x y\"}".to_owned())
        );
        assert_eq!(
            body("GET", "/v1/a?version=2", &[], "ignored"),
            Ok("{\"version\":\"2\"}".to_owned())
        );
        assert_eq!(body("LIST", "/v1/a", &[], ""), Ok(String::new()));
        assert_eq!(body("DELETE", "/v1/a", &[], "{\"a\":1}"), Ok("{\"a\":1}".to_owned()));
        assert_eq!(
            body("DELETE", "/v1/a?a=2", &[], "{\"a\":1}"),
            Ok("{\"a\":\"2\"}".to_owned())
        );
        let wrap = read("GET", "/v1/a", &[("x-vault-wrap-ttl", "5m")], "").map(|asked| asked.wrap_ttl_s);
        assert_eq!(wrap, Ok(300));
    }
}
