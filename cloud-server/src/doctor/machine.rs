//! What the machine gives: an address to listen on, files to open.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::{Finding, Verdict};

/// Open files beside those of sessions: the program's own, pages and weights being fetched, callers of the API.
const OTHER_FILES: u64 = 256;

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

#[cfg(target_os = "linux")]
fn limit_of_open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn limit_of_open_files() -> Option<u64> {
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
    fn a_limit_of_files_is_known_here() {
        assert!(limit_of_open_files().is_some());
    }
}
