//! Where an issuer may send a browser back to.

use crate::fields::is_url_with_query;

/// Whether a role may allow it: behind HTTPS, or a program on the user's own machine.
pub(in crate::jwt) fn is_one(text: &str) -> bool {
    is_url_with_query(text) || Loopback::parse(text).is_some()
}

/// Whether one of these allows it: it is the same text, or, on the user's own machine, the same but for the port, which programs take as it is free (RFC 8252,
/// section 7.3).
pub(super) fn is_allowed(allowed: &[String], wanted: &str) -> bool {
    let own = Loopback::parse(wanted);
    allowed.iter().any(|allowed| {
        let is_same_place = || own.is_some() && Loopback::parse(allowed) == own;
        allowed == wanted || is_same_place()
    })
}

/// An address on the machine itself, without its port.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    /// The path and the query.
    rest: &'a str,
}

impl<'a> Loopback<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let behind = text.strip_prefix("http://").filter(|_| text.len() <= TEXT_BYTES_MAX)?;
        let at = behind.find('/').unwrap_or(behind.len());
        let (place, rest) = behind.split_at(at);
        let host = HOSTS.into_iter().find(|host| {
            let port = place.strip_prefix(host).map(|port| port.strip_prefix(':').ok_or(port));
            match port {
                Some(Ok(port)) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
                Some(Err(nothing)) => nothing.is_empty(),
                None => false,
            }
        });
        let is_fine = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '@' | '\\' | '"' | '<' | '>');
        rest.chars().all(is_fine).then_some(Self { host: host?, rest })
    }
}

/// As they are named by programs, and by those who register them.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
/// As any text.
const TEXT_BYTES_MAX: usize = 512;

/// What whoever writes another is told.
pub(in crate::jwt) const NOT_ONE: &str = "allowed_redirect_uris are `https://...`, or for programs on the user's machine http://localhost, http://127.0.0.1 or http://[::1] with a path, \
     without a user or fragment";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_sent_back_to_where_a_role_says() {
        let check = |allowed: &str, wanted: &str, expected: bool| {
            assert_eq!(
                is_allowed(&[allowed.to_owned()], wanted),
                expected,
                "{allowed} {wanted}"
            );
        };
        let web = "https://aumbry.example/ui/oidc/callback";
        check(web, web, true);
        check(web, "https://aumbry.example/ui/oidc/callback/", false);
        check(web, "https://aumbry.example:8443/ui/oidc/callback", false);
        check(web, "https://aumbry.example/ui/oidc/callback?x=1", false);
        check(web, "https://AUMBRY.example/ui/oidc/callback", false);
        check(web, "", false);
        let own = "http://127.0.0.1:8250/oidc/callback";
        check(own, own, true);
        check(own, "http://127.0.0.1:49152/oidc/callback", true);
        check(own, "http://127.0.0.1/oidc/callback", true);
        check(
            "http://localhost/oidc/callback",
            "http://localhost:1/oidc/callback",
            true,
        );
        check("http://[::1]/oidc/callback", "http://[::1]:1/oidc/callback", true);
        for other in [
            "http://localhost:8250/oidc/callback",
            "http://127.0.0.1:8250/oidc",
            "http://127.0.0.1:8250/oidc/callback?x=1",
            "http://127.0.0.1.evil.example/oidc/callback",
            "http://127.0.0.1:8250@evil.example/oidc/callback",
            "http://127.0.0.1:99999/oidc/callback",
            "http://127.0.0.1:+1/oidc/callback",
            "http://127.0.0.1:/oidc/callback",
            "https://127.0.0.1:8250/oidc/callback",
        ] {
            check(own, other, false);
        }
    }

    #[test]
    fn what_a_role_may_allow() {
        for good in [
            "https://a.example/cb",
            "https://a.example:8443/cb?x=1",
            "http://localhost:8250/oidc/callback",
            "http://127.0.0.1/cb",
            "http://[::1]:1/cb",
        ] {
            assert!(is_one(good), "{good}");
        }
        for bad in [
            "",
            "http://a.example/cb",
            "http://localhost.evil.example/cb",
            "http://localhost#x",
            "http://localhost/#x",
            "http://user@localhost/cb",
            "https://a.example/cb#x",
            "myapp://cb",
            "javascript:alert(1)",
            "/relative",
            "http://127.0.0.2/cb",
        ] {
            assert!(!is_one(bad), "{bad}");
        }
    }
}
