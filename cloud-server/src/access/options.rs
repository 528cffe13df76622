//! What an operator can set about who may do what.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use super::{AccessError, tls};

/// A session's messages a second unless told otherwise: far above what drafting needs.
pub(super) const MESSAGES_PER_S: u32 = 500;

/// Keys, session tokens, TLS and proxies.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// File of API keys, made by `msao-server keys create`; all but the page and health then asks for one. A change of
    /// the file takes effect within a second
    #[arg(long, env = "MSAO_KEYS_FILE")]
    pub keys_file: Option<PathBuf>,
    /// File with at least 32 random bytes that session tokens are signed with; name the same content on several servers to
    /// let tokens of one hold on all. Without, tokens end with this process
    #[arg(long, env = "MSAO_TOKEN_SECRET_FILE")]
    pub token_secret_file: Option<PathBuf>,
    /// Lets anyone who can reach this server use it, without a key
    #[arg(long, env = "MSAO_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,
    /// PEM file of a certificate chain: connections are encrypted here
    #[arg(long, env = "MSAO_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, env = "MSAO_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Network of proxies whose X-Forwarded-For is believed, such as 10.0.0.0/8; may be repeated
    #[arg(long = "trusted-proxy", env = "MSAO_TRUSTED_PROXY", value_delimiter = ',', value_parser = parse_network)]
    pub trusted_proxies: Vec<IpNet>,
    /// Messages a second that one session is read at; what comes faster waits
    #[arg(long, env = "MSAO_MESSAGES_PER_S", default_value_t = MESSAGES_PER_S, value_parser = clap::value_parser!(u32).range(1..))]
    pub messages_per_s: u32,
}

impl AccessOptions {
    pub(super) fn tls(&self) -> Result<Option<rustls::ServerConfig>, AccessError> {
        match (&self.tls_cert, &self.tls_key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => tls::server_config(certificate, key).map(Some),
            _ => Err(AccessError::HalfOfTls),
        }
    }
}

/// Reads a network, or an address as the network of itself.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
    let network = text.parse::<IpNet>().ok().or_else(address);
    network.ok_or_else(|| "a network is written like 10.0.0.0/8 or fd00::/8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read() {
        assert_eq!(parse_network("10.1.0.0/16").unwrap().to_string(), "10.1.0.0/16");
        assert_eq!(parse_network("::1").unwrap().to_string(), "::1/128");
        assert!(parse_network("10.0.0.0/40").is_err());
        assert!(parse_network("proxy").is_err());
    }
}
