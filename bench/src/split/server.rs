//! The cloud's half: waits for hidden values, runs the last layers, says which token follows.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use msao_models::{Assistant, LastLayers, ModelError};
use pollster::block_on;

use super::wire::{self, FromCloud, FromEdge, WireError};

/// Edges at a time; more are turned away.
const MOST_EDGES: usize = 64;
/// An edge that says nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(600);

/// A running server; takes no further edges once dropped. Those that are connected stay until they leave.
pub(crate) struct SplitServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl SplitServer {
    /// Serves `target` at `listen`; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address is taken or this machine gives no thread.
    pub(crate) fn start(target: Assistant, listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let accepting = thread::Builder::new().spawn(move || accept(&listener, &target, &seen))?;
        Ok(Self { address, is_over, accepting: Some(accepting) })
    }

    /// Where edges connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process ends.
    pub(crate) fn serve(mut self) {
        if let Some(accepting) = self.accepting.take() {
            // A thread that panicked has ended as well.
            let _ = accepting.join();
        }
    }
}

impl Drop for SplitServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // A visitor wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, target: &Assistant, is_over: &AtomicBool) {
    let edges = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        // An edge that gave up before it was accepted.
        let Ok(mut stream) = stream else { continue };
        if edges.load(Ordering::SeqCst) >= MOST_EDGES {
            let reason = format!("{MOST_EDGES} edges are connected, which is the most; come back later");
            // One that is turned away may have left already.
            let _ = wire::send(&mut stream, &FromCloud::Refused { reason });
            continue;
        }
        edges.fetch_add(1, Ordering::SeqCst);
        let (target, edges) = (target.clone(), Arc::clone(&edges));
        thread::spawn(move || {
            if let Err(error) = serve(&mut stream, &target) {
                eprintln!("split-server: an edge was left: {error}");
            }
            edges.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// One edge, until it leaves.
fn serve(stream: &mut TcpStream, target: &Assistant) -> Result<(), WireError> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE))?;
    let budget = wire::up_budget_bytes(target.config());
    let mut answer = None;
    while let Some((message, _)) = wire::receive(stream, budget)? {
        let start = Instant::now();
        let reply = match step(target, &mut answer, message) {
            Ok(id) => {
                let compute_us = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
                FromCloud::Token { id, compute_us }
            }
            Err(error) => FromCloud::Refused { reason: error.to_string() },
        };
        wire::send(stream, &reply)?;
    }
    Ok(())
}

fn step(target: &Assistant, answer: &mut Option<LastLayers>, message: FromEdge) -> Result<u32, ModelError> {
    let (half, rows) = match message {
        FromEdge::Prompt { layers, positions, rows } => {
            let half = LastLayers::new(target, layers.into(), positions as usize)?;
            (answer.insert(half), rows)
        }
        FromEdge::Row(rows) => match answer {
            Some(half) => (half, rows),
            None => {
                let reason = "a row came before any prompt; send the prompt first".to_owned();
                return Err(ModelError::Prompt { reason });
            }
        },
    };
    block_on(half.next(rows.values()))
}
