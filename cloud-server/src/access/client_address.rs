//! Where a request comes from, behind proxies too.
//!
//! `X-Forwarded-For` says what its sender likes, so it is believed as far as trusted proxies wrote it: from its end, past
//! each address that is a trusted proxy's own, and the first other one is the client's.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// Proxies in a row that are looked through.
const MAX_PROXIES: usize = 16;

/// The address of the client; `None` only where there is no connection, as in tests in process.
pub(super) fn client_address<'a>(
    peer: Option<SocketAddr>,
    forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer?.ip().to_canonical();
    let hops = forwarded_for.rev().flat_map(|header| header.rsplit(',')).take(MAX_PROXIES);
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        // What a trusted proxy did not understand, nobody does.
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    Some(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        client_address(Some(peer), headers.iter().copied(), &trusted).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("10.0.0.1", &["1.1.1.1"], &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(client("::ffff:10.0.0.1", &["1.1.1.1"], &["10.0.0.0/8"]), "1.1.1.1");
        // What the client itself claimed comes first, and is not believed.
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.2"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.1.1.1,10.0.0.2"], &["10.0.0.0/8"]), "1.1.1.1");
        assert_eq!(client("8.8.8.8", &["1.1.1.1"], &["10.0.0.0/8"]), "8.8.8.8");
        assert_eq!(client("10.0.0.1", &["unknown"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(client("fd00::1", &["2001:db8::7"], &["fd00::/8"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }
}
