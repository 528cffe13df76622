//! The link itself: a listening socket, and a bottleneck for each direction.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use super::{
    clock::{Clock, Woken},
    connection::{Connection, STACK_BYTES},
    error::LinkError,
    pipe::Pipe,
    shape::Way,
    trace::Trace,
};

/// Connections at a time; each has four threads. More are closed at once.
const MOST_CONNECTIONS: usize = 1024;

/// An emulated network in front of a server, as long as it lives.
pub(crate) struct Link {
    address: SocketAddr,
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

struct Core {
    to: SocketAddr,
    clock: Arc<Clock>,
    up: Pipe,
    down: Pipe,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last_id: u64,
    connections: HashMap<u64, Arc<Connection>>,
    threads: Vec<JoinHandle<()>>,
}

impl Link {
    /// Puts a network, a [`Shape`](super::shape::Shape) or a [`Trace`], in front of the server at `to`.
    ///
    /// # Errors
    /// If it cannot be emulated, or this machine gives no port or thread.
    pub(crate) fn start(to: SocketAddr, network: impl Into<Trace>) -> Result<Self, LinkError> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), to, network)
    }

    /// As [`Self::start`], at an address of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::start`]; also if the address is taken.
    pub(crate) fn start_on(
        listen: SocketAddr,
        to: SocketAddr,
        network: impl Into<Trace>,
    ) -> Result<Self, LinkError> {
        let trace = network.into();
        trace.check()?;
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let clock = Arc::new(Clock::new(trace));
        let pipe = |way| Pipe::new(way, Arc::clone(&clock));
        let (up, down) = (pipe(Way::Up), pipe(Way::Down));
        let core = Arc::new(Core { to, clock, up, down, open: Mutex::default() });
        // From here on dropping it ends what has been started.
        let mut link = Self { address, core, threads: Vec::new() };
        link.spawn(|core| core.up.run())?;
        link.spawn(|core| core.down.run())?;
        link.spawn(|core| core.watch())?;
        link.spawn(move |core| core.accept(&listener))?;
        Ok(link)
    }

    fn spawn(&mut self, work: impl FnOnce(&Arc<Core>) + Send + 'static) -> Result<(), LinkError> {
        let core = Arc::clone(&self.core);
        self.threads.push(thread::Builder::new().stack_size(STACK_BYTES).spawn(move || work(&core))?);
        Ok(())
    }

    /// Where to connect instead of to the server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that have passed so far, up and down, WebSocket frames and HTTP heads included.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.core.up.passed_bytes(), self.core.down.passed_bytes())
    }

    /// Puts another network in place, from its beginning. Bytes that wait pass under it.
    ///
    /// # Errors
    /// If it cannot be emulated; then nothing changes.
    pub(crate) fn set(&self, network: impl Into<Trace>) -> Result<(), LinkError> {
        let trace = network.into();
        trace.check()?;
        self.core.begin(Some(trace));
        Ok(())
    }

    /// Lets the trace begin anew, so that every run meets the same network.
    pub(crate) fn restart_clock(&self) {
        self.core.begin(None);
    }

    /// Bytes that wait before the bottlenecks, up and down.
    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> (usize, usize) {
        (self.core.up.queued_bytes(), self.core.down.queued_bytes())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.core.clock.stop();
        self.core.close_all();
        // A visitor wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let connections = std::mem::take(&mut self.core.lock().threads);
        for thread in self.threads.drain(..).chain(connections) {
            // A thread that panicked has ended as well.
            let _ = thread.join();
        }
    }
}

impl Core {
    fn begin(&self, trace: Option<Trace>) {
        self.clock.begin(trace);
        self.up.wake();
        self.down.wake();
    }

    /// Closes connections when a cut begins.
    fn watch(&self) {
        let mut seen = (0, -1.0);
        while self.clock.wait_for_cut(&mut seen) == Woken::Cut {
            self.close_all();
        }
    }

    fn close_all(&self) {
        // Under the lock to the end: what a new connection sends is not thrown away with the old ones' bytes.
        let open = self.lock();
        for connection in open.connections.values() {
            connection.close();
        }
        self.up.clear();
        self.down.clear();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.clock.is_stopped() {
                return;
            }
            // A client that gave up before it was accepted.
            let Ok(client) = client else { continue };
            let mut open = self.lock();
            open.threads.retain(|thread| !thread.is_finished());
            if open.threads.len() >= MOST_CONNECTIONS {
                continue;
            }
            let core = Arc::clone(self);
            let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || core.serve(client));
            // Without a thread the client is dropped, and sees the connection close.
            open.threads.extend(thread);
        }
    }

    /// One connection, from its handshake to its end.
    fn serve(&self, client: TcpStream) {
        let Ok(connection) = Connection::open(client, self.to) else { return };
        let connection = Arc::new(connection);
        let mut open = self.lock();
        let Some(handshake) = self.clock.handshake().filter(|_| !self.clock.is_stopped()) else {
            return connection.close();
        };
        open.last_id += 1;
        let id = open.last_id;
        open.connections.insert(id, Arc::clone(&connection));
        drop(open);
        connection.run(handshake, &self.up, &self.down);
        self.lock().connections.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
