//! The quick comparison, as `cargo xtask bench --quick` runs it: the real server, the real edge engine, an emulated network, the
//! shipped samples. It asserts orderings, never times.

use std::process::Command;

#[test]
fn the_orderings_of_the_quick_comparison_hold() {
    let folder = std::env::temp_dir().join(format!("msao-bench-quick-{}", std::process::id()));
    let bench = env!("CARGO_BIN_EXE_msao-bench");
    let outcome = Command::new(bench)
        .args(["run", "--quick", "--out"])
        .arg(&folder)
        .output()
        .expect("the bench starts");
    let said = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{said}");
    assert!(said.contains("holds:"), "nothing was asserted: {said}");
    std::fs::remove_dir_all(&folder).expect("its journal was written");
}
