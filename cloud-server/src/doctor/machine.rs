//! What the machine gives: an address to listen on, files to open, memory.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::{Finding, Verdict};

/// Open files beside those of sessions: the program's own, pages and weights being fetched, callers of the API.
const OTHER_FILES: u64 = 256;
/// Memory for each byte of weights in 16 bits: the file, and the weights as the model computes with them.
const MEMORY_PER_WEIGHT_BYTE: u64 = 3;

/// Whether the address can be listened on.
pub(super) fn address(listen: SocketAddr) -> Finding {
    let bad = |says: String| Finding::new("address", Verdict::Bad, says);
    match TcpListener::bind(listen) {
        Ok(_listener) => Finding::new("address", Verdict::Good, format!("{listen} is free")),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => bad(format!(
                "{listen} is in use, by this server or another program: stop it, or choose another port with --listen"
            )),
            ErrorKind::PermissionDenied => bad(format!(
                "{listen} is not for this user: choose a port from 1024 on with --listen, or allow the program low \
                 ports (AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit)"
            )),
            ErrorKind::AddrNotAvailable => bad(format!(
                "{} is no address of this machine: choose one that is with --listen, or 0.0.0.0 for all",
                listen.ip()
            )),
            _ => bad(format!("cannot listen on {listen}: {error}; choose another address with --listen")),
        },
    }
}

/// Whether as many sessions as are allowed can be open at a time.
pub(super) fn open_files(max_sessions: u16) -> Finding {
    let needed = u64::from(max_sessions) + OTHER_FILES;
    match limit_of_open_files() {
        None => Finding::new("open files", Verdict::Good, "no limit is known here"),
        Some(limit) if limit >= needed => {
            Finding::new("open files", Verdict::Good, format!("{limit} allowed, {needed} needed at most"))
        }
        Some(limit) => {
            let says = format!(
                "{limit} allowed, {needed} needed for {max_sessions} sessions: raise the limit (ulimit -n, LimitNOFILE=) \
                 or lower --max-sessions"
            );
            Finding::new("open files", Verdict::Doubtful, says)
        }
    }
}

/// Whether the weights fit into memory; `None` where nothing is known.
pub(super) fn memory(weight_bytes: u64) -> Option<Finding> {
    let available = available_memory_bytes().filter(|_| weight_bytes > 0)?;
    let needed = weight_bytes.saturating_mul(MEMORY_PER_WEIGHT_BYTE);
    let figures =
        format!("{} MB available, about {} MB needed for the weights", available >> 20, needed >> 20);
    Some(if available >= needed {
        Finding::new("memory", Verdict::Good, figures)
    } else {
        Finding::new("memory", Verdict::Doubtful, format!("{figures}: free some, or take a smaller --model"))
    })
}

#[cfg(target_os = "linux")]
fn limit_of_open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes that programs may still take; `None` where nothing is known.
#[cfg(target_os = "linux")]
pub(crate) fn available_memory_bytes() -> Option<u64> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(not(target_os = "linux"))]
fn limit_of_open_files() -> Option<u64> {
    None
}

/// Bytes that programs may still take; nothing is known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn available_memory_bytes() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_or_foreign_address_is_bad_and_says_the_remedy() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        for listen in [taken.local_addr().unwrap(), ([192, 0, 2, 1], 80).into()] {
            let finding = address(listen);
            assert_eq!(finding.verdict, Verdict::Bad);
            assert!(finding.says.contains("--listen"), "{finding}");
        }
        assert_eq!(address(([127, 0, 0, 1], 0).into()).verdict, Verdict::Good);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_and_files_are_known_here() {
        assert_eq!(memory(1).unwrap().verdict, Verdict::Good);
        assert_eq!(memory(u64::MAX).unwrap().verdict, Verdict::Doubtful);
        assert!(limit_of_open_files().is_some());
    }
}
