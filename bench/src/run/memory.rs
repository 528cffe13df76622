//! Memory of this process and of those it has started, as Linux tells it.

use std::{collections::HashMap, fs, path::Path};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    peak_bytes: Option<u64>,
    resident_bytes: Option<u64>,
}

/// The most memory this process has had at a time; `None` where the system does not tell.
pub(super) fn own_peak_bytes() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/status").ok()?)?.peak_bytes
}

/// The same of a program of that name below this process.
pub(crate) fn child_peak_bytes(name: &str) -> Option<u64> {
    children(name).iter().filter_map(|process| process.peak_bytes).max()
}

/// The memory that a program of that name below this process has now.
pub(crate) fn child_resident_bytes(name: &str) -> Option<u64> {
    children(name).iter().filter_map(|process| process.resident_bytes).max()
}

/// Programs of that name below this process.
fn children(name: &str) -> Vec<Process> {
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
    named.map(|(_, process)| process.clone()).collect()
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
    let bytes = |name: &str| {
        let kib: u64 = field(name)?.strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib << 10)
    };
    Some(Process {
        name: field("Name")?,
        parent: field("PPid")?.parse().ok()?,
        peak_bytes: bytes("VmHWM"),
        resident_bytes: bytes("VmRSS"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read() {
        let status = "Name:\tmsao-server\nUmask:\t0022\nPPid:\t41\nVmPeak:\t  99 kB\nVmHWM:\t   7 kB\nVmRSS:\t   5 kB\n";
        let expected = Process {
            name: "msao-server".to_owned(),
            parent: 41,
            peak_bytes: Some(7 << 10),
            resident_bytes: Some(5 << 10),
        };
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
            child_resident_bytes("sleep").zip(child_peak_bytes("sleep"))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_some_and(|(resident, peak)| 0 < resident && resident <= peak), "{found:?}");
        assert!(own_peak_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(child_peak_bytes("no such program"), None);
    }
}
