//! A session that plays scripts to the server, one question at a time.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use msao_protocol::{ClientMessage, ErrorCode, FinishReason, RequestId, ServerMessage, frame};
use msao_tests::cloud::{self, CloudClient};
use tungstenite::{Error, Message, WebSocket};

use super::script::Script;

/// A server that takes nothing off the line for so long is stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// No time-out of a socket may be zero.
const LEAST_WAIT: Duration = Duration::from_micros(200);

/// An open session.
pub(super) struct LoadSession {
    socket: WebSocket<TcpStream>,
    last_request_id: RequestId,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an answer.
    Answered,
    /// The server has too much to do.
    Busy,
    /// There is no answer; the session may be unusable.
    Failed,
}

impl LoadSession {
    /// Opens a session.
    ///
    /// # Errors
    /// If the server is away or takes no further session.
    pub(super) fn open(server: SocketAddr) -> Result<Self> {
        let mut socket = CloudClient::open_socket(server)?;
        socket.get_ref().set_write_timeout(Some(WRITE_TIMEOUT))?;
        cloud::send(&mut socket, &ClientMessage::Hello { client: "msao-bench load".into() })?;
        match cloud::receive(&mut socket)? {
            ServerMessage::Welcome { .. } => Ok(Self { socket, last_request_id: 0 }),
            other => bail!("expected a welcome, got {other:?}"),
        }
    }

    /// Answers the server's pings, as a browser does by itself; `None` if the session is gone.
    pub(super) fn listen(mut self) -> Option<Self> {
        self.receive(LEAST_WAIT).ok()?;
        self.socket.flush().ok()?;
        Some(self)
    }

    /// Asks as it was recorded, and waits for the end until `deadline`.
    pub(super) fn play(&mut self, script: &Script, deadline: Instant) -> Ended {
        // What fails here is the connection.
        self.try_play(script, deadline).unwrap_or(Ended::Failed)
    }

    fn try_play(&mut self, script: &Script, deadline: Instant) -> Result<Ended> {
        self.last_request_id += 1;
        let asked = Instant::now();
        let (mut lines, mut revision) = (script.lines.iter().peekable(), 0);
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(Ended::Failed);
            }
            let mut wake = deadline;
            if let Some(line) = lines.peek().filter(|line| line.revision <= revision) {
                let due = asked + Duration::from_secs_f64(line.after_ms / 1e3);
                if due <= now {
                    self.socket.send(Message::binary(line.frame(self.last_request_id)?))?;
                    lines.next();
                    continue;
                }
                wake = wake.min(due);
            }
            match self.receive(wake - now)? {
                Some(ServerMessage::Settled { request_id, revision: settled, .. })
                    if request_id == self.last_request_id =>
                {
                    revision = settled;
                }
                Some(ServerMessage::Done { request_id, finish_reason, .. })
                    if request_id == self.last_request_id =>
                {
                    let is_answer = finish_reason != FinishReason::Cancelled || script.gives_up();
                    return Ok(if is_answer { Ended::Answered } else { Ended::Failed });
                }
                Some(ServerMessage::Error(report)) => {
                    let is_busy = report.code == ErrorCode::Busy;
                    return Ok(if is_busy { Ended::Busy } else { Ended::Failed });
                }
                _ => (),
            }
        }
    }

    /// The next message, or `None` after a while without one.
    fn receive(&mut self, wait: Duration) -> Result<Option<ServerMessage>> {
        self.socket.get_ref().set_read_timeout(Some(wait.max(LEAST_WAIT)))?;
        match self.socket.read() {
            Ok(Message::Binary(bytes)) => Ok(Some(frame::decode(&bytes)?)),
            Ok(Message::Close(_)) => bail!("the server closed the session"),
            Ok(_) => Ok(None),
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener},
        thread::{self, JoinHandle},
    };

    use msao_protocol::{Draft, ErrorReport, Limits, ModelInfo, PictureSize, Receipt, Vocabulary};
    use msao_tests::wiretap::HeardMessage;

    use super::*;

    type Line = WebSocket<TcpStream>;

    /// One session whose other end says what the test says.
    fn against(server: impl FnOnce(&mut Line) + Send + 'static) -> (LoadSession, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let mut line = tungstenite::accept(listener.accept().unwrap().0).unwrap();
            assert!(matches!(heard(&mut line), ClientMessage::Hello { .. }));
            let model = ModelInfo {
                name: "a model".into(),
                parameters: 1,
                device: "cpu".into(),
                image: msao_protocol::ImageGrid::default(),
                audio: None,
                co_located_draft: false,
                vocabulary: Vocabulary::default(),
                pictures: PictureSize::default(),
                clips: None,
            };
            let (session_id, limits) = (String::new(), Limits::default());
            say(&mut line, &ServerMessage::Welcome { session_id, model, limits });
            server(&mut line);
        });
        (LoadSession::open(address).unwrap(), serving)
    }

    fn heard(line: &mut Line) -> ClientMessage {
        frame::decode(&line.read().unwrap().into_data()).unwrap()
    }

    fn say(line: &mut Line, message: &ServerMessage) {
        cloud::send(line, message).unwrap();
    }

    fn done(request_id: RequestId) -> ServerMessage {
        let (text, finish_reason) = (String::new(), FinishReason::Stop);
        ServerMessage::Done { request_id, text, finish_reason, receipt: Receipt::default() }
    }

    /// A question, and a draft that was sent 30 ms later with a correction known.
    fn script() -> Script {
        let draft = Draft {
            request_id: 7,
            revision: 1,
            start: 1,
            tokens: vec![5],
            distributions: Vec::new(),
            is_last: true,
        };
        let at = Instant::now();
        let heard = [(0, ClientMessage::Ask(cloud::question(7, "what?"))), (30, ClientMessage::Draft(draft))];
        let heard = heard.map(|(ms, message)| HeardMessage {
            at: at + Duration::from_millis(ms),
            bytes: frame::encode(&message).unwrap(),
        });
        Script::of(&heard).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn a_draft_waits_for_the_correction_that_it_goes_on_from() {
        let (mut session, serving) = against(|line| {
            for request_id in 1..=2 {
                let ClientMessage::Ask(ask) = heard(line) else { panic!("the question is first") };
                assert_eq!(ask.request_id, request_id, "every question has a name of its own");
                line.get_ref().set_read_timeout(Some(Duration::from_millis(150))).unwrap();
                assert!(line.read().is_err(), "nothing is corrected yet");
                line.get_ref().set_read_timeout(None).unwrap();
                say(line, &ServerMessage::Settled { request_id, start: 0, tokens: Vec::new(), revision: 1 });
                assert!(matches!(heard(line), ClientMessage::Draft(draft) if draft.request_id == request_id));
                say(line, &done(request_id));
            }
        });
        for _ in 0..2 {
            assert_eq!(session.play(&script(), soon()), Ended::Answered);
        }
        serving.join().unwrap();
    }

    #[test]
    fn refusals_and_silence_are_told_apart() {
        let (mut session, serving) = against(|line| {
            heard(line);
            say(
                line,
                &ServerMessage::Error(ErrorReport {
                    request_id: Some(1),
                    code: ErrorCode::Busy,
                    message: String::new(),
                    retry_after_ms: None,
                }),
            );
            heard(line);
            thread::sleep(Duration::from_millis(300));
        });
        assert_eq!(session.play(&script(), soon()), Ended::Busy);
        let deadline = Instant::now() + Duration::from_millis(100);
        assert_eq!(session.play(&script(), deadline), Ended::Failed);
        serving.join().unwrap();
    }
}
