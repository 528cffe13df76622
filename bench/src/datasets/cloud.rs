//! A running server answers, over its own protocol: the target alone, with everything sent whole.

use std::{net::ToSocketAddrs, time::Instant};

use anyhow::{Context, Result};
use msao_protocol::{Ask, ClientMessage, ErrorCode, ImageInput, Media, MediaKind, frame};
use msao_tests::{
    cloud::{self, CloudClient},
    server::Server,
};

use super::{
    MAX_NEW_TOKENS,
    cost::Cost,
    run::{Answer, Answerer, NoAnswer},
};
use crate::{clock::ms_since, run::Models};

/// A session with a server.
pub(super) struct CloudAnswerer {
    client: CloudClient,
    name: String,
    asked: u32,
    /// One of our own; it ends with this.
    _server: Option<Server>,
}

impl CloudAnswerer {
    /// Opens a session with the server at `host:port`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn connect(server: &str) -> Result<Self> {
        let addresses = server.to_socket_addrs().with_context(|| format!("{server:?} is no host:port"))?;
        let mut failure = anyhow::anyhow!("{server:?} has no address");
        for address in addresses {
            match CloudClient::connect(address) {
                Ok(client) => {
                    let model = &client.model;
                    let name = format!("{} of {} parameters, cloud only", model.name, model.parameters);
                    return Ok(Self { client, name, asked: 0, _server: None });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure
            .context(format!("start a server first: msao-server --listen {server}, or name a --model")))
    }

    /// Starts a server with these models and opens a session with it.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn start(models: &Models) -> Result<Self> {
        eprintln!("starting the server ...");
        let server = Server::start_with(&models.server_flags())?;
        let client = CloudClient::connect(server.address())?;
        Ok(Self { client, name: format!("{models}, cloud only"), asked: 0, _server: Some(server) })
    }
}

impl Answerer for CloudAnswerer {
    fn model(&self) -> String {
        self.name.clone()
    }

    fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
        let most = self.client.limits.image_bytes;
        if image.len() as u64 > u64::from(most) {
            let bytes = image.len();
            return Err(NoAnswer::Refused(format!("its picture has {bytes} bytes, the server takes {most}")));
        }
        self.asked = self.asked.wrapping_add(1);
        let images = vec![ImageInput::Whole(Media { kind: kind(image)?, bytes: image.to_vec() })];
        let ask = Ask { images, max_new_tokens: MAX_NEW_TOKENS, ..cloud::question(self.asked, question) };
        let message = ClientMessage::Ask(ask);
        let up_bytes = frame::encode(&message).map_err(|error| NoAnswer::Lost(error.into()))?.len() as u64;
        let sent = Instant::now();
        let answered = self.client.send(&message).and_then(|()| self.client.answer(self.asked));
        match answered.map_err(NoAnswer::Lost)? {
            Ok(answer) => {
                let cost = Cost {
                    total_ms: ms_since(sent),
                    up_bytes: Some(up_bytes),
                    // 0 where the server does not know them.
                    cloud_flops: Some(answer.receipt.flops).filter(|flops| *flops > 0),
                    ..Cost::default()
                };
                Ok(Answer { text: answer.text.trim().to_owned(), cost: Some(cost) })
            }
            // Not this question's fault.
            Err(report) if matches!(report.code, ErrorCode::ShuttingDown | ErrorCode::Internal) => {
                Err(NoAnswer::Lost(anyhow::anyhow!(report.message)))
            }
            Err(report) => Err(NoAnswer::Refused(report.message)),
        }
    }
}

/// The format of an encoded picture.
pub(super) fn kind(image: &[u8]) -> Result<MediaKind, NoAnswer> {
    match image {
        [0x89, b'P', b'N', b'G', ..] => Ok(MediaKind::Png),
        [0xff, 0xd8, 0xff, ..] => Ok(MediaKind::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(MediaKind::Webp),
        _ => Err(NoAnswer::Refused("its picture is neither PNG, JPEG nor WebP; convert it".into())),
    }
}
