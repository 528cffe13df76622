//! A TCP proxy that does what bad networks do, to the byte: each connection through it has its own fault.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection ends, both ways, once so many bytes have passed.
    CutAfter(u64),
    /// Nothing passes any more once so many bytes have, and nobody is told, until the proxy is thawed.
    FreezeAfter(u64),
    /// At most so many bytes pass at a time, and so late each time.
    Dribble(u64, Duration),
}

/// The faults of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Of what the client sends.
    pub(crate) up: Fault,
    /// Of what the server sends.
    pub(crate) down: Fault,
}

/// A proxy in front of a server, as long as it lives.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    to: SocketAddr,
    /// Of the next connections; those behind have none.
    faults: Mutex<VecDeque<Faults>>,
    thawed: watch::Sender<bool>,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
}

impl FaultProxy {
    pub(crate) async fn start(to: SocketAddr, faults: impl IntoIterator<Item = Faults>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            faults: Mutex::new(faults.into_iter().collect()),
            thawed: watch::Sender::new(false),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// Lets frozen bytes go on.
    pub(crate) fn thaw(&self) {
        self.shared.thawed.send_replace(true);
    }

    /// Bytes that have passed, up and down.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.shared.up_bytes.load(Ordering::Relaxed), self.shared.down_bytes.load(Ordering::Relaxed))
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let faults = shared.faults.lock().unwrap().pop_front().unwrap_or_default();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(shared.to).await else { return };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (client_reads, client_writes) = client.into_split();
            let (server_reads, server_writes) = server.into_split();
            // Whichever way ends first takes the other with it, as a cut does.
            tokio::select! {
                () = pass(client_reads, server_writes, faults.up, &shared, &shared.up_bytes) => {}
                () = pass(server_reads, client_writes, faults.down, &shared, &shared.down_bytes) => {}
            }
        });
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Fault,
    shared: &Shared,
    passed: &AtomicU64,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut so_far = 0;
    loop {
        let (most, late) = match fault {
            Fault::CutAfter(bytes) if so_far == bytes => return,
            Fault::FreezeAfter(bytes) if so_far == bytes => {
                let _ = shared.thawed.subscribe().wait_for(|thawed| *thawed).await;
                (u64::MAX, None)
            }
            Fault::CutAfter(bytes) => (bytes - so_far, None),
            Fault::FreezeAfter(bytes) => (bytes.checked_sub(so_far).unwrap_or(u64::MAX), None),
            Fault::Dribble(most, late) => (most, Some(late)),
            Fault::None => (u64::MAX, None),
        };
        let room = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let Ok(read @ 1..) = from.read(&mut buffer[..room]).await else { return };
        if let Some(late) = late {
            tokio::time::sleep(late).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        so_far += read as u64;
        passed.fetch_add(read as u64, Ordering::Relaxed);
    }
}
