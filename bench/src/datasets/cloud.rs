//! A running server answers, over its own protocol: the target alone, with everything sent whole.

use std::net::ToSocketAddrs;

use anyhow::{Context, Result};
use msao_protocol::{Ask, ErrorCode, ImageInput, Media, MediaKind};
use msao_tests::cloud::{self, CloudClient};

use super::run::{Answerer, NoAnswer};

/// A short answer, and room for a model that says a sentence.
const MAX_NEW_TOKENS: u32 = 64;

/// A session with a server.
pub(super) struct CloudAnswerer {
    client: CloudClient,
    asked: u32,
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
                Ok(client) => return Ok(Self { client, asked: 0 }),
                Err(error) => failure = error,
            }
        }
        Err(failure.context(format!("start a server first: msao-server --listen {server}")))
    }
}

impl Answerer for CloudAnswerer {
    fn model(&self) -> String {
        let model = &self.client.model;
        format!("{} of {} parameters, cloud only", model.name, model.parameters)
    }

    fn answer(&mut self, question: &str, image: &[u8]) -> Result<String, NoAnswer> {
        let most = self.client.limits.image_bytes;
        if image.len() as u64 > u64::from(most) {
            let bytes = image.len();
            return Err(NoAnswer::Refused(format!("its picture has {bytes} bytes, the server takes {most}")));
        }
        self.asked = self.asked.wrapping_add(1);
        let images = vec![ImageInput::Whole(Media { kind: kind(image)?, bytes: image.to_vec() })];
        let ask = Ask { images, max_new_tokens: MAX_NEW_TOKENS, ..cloud::question(self.asked, question) };
        match self.client.ask(ask).map_err(NoAnswer::Lost)? {
            Ok(answer) => Ok(answer.text.trim().to_owned()),
            // Not this question's fault.
            Err(report) if matches!(report.code, ErrorCode::ShuttingDown | ErrorCode::Internal) => {
                Err(NoAnswer::Lost(anyhow::anyhow!(report.message)))
            }
            Err(report) => Err(NoAnswer::Refused(report.message)),
        }
    }
}

/// The format of an encoded picture.
fn kind(image: &[u8]) -> Result<MediaKind, NoAnswer> {
    match image {
        [0x89, b'P', b'N', b'G', ..] => Ok(MediaKind::Png),
        [0xff, 0xd8, 0xff, ..] => Ok(MediaKind::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(MediaKind::Webp),
        _ => Err(NoAnswer::Refused("its picture is neither PNG, JPEG nor WebP; convert it".into())),
    }
}
