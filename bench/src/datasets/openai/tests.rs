//! Recorded documents, from a server that says them over real connections.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::mpsc::{self, Receiver},
    thread,
};

use super::*;

/// A PNG's first bytes: what the server gets is not decoded here.
const PICTURE: [u8; 9] = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 7];
/// As `transformers serve` 5.23 replies (recorded; its optional fields are left out as it leaves them out).
const COMPLETION: &str = r#"{"id":"req_0","choices":[{"finish_reason":"stop","index":0,"logprobs":null,"message":{"content":" red\n","refusal":null,"role":"assistant"}}],"created":1764000000,"model":"pocket@main","object":"chat.completion","usage":{"completion_tokens":2,"prompt_tokens":31,"total_tokens":33}}"#;
/// As OpenAI documents it.
const BUSY: &str = r#"{"error":{"message":"Rate limit reached","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#;

/// What a client sent: the lines of its head in lower case, and its body.
struct Heard {
    head: Vec<String>,
    body: Vec<u8>,
}

/// Replies in this order, one connection each; says what it heard.
fn server(replies: Vec<String>) -> (String, Receiver<Heard>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (says, heard) = mpsc::channel();
    thread::spawn(move || {
        for reply in replies {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let head: Vec<String> = reader
                .by_ref()
                .lines()
                .map(|line| line.unwrap().to_lowercase())
                .take_while(|line| !line.is_empty())
                .collect();
            let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(reply.as_bytes()).unwrap();
            says.send(Heard { head, body }).unwrap();
        }
    });
    (url, heard)
}

fn reply(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn client(url: &str, model: Option<&str>, key_env: Option<&str>) -> Result<OpenAiAnswerer, OpenAiError> {
    let upstream = Upstream::new(url, model.map(str::to_owned), key_env.map(str::to_owned)).unwrap();
    let patience = Patience { tries: 3, first_pause: Duration::from_millis(1) };
    OpenAiAnswerer::connect(upstream, Duration::from_secs(20), patience)
}

#[test]
fn a_question_becomes_a_documented_request_and_its_completion_an_answer() {
    let (url, heard) = server(vec![
        reply("200 OK", r#"{"object":"list","data":[{"id":"pocket@main","object":"model"},{"id":"other"}]}"#),
        reply("200 OK", COMPLETION),
    ]);
    // Some variable that is set wherever tests run; no line break is in it.
    let mut client = client(&url, None, Some("PATH")).unwrap();
    assert_eq!(client.model(), format!("pocket@main at {url}, chat completions"));
    let answer = client.answer("What colour?", &PICTURE).unwrap();
    assert_eq!(answer.text, "red");
    let listed = heard.recv().unwrap();
    assert!(listed.head[0].starts_with("get /v1/models "), "{:?}", listed.head);
    let asked = heard.recv().unwrap();
    assert!(asked.head[0].starts_with("post /v1/chat/completions "), "{:?}", asked.head);
    let key = format!("authorization: bearer {}", std::env::var("PATH").unwrap().to_lowercase());
    assert!(asked.head.contains(&key) && listed.head.contains(&key));
    let document: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let content = &document["messages"][0]["content"];
    assert_eq!(content[0]["image_url"]["url"], "data:image/png;base64,iVBORw0KGgoH");
    assert_eq!((&content[1]["text"], &document["temperature"]), (&"What colour?".into(), &0.into()));
    assert_eq!((&document["model"], &document["max_tokens"]), (&"pocket@main".into(), &64.into()));
    let cost = answer.cost.unwrap();
    assert_eq!(
        (cost.up_bytes, cost.down_bytes),
        (Some(asked.body.len() as u64), Some(COMPLETION.len() as u64))
    );
    assert_eq!(cost.cloud_flops, None, "nobody knows what it computed");
}

#[test]
fn a_busy_server_is_asked_again_and_given_up_in_the_end() {
    let busy = || reply("429 Too Many Requests", BUSY);
    let (url, _heard) =
        server(vec![busy(), reply("503 Service Unavailable", ""), reply("200 OK", COMPLETION)]);
    assert_eq!(client(&url, Some("m"), None).unwrap().answer("?", &PICTURE).unwrap().text, "red");
    let (url, _heard) = server(vec![busy(), busy(), busy()]);
    let error = client(&url, Some("m"), None).unwrap().answer("?", &PICTURE).unwrap_err();
    let NoAnswer::Lost(error) = error else { panic!("the run cannot go on: {error}") };
    let said = format!("{error:#}");
    assert!(
        said.contains("asked 3 times") && said.contains("Rate limit") && said.contains("--concurrency"),
        "{said}"
    );
}

#[test]
fn whose_fault_it_is_decides_whether_the_run_goes_on() {
    let ask = |status: &str, body: &str| {
        let (url, _heard) = server(vec![reply(status, body)]);
        client(&url, Some("m"), Some("PATH")).unwrap().answer("?", &PICTURE).unwrap_err()
    };
    let detail = r#"{"detail":"the picture is too large"}"#;
    for (status, body) in [("400 Bad Request", detail), ("413 Content Too Large", "the picture is too large")]
    {
        let error = ask(status, body);
        assert!(matches!(&error, NoAnswer::Refused(reason) if reason.contains("too large")), "{error}");
    }
    let key = std::env::var("PATH").unwrap();
    let echo =
        serde_json::json!({"error": {"message": format!("Incorrect API key provided: {key}")}}).to_string();
    let error = ask("401 Unauthorized", &echo).to_string();
    assert!(
        error.contains("--upstream-key-env") && error.contains("[key]") && !error.contains(&key),
        "{error}"
    );
    for (status, body, expected) in [
        ("404 Not Found", "{}", "--upstream-model"),
        ("307 Temporary Redirect", "", "redirects"),
        ("200 OK", "<html>", "OpenAI's form"),
    ] {
        let error = ask(status, body);
        assert!(matches!(error, NoAnswer::Lost(_)) && error.to_string().contains(expected), "{error}");
    }
    let endless = "x".repeat(MOST_REPLY_BYTES as usize + 1);
    assert!(matches!(ask("200 OK", &endless), NoAnswer::Lost(_)), "a reply has a budget");
    let error = client("http://127.0.0.1:9/v1", None, None).err().unwrap().to_string();
    assert!(error.contains("is away"), "{error}");
    let (url, _heard) = server(vec![reply("200 OK", r#"{"data":[]}"#)]);
    assert!(matches!(client(&url, None, None), Err(OpenAiError::NoModel(None))));
}

#[test]
fn answers_are_read_in_all_forms_in_which_servers_give_them() {
    let text = |message: &str| {
        let json = format!(r#"{{"choices":[{{"message":{message}}}]}}"#);
        serde_json::from_str::<Reply>(&json).unwrap().text()
    };
    assert_eq!(
        text(r#"{"content":[{"type":"text","text":"two "},{"type":"text","text":"dogs"}]}"#).unwrap(),
        "two dogs"
    );
    assert_eq!(text(r#"{"content":null,"refusal":"I cannot."}"#).unwrap(), "I cannot.");
    assert_eq!(text(r#"{"content":null}"#).unwrap(), "");
    assert_eq!(serde_json::from_str::<Reply>("{}").unwrap().text(), None);
}
