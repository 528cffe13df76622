//! Clients that ask and do not read: the server's memory does not grow with what they ask.

use std::fs;
use std::time::Duration;

use msao_protocol::{ClientMessage, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use crate::process::Process;
use crate::raw_socket::upgraded;
use crate::support::ask;

const CLIENTS: usize = 16;
/// Far more than the buffers between can hold.
const MOST_FLOODS: usize = 500;
/// What all of them together may cost: the bounded queues, and the buffers of their connections in the process.
const MOST_BYTES: u64 = 32 << 20;

#[actix_web::test]
async fn memory_is_bounded_however_much_is_asked_and_not_read() {
    let server = Process::start(([127, 0, 0, 1], 0).into(), &[]);
    let before = resident_bytes(server.id());
    let hello = frame_bytes(&ClientMessage::Hello { client: "mute".into() });
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = upgraded(server.address).await;
        client.write_all(&hello).await.unwrap();
        clients.push(client);
    }
    let mut flood = Vec::new();
    for id in 0..2_000 {
        flood.extend(frame_bytes(&ClientMessage::Ask(ask(id, "what is this?"))));
        flood.extend(frame_bytes(&ClientMessage::Ping { nonce: id }));
    }
    let mut held_up = 0;
    for client in &mut clients {
        // The server stops reading once its own words are not read; where the buffers between hold less, that is soon.
        for _ in 0..MOST_FLOODS {
            match timeout(Duration::from_secs(1), client.write_all(&flood)).await {
                Ok(written) => written.expect("the session stands"),
                Err(_held_up) => {
                    held_up += 1;
                    break;
                }
            }
        }
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert_eq!(held_up, CLIENTS, "a client that does not read is not read either");
    assert!(grown < MOST_BYTES, "{grown} bytes more");
}

/// A message as a masked frame; the mask is zero.
fn frame_bytes(message: &ClientMessage) -> Vec<u8> {
    let payload = frame::encode(message).unwrap();
    let mut bytes = vec![0x82, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    assert!(payload.len() < 126);
    bytes.extend(payload);
    bytes
}

fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}
