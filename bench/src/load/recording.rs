//! One pass of the real client, with a listener between its network and the server.
//!
//! So a script has what the server really got, at the distances in which it got it over the network of the recording.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use msao_tests::wiretap::Wiretap;

use super::script::Script;
use crate::{
    link::{Link, Scenario},
    run::{BenchPolicy, Client, ClientSettings, PolicyRunner, Request},
};

/// Requests that a client has answered before the first that counts: its plans rest on what it has measured.
const WARM_UP_REQUESTS: usize = 4;
/// Of the random numbers that the client draws.
const SEED: u64 = 7;

/// A line to the server that is listened on.
pub(super) struct Recorder {
    settings: ClientSettings,
    network: Scenario,
    tap: Wiretap,
    tapped: SocketAddr,
}

impl Recorder {
    /// Listens on the line to `server` behind an emulated `network`.
    ///
    /// # Errors
    /// If the server is away or this machine gives no port.
    pub(super) fn start(server: SocketAddr, network: Scenario, settings: ClientSettings) -> Result<Self> {
        let tap = Wiretap::to(server)?;
        let port = tap.site().rsplit(':').next().and_then(|port| port.parse().ok());
        let tapped = (Ipv4Addr::LOCALHOST, port.context("a listener names its port")?).into();
        Ok(Self { settings, network, tap, tapped })
    }

    /// The script of each request under a policy.
    ///
    /// # Errors
    /// If a request fails: there is nothing to replay of it.
    pub(super) fn record(&mut self, policy: BenchPolicy, requests: &[Request]) -> Result<Vec<Script>> {
        let link = Arc::new(Link::start(self.tapped, self.network.trace())?);
        let mut client = Client::new(policy, &self.network.to_string(), link, self.settings.clone(), SEED)?;
        for request in requests.iter().rev().take(WARM_UP_REQUESTS) {
            client.prepare();
            client.answer(request)?;
        }
        let mut scripts = Vec::with_capacity(requests.len());
        for request in requests {
            client.prepare();
            let before = self.tap.heard().len();
            let record = client.answer(request)?.record;
            let reason = record.failure.as_deref();
            ensure!(reason.is_none(), "{} cannot be recorded under {policy}: {reason:?}", request.id);
            scripts.push(Script::of(&self.tap.heard()[before..])?);
        }
        Ok(scripts)
    }
}
