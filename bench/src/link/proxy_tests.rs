//! Bytes through a real link. Lower bounds of times are exact; upper ones leave room for a busy machine.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    Link,
    shape::{Direction, Shape},
    trace::{Segment, State, Trace},
};

const QUEUE_BYTES: u64 = 32 << 10;

/// What waiting threads of a busy machine add.
const SLACK: Duration = Duration::from_millis(400);

fn shape(up_mbit: f64, down_mbit: f64, rtt_ms: f64) -> Shape {
    let direction = |mbit: f64| Direction {
        rate_bits_per_s: mbit * 1e6,
        delay_ms: rtt_ms / 2.0,
        queue_bytes: QUEUE_BYTES,
    };
    Shape { up: direction(up_mbit), down: direction(down_mbit) }
}

fn trace(shape: Shape, states: &[(f64, State)]) -> Trace {
    let segments = states.iter().map(|(at_ms, state)| Segment { at_ms: *at_ms, shape, state: *state });
    Trace { segments: segments.collect(), period_ms: None }
}

/// A server that does `work` with each of its connections.
fn server(work: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || work(stream));
        }
    });
    address
}

fn echo() -> SocketAddr {
    server(|mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut back = stream.try_clone().unwrap();
        // A connection that is cut in the middle.
        let _ = std::io::copy(&mut stream, &mut back);
        let _ = back.shutdown(Shutdown::Write);
    })
}

/// Reads all that comes and says how much it was.
fn counter() -> SocketAddr {
    server(|mut stream| {
        let count = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or(0);
        let _ = stream.write_all(&count.to_le_bytes());
    })
}

