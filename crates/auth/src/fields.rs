//! Fields that the settings of several methods have: texts and lists with bounds, addresses of services, certificates.

use aumbry_logical::Body;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::answer::Error;

/// A text within the bound of one.
pub(crate) fn text(body: &Body, field: &'static str) -> Result<Option<String>, Error> {
    let text = body.text(field)?;
    if text.as_ref().is_some_and(|text| !is_plain(text)) {
        return Err(Error::Invalid("a text has at most 512 bytes and no control characters"));
    }
    Ok(text)
}

/// A list of texts within its bounds.
pub(crate) fn texts(body: &Body, field: &'static str) -> Result<Option<Vec<String>>, Error> {
    let texts = body.texts(field)?;
    let is_fine = |texts: &Vec<String>| texts.len() <= ITEMS_MAX && texts.iter().all(|text| is_plain(text));
    if texts.as_ref().is_some_and(|texts| !is_fine(texts)) {
        return Err(Error::Invalid(
            "a list has at most 64 items, each of at most 512 bytes and without control characters",
        ));
    }
    Ok(texts)
}

/// Whether a text is short and of one line.
pub(crate) fn is_plain(text: &str) -> bool {
    text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
}

/// The address of a service, if there is one: HTTPS, as whoever answers decides who gets in.
pub(crate) fn url(body: &Body, field: &'static str) -> Result<String, Error> {
    let url = body.text(field)?.unwrap_or_default();
    let url = url.trim();
    if !url.is_empty() && !is_url(url) {
        return Err(Error::Invalid(
            "an address is `https://`, a host, and if need be a port and a path, without a user, query or fragment",
        ));
    }
    Ok(url.to_owned())
}

/// Whether a text is an address that is asked: HTTPS without a user, a query or a fragment.
pub(crate) fn is_url(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '\\' | '"' | '<' | '>');
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    text.len() <= TEXT_BYTES_MAX && !host.is_empty() && rest.chars().all(is_fine)
}

/// As [`is_url`], with a query if need be, as the keys of some issuers are behind one.
pub(crate) fn is_url_with_query(text: &str) -> bool {
    let (url, query) = text.split_once('?').unwrap_or((text, ""));
    is_url(url) && text.len() <= TEXT_BYTES_MAX && query.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

/// The address of something to fetch, if there is one.
pub(crate) fn url_with_query(body: &Body, field: &'static str) -> Result<String, Error> {
    let url = body.text(field)?.unwrap_or_default();
    let url = url.trim();
    if !url.is_empty() && !is_url_with_query(url) {
        return Err(Error::Invalid(
            "an address is `https://`, a host, and if need be a port, a path and a query, without a user or fragment",
        ));
    }
    Ok(url.to_owned())
}

/// Certificates in PEM, or nothing.
pub(crate) fn certificates_pem(body: &Body, field: &'static str) -> Result<String, Error> {
    let pem = body.text(field)?.unwrap_or_default();
    if !pem.trim().is_empty() {
        certificates(&pem)?;
    }
    Ok(pem)
}

/// The certificates of a PEM text; at least one.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unfit = Error::Invalid("a certificate is one or more certificates in PEM, of at most 64 KiB");
    if pem.len() > PEM_BYTES_MAX {
        return Err(unfit);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unfit),
    }
}

/// Whether a pattern, in which `*` stands for any characters, matches all of a text. It takes time in proportion to both.
pub(crate) fn is_match(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest
        .rsplit_once('*')
        .map_or(("", rest), |(middle, last)| (middle, last));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

/// As much as a token's metadata takes.
const TEXT_BYTES_MAX: usize = 512;
/// More than anybody lists by hand.
const ITEMS_MAX: usize = 64;
/// Some dozens of certificates.
const PEM_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_all_of_a_text() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("*", "", true);
        check("*", "anything/at all", true);
        check("a", "a", true);
        check("a", "ab", false);
        check("a*", "ab", true);
        check("a*", "ba", false);
        check("*a", "ba", true);
        check("*a", "ab", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("a*b*c", "a--b--c", true);
        check("a*b*c", "a--c--b", false);
        check("a*b*b", "ab", false);
        check("**", "x", true);
        check(
            "repo:org/*:ref:refs/heads/main",
            "repo:org/app:ref:refs/heads/main",
            true,
        );
        check(
            "repo:org/*:ref:refs/heads/main",
            "repo:org/app:ref:refs/heads/main2",
            false,
        );
        // What is no star stands for itself.
        check("a.c", "abc", false);
        check("[a]?", "[a]?", true);
    }

    #[test]
    fn addresses_are_https_and_name_nobody() {
        for good in ["https://a", "https://a:8443/x/y", "https://[::1]:6443", "https://a.b/"] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "http://a",
            "https://",
            "https:///x",
            "https://user@a",
            "https://a?x",
            "https://a#x",
            "https://a b",
            "https://a\\b",
            "https://a\r\nx: y",
            "HTTPS://a",
            "ftp://a",
            "file:///etc/passwd",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
        assert!(is_url_with_query("https://a/keys?p=b2c_1") && !is_url_with_query("http://a/keys?p=1"));
        assert!(!is_url_with_query("https://a/keys?p=#x") && !is_url_with_query("https://u@a/keys?p=1"));
        assert!(!is_url(&format!("https://{}", "a".repeat(600))));
    }
}
