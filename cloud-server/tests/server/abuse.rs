//! Input that is wrong, hostile or too much: each ends in a typed error, and the server goes on.

use std::time::{Duration, Instant};

use msao_protocol::{Ask, ClientMessage, ErrorCode, ImageInput, Limits, Media, MediaKind, frame};
use msao_server::{Access, Timeouts};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::forged_png::png_of;
use crate::raw_socket::upgraded;
use crate::support::{Options, TestServer, ask, png, wav, with_audio, with_image};

#[actix_web::test]
async fn images_that_are_none_are_refused_one_by_one() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let good = png(64, 64);
    let cut = good[..good.len() / 2].to_vec();
    let mut jpeg = Vec::new();
    image::load_from_memory(&good)
        .unwrap()
        .write_to(&mut std::io::Cursor::new(&mut jpeg), image::ImageFormat::Jpeg)
        .unwrap();
    jpeg.truncate(jpeg.len() - 20);
    use ErrorCode::{NotAnImage, TooManyPixels, Truncated};
    client.refused_with(with_image(ask(1, "a?"), cut), Truncated, &["cut off"]).await;
    client.refused_with(with_image(ask(2, "a?"), jpeg), Truncated, &["cut off"]).await;
    client
        .refused_with(with_image(ask(3, "a?"), b"<svg/>".to_vec()), NotAnImage, &["PNG, JPEG or WebP"])
        .await;
    client.refused_with(with_image(ask(4, "a?"), vec![]), NotAnImage, &[]).await;
    client.refused_with(with_image(ask(5, "a?"), wav(1, 8_000, 9)), NotAnImage, &[]).await;
    for (id, width, height) in [(6, 1, 100_000_000), (7, 16_000, 16_000)] {
        let started = Instant::now();
        client.refused_with(with_image(ask(id, "a?"), png_of(width, height)), TooManyPixels, &[]).await;
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    }
    // The sender's word for the format does not matter, the bytes do.
    let mislabelled = ImageInput::Whole(Media { kind: MediaKind::Wav, bytes: good });
    let mislabelled = Ask { images: vec![mislabelled], ..ask(8, "a?") };
    client.send(&ClientMessage::Ask(mislabelled)).await;
    client.answer(8).await;
}

#[actix_web::test]
async fn recordings_that_cannot_be_heard_are_refused() {
    let server = TestServer::start(Options::default());
    let mut client = server.session().await;
    let (silent, long, huge) = (wav(1, 8_000, 0), wav(600, 4_000, 60), wav(600, 16_000, 60));
    let tone = wav(1, 8_000, 60);
    use ErrorCode::{AudioSilent, AudioTooLong, NotAudio, TooLarge, Truncated};
    client.refused_with(with_audio(ask(1, ""), silent.clone()), AudioSilent, &["microphone"]).await;
    client.refused_with(with_audio(with_image(ask(2, "a?"), png(8, 8)), silent), AudioSilent, &[]).await;
    client.refused_with(with_audio(ask(3, ""), long), AudioTooLong, &["600.0 s", "at most"]).await;
    client.refused_with(with_audio(ask(4, ""), huge), TooLarge, &["9600044", "at most"]).await;
    client.refused_with(with_audio(ask(5, ""), tone[..tone.len() / 2].to_vec()), Truncated, &[]).await;
    client.refused_with(with_audio(ask(6, ""), png(8, 8)), NotAudio, &["WAV"]).await;
    client.send(&ClientMessage::Ask(with_audio(ask(7, ""), tone))).await;
    client.answer(7).await;
}

#[actix_web::test]
async fn too_much_of_a_good_thing_is_refused() {
    let limits = Limits { images: 2, image_bytes: 5_000, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut client = server.session().await;
    use ErrorCode::{EmptyQuestion, QuestionTooLong, TooLarge, TooManyImages};
    let long = "x".repeat(100_000);
    client.refused_with(ask(1, &long), QuestionTooLong, &["100000", "2000"]).await;
    // Within the characters, but not within the model's context.
    client.refused_with(ask(2, &"7 ".repeat(999)), QuestionTooLong, &["tokens", "shorten"]).await;
    client.refused_with(ask(3, " "), EmptyQuestion, &[]).await;
    let frames = vec![ImageInput::Whole(Media { kind: MediaKind::Png, bytes: png(8, 8) }); 3];
    client
        .refused_with(Ask { images: frames, ..ask(4, "a?") }, TooManyImages, &["3 images", "at most 2"])
        .await;
    client.refused_with(with_image(ask(5, "a?"), vec![0; 5_001]), TooLarge, &["5001", "5000"]).await;
    // Text that looks like the model's control tokens is text.
    client.send(&ClientMessage::Ask(ask(6, "<image><|im_start|><end_of_utterance>"))).await;
    client.answer(6).await;
}

#[actix_web::test]
async fn bytes_that_are_no_frame_end_the_session() {
    let server = TestServer::start(Options::default());
    let ping = frame::encode(&ClientMessage::Ping { nonce: 1 }).unwrap();
    let mut other_version = ping.clone();
    other_version[4] = 9;
    let mut damaged = ping.clone();
    let last = damaged.len() - 2;
    damaged[last] = 0x7F;
    use ErrorCode::{MalformedFrame, UnsupportedVersion};
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), MalformedFrame),
        (vec![], MalformedFrame),
        (ping[..ping.len() - 1].to_vec(), MalformedFrame),
        (damaged, MalformedFrame),
        (other_version, UnsupportedVersion),
    ] {
        let mut client = server.session().await;
        client.send_raw(Message::Binary(bytes.into())).await.unwrap();
        let report = client.error().await;
        assert_eq!((report.request_id, report.code), (None, code), "{report:?}");
        assert_eq!(client.close_code().await, Some(CloseCode::Protocol));
    }
    let mut client = server.session().await;
    client.send_raw(Message::Text("{}".into())).await.unwrap();
    assert_eq!(client.error().await.code, MalformedFrame);
    assert_eq!(client.close_code().await, Some(CloseCode::Unsupported));
    server.assert_alive().await;
}

