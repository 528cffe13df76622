//! How much memory programs may still take: what the machine has left, or less where a control group limits this one.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;

/// A limit from here on is none: version 1 of control groups writes the largest number of pages there.
#[cfg(target_os = "linux")]
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// Bytes that this program may still take; `None` where nothing is known.
#[cfg(target_os = "linux")]
pub(crate) fn available_bytes() -> Option<u64> {
    let group =
        group_bytes(Path::new("/sys/fs/cgroup"), &read(Path::new("/proc/self/cgroup")).unwrap_or_default());
    [machine_bytes(), group].into_iter().flatten().min()
}

/// Bytes that this program may still take; nothing is known here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn available_bytes() -> Option<u64> {
    None
}

#[cfg(target_os = "linux")]
fn machine_bytes() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// What is left of the tightest limit of a process's groups. `groups` is its `/proc/self/cgroup`, `root` where they are mounted; within
/// a container the path that it names may lie outside of what is mounted, and then the root is the group.
#[cfg(target_os = "linux")]
fn group_bytes(root: &Path, groups: &str) -> Option<u64> {
    let path_of = |is_it: &dyn Fn(&str) -> bool| {
        let fields =
            groups.lines().filter_map(|line| line.splitn(3, ':').collect::<Vec<_>>().try_into().ok());
        fields
            .into_iter()
            .find_map(|[_, controllers, path]: [&str; 3]| is_it(controllers).then(|| path.to_owned()))
    };
    let second = path_of(&str::is_empty)
        .and_then(|path| tightest(root, &path, ["memory.max", "memory.current"], "inactive_file"));
    let first =
        path_of(&|controllers| controllers.split(',').any(|name| name == "memory")).and_then(|path| {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes"];
            tightest(&root.join("memory"), &path, names, "total_inactive_file")
        });
    [second, first].into_iter().flatten().min()
}

/// What the group and those above it leave.
#[cfg(target_os = "linux")]
fn tightest(root: &Path, path: &str, [limit, usage]: [&str; 2], cached: &str) -> Option<u64> {
    let own = root.join(path.trim_start_matches('/'));
    let groups = own.ancestors().take_while(|folder| folder.starts_with(root));
    let left = |folder: &Path| {
        let number = |name: &str| read(&folder.join(name))?.trim().parse::<u64>().ok();
        let limit = number(limit).filter(|limit| *limit < NO_LIMIT_BYTES)?;
        // Pages of files that nobody has used lately are given up before anything is refused.
        let statistics = read(&folder.join("memory.stat")).unwrap_or_default();
        let given_up = statistics.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse().ok());
        let used = number(usage).unwrap_or(0).saturating_sub(given_up.unwrap_or(0));
        Some(limit.saturating_sub(used))
    };
    groups.filter_map(left).min()
}

#[cfg(target_os = "linux")]
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn written(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("files lie in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }

    #[test]
    fn the_tightest_limit_above_counts_less_what_is_used() {
        let folder = tempfile::tempdir().unwrap();
        written(
            folder.path(),
            &[
                ("a/b/memory.max", "max\n"),
                ("a/memory.max", "1000\n"),
                ("a/memory.current", "700\n"),
                ("a/memory.stat", "anon 5\ninactive_file 200\n"),
            ],
        );
        assert_eq!(group_bytes(folder.path(), "0::/a/b\n"), Some(500));
        assert_eq!(group_bytes(folder.path(), "0::/elsewhere\n"), None);
        assert_eq!(group_bytes(folder.path(), ""), None);
    }

    #[test]
    fn a_container_s_own_group_stands_at_the_root() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &[("memory.max", "4096"), ("memory.current", "96")]);
        assert_eq!(group_bytes(folder.path(), "0::/system.slice/docker-1.scope\n"), Some(4000));
    }

    #[test]
    fn groups_of_the_first_version_count_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let groups = "5:cpu,cpuacct:/x\n4:memory:/me\n0::/\n";
        written(
            folder.path(),
            &[
                ("memory/memory.limit_in_bytes", "9223372036854771712"),
                ("memory/me/memory.limit_in_bytes", "2000"),
                ("memory/me/memory.usage_in_bytes", "1500"),
            ],
        );
        assert_eq!(group_bytes(folder.path(), groups), Some(500));
    }

    #[test]
    fn something_is_known_here() {
        assert!(available_bytes().is_some_and(|bytes| bytes > 0));
    }
}
