//! A server that is told to stop: nothing new begins, and every stream ends with a word.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use msao_protocol::{Ask, ClientMessage, ErrorCode, ServerMessage, Speculation, frame};
use msao_server::Ending;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::process::Process;
use crate::support::{Options, TestServer, ask};

/// An answer that no machine finishes: each of its tokens waits for a draft that never comes.
fn endless(request_id: u32) -> Ask {
    let speculation = Speculation::Distributed { patience_ms: 5_000 };
    Ask { max_new_tokens: 128, speculation, ..ask(request_id, "a?") }
}

#[actix_web::test]
async fn what_does_not_finish_is_handed_back() {
    let server = TestServer::start(Options::default());
    let mut busy = server.session().await;
    busy.send(&ClientMessage::Ask(endless(7))).await;
    // The session has taken the question once it answers what came behind it.
    busy.send(&ClientMessage::Ping { nonce: 1 }).await;
    assert_eq!(busy.next().await, ServerMessage::Pong { nonce: 1 });

    let state = server.state.clone();
    let ending = actix_web::rt::spawn(async move { state.finish(Duration::from_secs(600)).await });
    while !server.state.drain.has_begun() {
        tokio::task::yield_now().await;
    }
    let mut late = server.connect().await;
    let report = late.error().await;
    assert_eq!((report.request_id, report.code), (None, ErrorCode::ShuttingDown));
    assert!(report.retry_after_ms.is_some(), "{report:?}");
    assert_eq!(late.close_code().await, Some(CloseCode::Away));
    busy.refused_with(ask(8, "b?"), ErrorCode::ShuttingDown, &["connect again"]).await;

    server.state.drain.hand_back();
    let report = busy.error().await;
    assert_eq!((report.request_id, report.code), (Some(7), ErrorCode::ShuttingDown), "{report:?}");
    assert!(report.message.contains("0 tokens") && report.retry_after_ms.is_some(), "{report:?}");
    assert_eq!(busy.close_code().await, Some(CloseCode::Away));
    assert_eq!(ending.await.unwrap(), Ending::HandedBack);
}

#[actix_web::test]
async fn every_stream_ends_with_a_word_when_the_process_is_told_to_stop() {
    const QUICK: u32 = 6;
    const ENDLESS: u32 = 6;
    let mut server = Process::start(([127, 0, 0, 1], 0).into(), &["--drain-s", "1", "--queue", "32"]);
    let mut streams = Vec::new();
    for id in 0..QUICK + ENDLESS {
        let (mut socket, _) = connect_async(format!("ws://{}/v1/session", server.address)).await.unwrap();
        let question = if id < QUICK { Ask { max_new_tokens: 128, ..ask(id, "a?") } } else { endless(id) };
        for message in [
            ClientMessage::Hello { client: "test".into() },
            ClientMessage::Ask(question),
            ClientMessage::Ping { nonce: id },
        ] {
            socket.send(Message::Binary(frame::encode(&message).unwrap().into())).await.unwrap();
        }
        // Its pong is behind the question: from here on the stream is under way.
        let mut early = Vec::new();
        loop {
            match receive(&mut socket).await {
                Some(ServerMessage::Pong { .. }) => break,
                Some(message) => early.push(message),
                None => panic!("closed early"),
            }
        }
        streams.push((id, socket, early));
    }
    server.terminate();
    let mut handed_back = 0;
    for (id, mut socket, early) in streams {
        let mut ends = Vec::new();
        let mut take = |message: ServerMessage| match message {
            ServerMessage::Done { request_id, .. } => ends.push((request_id, None)),
            ServerMessage::Error(report) => ends.push((report.request_id.unwrap(), Some(report.code))),
            _ => {}
        };
        early.into_iter().for_each(&mut take);
        while let Some(message) = receive(&mut socket).await {
            take(message);
        }
        match ends[..] {
            [(request_id, None)] if request_id == id => {}
            [(request_id, Some(ErrorCode::ShuttingDown))] if request_id == id => handed_back += 1,
            _ => panic!("stream {id} ended with {ends:?}"),
        }
    }
    assert!(handed_back >= ENDLESS, "{handed_back}");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[actix_web::test]
#[cfg(target_os = "linux")]
async fn systemd_hears_of_the_start_and_of_the_end() {
    let path = std::env::temp_dir().join(format!("msao-notify-{}", std::process::id()));
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let hear = || {
        let mut buffer = [0; 256];
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = crate::process::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &path);
    let mut server = Process::spawn(command);
    assert_eq!(hear().trim(), "READY=1");
    server.terminate();
    assert_eq!(hear().trim(), "STOPPING=1");
    assert_eq!(server.ended().await.code(), Some(0));
    std::fs::remove_file(path).unwrap();
}

/// The next message, or `None` once the server has closed as it should.
async fn receive(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
) -> Option<ServerMessage> {
    loop {
        match socket.next().await.expect("a closing handshake").expect("a sound connection") {
            Message::Binary(bytes) => return Some(frame::decode(&bytes).unwrap()),
            Message::Close(close) => {
                assert_eq!(close.unwrap().code, CloseCode::Away);
                return None;
            }
            _ => {}
        }
    }
}
