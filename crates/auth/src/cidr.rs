//! Ranges of addresses, to which tokens and credentials can be bound.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no range of addresses. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// It has another form.
    #[error("a bound address is an IP address or a range such as 10.1.0.0/16 or 2001:db8::/32")]
    Form,
    /// There are more than [`CIDRS_MAX`].
    #[error("at most 32 bound addresses")]
    TooMany,
}

/// A range of addresses. An IPv4 address that is written as an IPv6 one is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// The first address.
    network: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether the address, in its canonical form, is in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        is_same_family(self.network, address) && mask(address, self.bits) == self.network
    }

    /// Whether each address of the other range is in this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && self.contains(other.network)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| CidrError::Form)?;
        let bits = match bits {
            None => width(written),
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| CidrError::Form)?
            }
            Some(_) => return Err(CidrError::Form),
        };
        if bits > width(written) {
            return Err(CidrError::Form);
        }
        // A wider range than that of all IPv4 addresses stays what it is: one of IPv6.
        let (address, bits) = match written.to_canonical() {
            IpAddr::V4(v4) if written.is_ipv6() && bits >= MAPPED_BITS => (IpAddr::V4(v4), bits - MAPPED_BITS),
            IpAddr::V4(_) if written.is_ipv6() => (written, bits),
            canonical => (canonical, bits),
        };
        Ok(Self {
            network: mask(address, bits),
            bits,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.network) {
            self.network.fmt(f)
        } else {
            write!(f, "{}/{}", self.network, self.bits)
        }
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

/// Reads a list of ranges; sorted, each once.
///
/// # Errors
/// [`CidrError`]
pub fn parse_cidrs(texts: &[String]) -> Result<Vec<Cidr>, CidrError> {
    if texts.len() > CIDRS_MAX {
        return Err(CidrError::TooMany);
    }
    let parsed: Result<Vec<Cidr>, CidrError> = texts.iter().map(|text| text.trim().parse()).collect();
    let mut cidrs = parsed?;
    cidrs.sort_unstable();
    cidrs.dedup();
    Ok(cidrs)
}

/// Whether a client at this address, with or without a port, is where the ranges allow it; none allow it everywhere. An address that
/// cannot be read is nowhere.
#[must_use]
pub fn is_allowed(bound: &[Cidr], client_address: &str) -> bool {
    if bound.is_empty() {
        return true;
    }
    let socket = client_address.parse::<SocketAddr>().map(|socket| socket.ip());
    let Ok(address) = socket.or_else(|_| client_address.parse::<IpAddr>()) else {
        return false;
    };
    bound.iter().any(|cidr| cidr.contains(address.to_canonical()))
}

/// Whether the ranges allow no address that those above do not. None are wider than any.
#[must_use]
pub fn is_within(cidrs: &[Cidr], above: &[Cidr]) -> bool {
    above.is_empty() || (!cidrs.is_empty() && cidrs.iter().all(|cidr| above.iter().any(|wide| wide.covers(cidr))))
}

const fn is_same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with all bits after these cleared.
fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & kept))
        }
        IpAddr::V6(v6) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & kept))
        }
    }
}

/// They are looked through at every request of a token, and an audit record names them.
const CIDRS_MAX: usize = 32;
/// The bits before an IPv4 address in an IPv6 one.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        parse_cidrs(&texts).expect("are ranges")
    }

    #[test]
    fn ranges_have_one_form() {
        let check = |text: &str, expect: Option<&str>| {
            let parsed = text.parse::<Cidr>().ok().map(|cidr| cidr.to_string());
            assert_eq!(parsed.as_deref(), expect, "{text}");
        };
        check("10.1.2.3", Some("10.1.2.3"));
        check("10.1.2.3/32", Some("10.1.2.3"));
        check("10.1.2.3/8", Some("10.0.0.0/8"));
        check("0.0.0.0/0", Some("0.0.0.0/0"));
        check("2001:db8::1/32", Some("2001:db8::/32"));
        check("::1", Some("::1"));
        check("::/0", Some("::/0"));
        check("::ffff:10.1.2.3", Some("10.1.2.3"));
        check("::ffff:10.1.2.3/104", Some("10.0.0.0/8"));
        check("::ffff:10.1.2.3/64", Some("::/64"));
        for bad in [
            "",
            "/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.0.0/8",
            "010.0.0.1",
            "a/8",
            "10.0.0.0/8/8",
            "10.0.0.0/0008",
            "host.example",
        ] {
            check(bad, None);
        }
    }

    /// Abuse cases: 46.
    #[test]
    fn an_address_is_inside_or_refused() {
        let check = |bound: &[&str], address: &str, expect: bool| {
            assert_eq!(is_allowed(&cidrs(bound), address), expect, "{bound:?} {address}");
        };
        check(&[], "", true);
        check(&[], "nonsense", true);
        for address in ["10.1.2.3", "10.1.2.3:80", "[::ffff:10.1.2.3]:80", "::ffff:10.1.2.3"] {
            check(&["10.0.0.0/8"], address, true);
            check(&["192.168.0.0/16", "10.1.2.3"], address, true);
            check(&["11.0.0.0/8"], address, false);
            check(&["::/0"], address, false);
        }
        check(&["2001:db8::/32"], "[2001:db8::7]:443", true);
        check(&["fe80::/10"], "[fe80::1%3]:443", true);
        for malformed in [
            "",
            "unix",
            "10.1.2.3:",
            ":80",
            "10.1.2.3, 10.1.2.4",
            "10.1.2.3:80:80",
            "[::1",
            "10.1.2.3 ",
        ] {
            check(&["0.0.0.0/0", "::/0"], malformed, false);
        }
    }

    #[test]
    fn no_range_is_wider_than_those_above() {
        let check = |below: &[&str], above: &[&str], expect: bool| {
            assert_eq!(is_within(&cidrs(below), &cidrs(above)), expect, "{below:?} {above:?}");
        };
        check(&[], &[], true);
        check(&["10.0.0.0/8"], &[], true);
        check(&[], &["10.0.0.0/8"], false);
        check(&["10.1.0.0/16"], &["10.0.0.0/8"], true);
        check(&["10.0.0.0/8"], &["10.0.0.0/8"], true);
        check(&["10.0.0.0/7"], &["10.0.0.0/8"], false);
        check(&["10.1.0.0/16", "11.0.0.1"], &["10.0.0.0/8"], false);
        check(&["10.1.0.0/16", "11.0.0.1"], &["10.0.0.0/8", "11.0.0.0/24"], true);
        check(&["::/0"], &["0.0.0.0/0"], false);
    }
}
