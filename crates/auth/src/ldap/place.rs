//! Where a directory is reached.

use std::fmt;

/// A server of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Whether TLS comes first, as `ldaps://` says.
    pub is_tls: bool,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Place {
    /// Reads `ldap://HOST[:PORT]` or `ldaps://HOST[:PORT]`. `None` for anything else.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "ldap" => false,
            "ldaps" => true,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                // What stands in brackets is an address of version 6.
                let _: std::net::Ipv6Addr = host.parse().ok()?;
                (host, port)
            }
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.chars().all(is_fine) {
            return None;
        }
        let port = match port {
            "" if is_tls => LDAPS_PORT,
            "" => LDAP_PORT,
            port => {
                let digits = port.strip_prefix(':')?;
                let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                digits.parse().ok().filter(|port| is_number && *port != 0)?
            }
        };
        Some(Self {
            is_tls,
            host: host.to_owned(),
            port,
        })
    }

    /// Whether it is this machine: what is sent there crosses no network.
    #[must_use]
    pub fn is_here(&self) -> bool {
        let is_address = |address: std::net::IpAddr| address.is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "ldaps" } else { "ldap" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// As long as a name is in the DNS.
const HOST_BYTES_MAX: usize = 253;
const LDAP_PORT: u16 = 389;
const LDAPS_PORT: u16 = 636;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_a_scheme_a_host_and_a_port() {
        for (url, is_tls, host, port, is_here) in [
            ("ldap://localhost", false, "localhost", 389, true),
            ("ldaps://ldap.example.com", true, "ldap.example.com", 636, false),
            ("LDAPS://a:1636/", true, "a", 1636, false),
            (" ldap://127.0.0.1:10389 ", false, "127.0.0.1", 10389, true),
            ("ldap://[::1]:389", false, "::1", 389, true),
            ("ldaps://[2001:db8::1]", true, "2001:db8::1", 636, false),
            (
                "ldap://127.0.0.1.example.com",
                false,
                "127.0.0.1.example.com",
                389,
                false,
            ),
        ] {
            let host = host.to_owned();
            let expected = Place { is_tls, host, port };
            assert_eq!(Place::parse(url).as_ref(), Some(&expected), "{url}");
            assert_eq!(expected.is_here(), is_here, "{url}");
        }
        for bad in [
            "",
            "ldap://",
            "ldap:///dc=x",
            "ldapi://%2fvar%2frun",
            "http://a",
            "a:389",
            "ldap://user@a",
            "ldap://a/dc=example?cn?sub",
            "ldap://a:0",
            "ldap://a:+1",
            "ldap://a:65536",
            "ldap://a:",
            "ldap://::1",
            "ldap://[::1",
            "ldap://[a]",
            "ldap://a b",
            "ldap://a\r\n",
            "ldap://a\0b",
        ] {
            let found = Place::parse(bad);
            assert!(found.is_none() || bad.trim() != bad, "{bad:?}: {found:?}");
        }
    }
}