#[actix_web::test]
async fn the_order_of_a_session_is_kept() {
    let server = TestServer::start(Options::default());
    let mut early = server.connect().await;
    early.send(&ClientMessage::Ask(ask(5, "a?"))).await;
    let report = early.error().await;
    assert_eq!((report.request_id, report.code), (Some(5), ErrorCode::OutOfOrder));
    assert_eq!(early.close_code().await, Some(CloseCode::Policy));

    let mut twice = server.session().await;
    twice.send(&ClientMessage::Hello { client: "again".into() }).await;
    assert_eq!(twice.error().await.code, ErrorCode::OutOfOrder);
    assert_eq!(twice.close_code().await, Some(CloseCode::Policy));
}

#[actix_web::test]
async fn a_message_over_the_limit_is_refused_with_a_reason() {
    let limits =
        Limits { message_bytes: 100_000, image_bytes: 90_000, audio_bytes: 90_000, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    for size in [100_001, 390_000] {
        let mut client = server.session().await;
        client.send_raw(Message::Binary(vec![7; size].into())).await.unwrap();
        let report = client.error().await;
        assert_eq!((report.request_id, report.code), (None, ErrorCode::TooLarge));
        assert!(
            report.message.contains(&size.to_string()) && report.message.contains("100000"),
            "{report:?}"
        );
        assert_eq!(client.close_code().await, Some(CloseCode::Size));
    }
    server.settle().await;
    server.assert_alive().await;
}

#[actix_web::test]
async fn announced_gigabytes_are_not_waited_for() {
    let server = TestServer::start(Options::default());
    let mut socket = upgraded(server.address).await;
    let mut header = vec![0x82, 0xFF];
    header.extend((1_u64 << 40).to_be_bytes());
    socket.write_all(&header).await.unwrap();
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut reply));
    let started = Instant::now();
    let _ = read.await.expect("the server closes");
    let text = String::from_utf8_lossy(&reply);
    assert!(text.contains("1099511627776 bytes"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(15));
    server.settle().await;
    server.assert_alive().await;
}

#[actix_web::test]
async fn tiny_fragments_add_up_to_the_limit_and_no_further() {
    let limits = Limits { message_bytes: 2_000, image_bytes: 900, audio_bytes: 900, ..Limits::default() };
    let server = TestServer::start(Options { limits, ..Options::default() });
    let mut socket = upgraded(server.address).await;
    // A first fragment of one byte, then as many continuations; the mask is zero.
    let mut bytes = vec![0x02, 0x81, 0, 0, 0, 0, 7];
    for _ in 0..3_000 {
        bytes.extend([0x00, 0x81, 0, 0, 0, 0, 7]);
    }
    socket.write_all(&bytes).await.unwrap();
    let mut reply = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut reply)).await.unwrap();
    assert!(String::from_utf8_lossy(&reply).contains("2001 bytes"));
    server.settle().await;
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_let_go() {
    let timeouts = Timeouts { write: Duration::from_millis(200), ..Timeouts::default() };
    // Read as fast as it comes, so that what is written back fills every buffer on the way.
    let access = Access::of_this_machine().with_messages_per_s(u32::MAX);
    let server = TestServer::start(Options { timeouts, access, ..Options::default() });
    let mut socket = upgraded(server.address).await;
    let frame = frame::encode(&ClientMessage::Ping { nonce: 1 }).unwrap();
    let mut pings = Vec::new();
    for _ in 0..2_000 {
        pings.extend([0x82, 0x80 | frame.len() as u8, 0, 0, 0, 0]);
        pings.extend(&frame);
    }
    let flood = async {
        while socket.write_all(&pings).await.is_ok() {}
        std::future::pending().await
    };
    // Once the server has given up, nothing is left of the session, though this side still writes.
    tokio::select! {
        () = flood => {}
        () = server.settle_after_one() => {}
    }
    server.assert_alive().await;
}
