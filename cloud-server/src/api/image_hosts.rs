//! The hosts that pictures may be fetched from, and which addresses those may have.
//!
//! A server that fetches what strangers name would fetch from its own network for them. So nothing is fetched unless its
//! host is listed, and a listed name may not lead to a private address: whoever can change the name could point it there.
//! Only an address that is itself listed may be private.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Origin, Url};

/// A host that pictures may be fetched from: `example.org` or `example.org:8443` for HTTPS, or with its scheme, such as
/// `http://10.0.0.7:9000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHost {
    origin: Origin,
    is_address: bool,
}

/// Why something is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host: write example.org, example.org:8443 or http://10.0.0.7:9000")]
pub struct NoHost(String);

impl FromStr for ImageHost {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let no_host = || NoHost(text.to_owned());
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_invalid| no_host())?;
        // A pattern would be taken for a name that nothing has.
        let is_pattern = url.host_str().is_none_or(|host| host.contains('*'));
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if is_pattern || !is_bare || !is_web(&url) || has_credentials(&url) {
            return Err(no_host());
        }
        Ok(Self { origin: url.origin(), is_address: is_address(&url) })
    }
}

impl fmt::Display for ImageHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.origin.ascii_serialization())
    }
}

impl ImageHost {
    /// Whether `url` is on this host: same scheme, name and port.
    pub(super) fn serves(&self, url: &Url) -> bool {
        self.origin == url.origin() && !has_credentials(url)
    }

    /// Whether it is an address, which may be private since an operator has listed it.
    pub(super) fn is_address(&self) -> bool {
        self.is_address
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_address(url: &Url) -> bool {
    matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)))
}

/// Whether an address is one of the public network's, by IANA's registries of special addresses.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        // This network, and the reserved rest with broadcast.
        || a == 0
        || a >= 240
        // Carrier-grade NAT, protocol assignments, relays of 6to4, benchmarks.
        || (a == 100 && b & 0xC0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && b & 0xFE == 18);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    // IPv4 in other clothes: 6to4 and NAT64 lead to the address inside. Mapped ones lie outside 2000::/3.
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    if a == 0x2002 {
        return embedded(b, c);
    }
    if (a, b) == (0x64, 0xFF9B) && address.segments()[2..6] == [0; 4] {
        return embedded(address.segments()[6], address.segments()[7]);
    }
    // Only 2000::/3 is public; of it not protocol assignments, Teredo among them, nor documentation.
    let is_protocol = a == 0x2001 && b < 0x200;
    let is_documentation = (a, b) == (0x2001, 0xDB8) || (a == 0x3FFF && b < 0x1000);
    a & 0xE000 == 0x2000 && !is_protocol && !is_documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_origins() {
        let host = |text: &str| text.parse::<ImageHost>();
        let serves = |text: &str, url: &str| host(text).unwrap().serves(&Url::parse(url).unwrap());
        assert!(serves("Example.org", "https://example.org/a.png?b"));
        assert!(serves("example.org:8443", "https://example.org:8443/a"));
        assert!(serves("http://10.0.0.7:9000", "http://10.0.0.7:9000/a"));
        // The same address in another spelling.
        assert!(serves("http://127.0.0.1:80", "http://0x7f.1/a"));
        for other in [
            "http://example.org/",
            "https://example.org:8443/",
            "https://www.example.org/",
            "https://example.org.evil.test/",
            "https://example.org@evil.test/",
            "https://me:secret@example.org/",
        ] {
            assert!(!serves("example.org", other), "{other}");
        }
        for wrong in ["", "ftp://example.org", "example.org/path", "a b", "https://me@example.org", "*"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert!(host("[::1]:9000").unwrap().is_address());
        assert!(!host("localhost").unwrap().is_address());
    }

    #[test]
    fn private_and_special_addresses_are_told_from_public_ones() {
        let public = |text: &str| is_public(text.parse().unwrap());
        for address in ["93.184.216.34", "1.1.1.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"] {
            assert!(public(address), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.19.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }
}
