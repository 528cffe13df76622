//! The one choice of cryptography for all TLS of this process.
//!
//! reqwest is built without a provider of its own, so that only one is compiled in; it needs this before its first client.

/// Lets TLS use ring, unless something else was chosen before.
pub(crate) fn choose_provider() {
    // Fails only where a choice was made, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
