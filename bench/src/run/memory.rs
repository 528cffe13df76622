//! Peak memory of this process and of those it has started, as Linux tells it.

use std::{collections::HashMap, fs, path::Path};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    peak_bytes: Option<u64>,
}

/// The most memory this process has had at a time; `None` where the system does not tell.
pub(super) fn own_peak_bytes() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)?.peak_bytes
}

/// The same of a program of that name below this process.
pub(crate) fn child_peak_bytes(name: &str) -> Option<u64> {
    let own = std::process::id();
    let all = processes(Path::new("/proc"));
    let descends = |mut id: u32| {
        // A chain of parents is short, and one that changes meanwhile must not be followed for ever.
        for _ in 0..64 {
            match all.get(&id) {
                Some(process) if process.parent == own => return true,
                Some(process) => id = process.parent,
                None => return false,
            }
        }
        false
    };
    let named = all.iter().filter(|(id, process)| process.name == name && descends(**id));
    named.filter_map(|(_, process)| process.peak_bytes).max()
}

fn processes(folder: &Path) -> HashMap<u32, Process> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        Some((id, parse(&fs::read_to_string(entry.path().join("status")).ok()?)?))
    };
    entries.filter_map(process).collect()
}

/// What `/proc/<id>/status` says.
fn parse(status: &str) -> Option<Process> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    };
    let kib = field("VmHWM").and_then(|value| value.strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Some(Process {
        name: field("Name")?,
        parent: field("PPid")?.parse().ok()?,
        peak_bytes: kib.map(|kib| kib << 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tmsao-server\nUmask:\t0022\nPPid:\t41\nVmPeak:\t  99 kB\nVmHWM:\t   7 kB\n";
        let expected = Process { name: "msao-server".to_owned(), parent: 41, peak_bytes: Some(7 << 10) };
        assert_eq!(parse(status), Some(expected));
        assert_eq!(parse("Name:\tkthread\nPPid:\t2\n").unwrap().peak_bytes, None);
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_is_found_by_its_name() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let found = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            child_peak_bytes("sleep")
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_some_and(|bytes| bytes > 0));
        assert!(own_peak_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(child_peak_bytes("no such program"), None);
    }
}