fn connect(link: &Link) -> TcpStream {
    let stream = TcpStream::connect(link.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn round_trip(stream: &mut TcpStream) -> Duration {
    let begin = Instant::now();
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    begin.elapsed()
}

/// Uploads so many bytes; how long until the server has said that it has them.
fn upload(mut stream: TcpStream, bytes: usize) -> Duration {
    let begin = Instant::now();
    stream.write_all(&vec![7; bytes]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut count = [0; 8];
    stream.read_exact(&mut count).unwrap();
    assert_eq!(u64::from_le_bytes(count), bytes as u64);
    begin.elapsed()
}

/// Upload in a thread of its own.
fn uploading(stream: TcpStream, bytes: usize) -> JoinHandle<Duration> {
    thread::spawn(move || upload(stream, bytes))
}

#[test]
fn a_small_message_takes_the_rtt_and_a_connection_one_more() {
    for rtt_ms in [20, 100] {
        let rtt = Duration::from_millis(rtt_ms);
        let link = Link::start(echo(), shape(100.0, 100.0, rtt_ms as f64)).unwrap();
        let mut stream = connect(&link);
        let first = round_trip(&mut stream);
        assert!(first >= 2 * rtt && first < 2 * rtt + SLACK, "{first:?}");
        let mut trips: Vec<Duration> = (0..15).map(|_| round_trip(&mut stream)).collect();
        trips.sort();
        assert!(trips[0] >= rtt, "{trips:?}");
        // The quickest is near what was set; a machine under load adds to the others.
        assert!(trips[0] < rtt + rtt / 2 && trips[7] < rtt + SLACK, "{trips:?}");
        assert_eq!(link.bytes(), (64, 64));
    }
}

#[test]
fn an_upload_takes_its_bytes_at_the_rate_and_the_delay() {
    let link = Link::start(counter(), shape(40.0, 40.0, 20.0)).unwrap();
    let bytes = 2_000_000;
    let took = upload(connect(&link), bytes);
    // A round trip for the handshake, one for the upload's end and its reply, and 400 ms at 40 Mbit/s.
    let ideal = Duration::from_millis(20 + 20 + 400);
    assert!(took >= ideal && took < ideal + SLACK, "{took:?}");
    assert!(link.bytes() == (bytes as u64, 8), "{:?}", link.bytes());
}

#[test]
fn connections_share_a_direction_and_directions_share_nothing() {
    let link = Link::start(counter(), shape(20.0, 20.0, 10.0)).unwrap();
    let begin = Instant::now();
    let both = [(); 2].map(|()| uploading(connect(&link), 500_000));
    let _ = both.map(|one| one.join().unwrap());
    // 1 MB at 20 Mbit/s.
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());

    // While the uplink is full for seconds, a message down takes no longer than ever.
    let chatter = server(|mut stream| {
        let mut sink = stream.try_clone().unwrap();
        thread::spawn(move || std::io::copy(&mut sink, &mut std::io::sink()));
        while stream.write_all(&[1; 100]).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let link = Link::start(chatter, shape(1.0, 20.0, 10.0)).unwrap();
    let mut stream = connect(&link);
    let mut sender = stream.try_clone().unwrap();
    thread::spawn(move || sender.write_all(&[7; 2_000_000]));
    let begin = Instant::now();
    stream.read_exact(&mut [0; 1000]).unwrap();
    assert!(begin.elapsed() < Duration::from_millis(10 + 5 + 180) + SLACK, "{:?}", begin.elapsed());
}

#[test]
fn a_full_queue_stops_the_sender() {
    let network = trace(shape(50.0, 50.0, 10.0), &[(0.0, State::Open), (100.0, State::Outage)]);
    let link = Link::start(counter(), network).unwrap();
    let mut stream = connect(&link);
    thread::sleep(Duration::from_millis(150));
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while let Ok(count) = stream.write(&[7; 65_536]) {
        sent += count;
        // The sockets' own buffers take some megabytes.
        assert!(sent < 64 << 20, "nothing stops the sender");
    }
    let (up, down) = link.queued_bytes();
    assert!(up as u64 <= QUEUE_BYTES && up as u64 > QUEUE_BYTES / 2 && down == 0, "{up} {down}");
    assert_eq!(link.bytes(), (0, 0));
}

#[test]
fn an_outage_holds_bytes_and_gives_them_whole_and_in_order_afterwards() {
    let states = [(0.0, State::Open), (300.0, State::Outage), (900.0, State::Open)];
    let link = Link::start(echo(), trace(shape(50.0, 50.0, 10.0), &states)).unwrap();
    let mut stream = connect(&link);
    let begin = Instant::now();
    link.restart_clock();
    round_trip(&mut stream);
    thread::sleep(Duration::from_millis(350).saturating_sub(begin.elapsed()));
    let message: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut sender = stream.try_clone().unwrap();
    let sent = message.clone();
    thread::spawn(move || sender.write_all(&sent));
    let mut heard = vec![0; message.len()];
    stream.read_exact(&mut heard[..1]).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(910), "{:?}", begin.elapsed());
    stream.read_exact(&mut heard[1..]).unwrap();
    assert_eq!(heard, message);
}

#[test]
fn another_network_takes_over_what_waits() {
    let network = trace(shape(50.0, 50.0, 10.0), &[(0.0, State::Outage)]);
    let link = Link::start(counter(), network).unwrap();
    let upload = uploading(connect(&link), 100_000);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(link.bytes(), (0, 0));
    link.set(shape(8.0, 8.0, 10.0)).unwrap();
    let took = upload.join().unwrap();
    // The wait gives no credit: 100 kB take 100 ms from the change on.
    assert!(took >= Duration::from_millis(300 + 100), "{took:?}");
    assert!(link.set(shape(-1.0, 8.0, 10.0)).is_err());
}

#[test]
fn a_cut_closes_connections_and_refuses_new_ones_until_it_ends() {
    let states = [(0.0, State::Open), (500.0, State::Cut), (1500.0, State::Open)];
    let link = Link::start(echo(), trace(shape(50.0, 50.0, 10.0), &states)).unwrap();
    // A trace that begins anew cuts anew.
    for _ in 0..2 {
        let begin = Instant::now();
        link.restart_clock();
        let mut stream = connect(&link);
        round_trip(&mut stream);
        let ended = stream.read(&mut [0; 4]);
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let after = begin.elapsed();
        let cut = Duration::from_millis(500);
        assert!(after >= cut && after < cut + SLACK, "{after:?}");
        let mut early = connect(&link);
        // On a machine that was too slow to connect during the cut, this tells nothing.
        let is_early = begin.elapsed() < Duration::from_millis(1200);
        let refused = early.write_all(b"ping").and_then(|()| early.read_exact(&mut [0; 4]));
        assert!(refused.is_err() || !is_early, "a connection was open in the cut");
        thread::sleep(Duration::from_millis(1550).saturating_sub(begin.elapsed()));
        round_trip(&mut connect(&link));
    }
}

#[test]
fn a_dropped_link_closes_its_connections_and_ends_its_threads() {
    let mut streams = Vec::new();
    let link = Link::start(echo(), shape(10.0, 10.0, 50.0)).unwrap();
    for _ in 0..4 {
        let mut stream = connect(&link);
        round_trip(&mut stream);
        // Some bytes are under way when it goes.
        stream.write_all(&[1; 10_000]).unwrap();
        streams.push(stream);
    }
    let address = link.address();
    let begin = Instant::now();
    // Dropping joins all threads.
    drop(link);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    for mut stream in streams {
        assert!(stream.read_to_end(&mut Vec::new()).is_ok_and(|count| count < 10_000 * 4));
    }
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_is_away_closes_the_connection() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let link = Link::start(nobody, shape(10.0, 10.0, 10.0)).unwrap();
    let ended = connect(&link).read(&mut [0; 1]);
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Whatever the network and however it is written, what comes back is what was sent.
    #[test]
    fn bytes_arrive_whole_and_in_order(
        (up, down) in (2.0..300.0_f64, 2.0..300.0_f64),
        rtt_ms in 0.0..30.0_f64,
        writes in prop::collection::vec(1_usize..20_000, 1..12),
        outage in prop::bool::ANY,
    ) {
        let states = [(0.0, State::Open), (15.0, State::Outage), (60.0, State::Open)];
        let states = if outage { &states[..] } else { &states[..1] };
        let link = Link::start(echo(), trace(shape(up, down, rtt_ms), states)).unwrap();
        let message: Vec<u8> = (0..writes.iter().sum()).map(|index: usize| ((index * 31) >> 3) as u8).collect();
        let mut stream = connect(&link);
        let (mut sender, sent) = (stream.try_clone().unwrap(), message.clone());
        let writer = thread::spawn(move || {
            let mut rest = &sent[..];
            for length in writes {
                let (now, later) = rest.split_at(length);
                sender.write_all(now).unwrap();
                rest = later;
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        writer.join().unwrap();
        prop_assert!(heard == message, "{} bytes of {}", heard.len(), message.len());
    }
}
