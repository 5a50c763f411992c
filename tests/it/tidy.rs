//! The house rules that a machine can check. A failure names the file and the rule.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which module of the host may import which, from the ground up.
/// A module may always import itself. What stands on the roof may import all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    // Ground floor: pure nouns and decisions, how they look as text and bytes, and what the rest tells time and
    // stops by.
    ("clock", &[]),
    ("failpoint", &[]),
    ("domain", &[]),
    ("wire", &["domain"]),
    ("yaml", &["domain"]),
    ("metrics", &["domain"]),
    // First floor: one module for each thing outside the process.
    ("kafka", &["clock", "domain", "metrics"]),
    ("plugin", &["clock", "domain", "metrics"]),
    ("upstream", &["clock", "domain", "metrics"]),
    ("store", &["clock", "domain", "metrics"]),
    ("web", &["clock", "domain", "metrics"]),
    // Second floor: the data plane, last stage first, and the control plane.
    ("outbox", &["clock", "domain", "metrics", "wire", "kafka"]),
    ("shard", &["clock", "failpoint", "domain", "metrics", "wire", "plugin", "upstream", "outbox"]),
    ("intake", &["clock", "failpoint", "domain", "metrics", "kafka", "outbox", "shard"]),
    ("dlq", &["clock", "domain", "metrics", "wire", "kafka", "outbox"]),
    ("pending", &["clock", "failpoint", "domain", "metrics", "wire", "kafka", "upstream", "outbox"]),
    (
        "control",
        &[
            "clock",
            "failpoint",
            "domain",
            "metrics",
            "wire",
            "yaml",
            "kafka",
            "plugin",
            "upstream",
            "store",
            "outbox",
            "shard",
            "intake",
            "pending",
        ],
    ),
    // Third floor: the doors.
    ("gateway", &["clock", "domain", "metrics", "wire", "web", "upstream", "outbox", "pending"]),
    ("admin", &["clock", "domain", "metrics", "web", "dlq", "control"]),
];

const ROOF: &[&str] = &["lib", "main", "app", "config", "telemetry", "cli", "bench", "import"];

/// Every floor but the ground may wait and may log.
const ABOVE_GROUND: &[&str] = &[
    "kafka", "plugin", "upstream", "store", "web", "outbox", "shard", "intake", "dlq", "pending", "control",
    "gateway", "admin",
];

/// Which module alone may name which crate. The roof may name all.
const HOME_OF: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("rdkafka_sys", &["kafka"]),
    ("wasmtime", &["plugin"]),
    ("drover_guest", &["plugin"]),
    ("drover_plugin_forward", &["plugin"]),
    ("drover_plugin_json_rpc_errno", &["plugin"]),
    ("drover_plugin_least_loaded", &["plugin"]),
    ("drover_plugin_random", &["plugin"]),
    ("drover_plugin_round_robin", &["plugin"]),
    ("drover_plugin_weighted", &["plugin"]),
    ("hyper", &["upstream", "web"]),
    ("hyper_util", &["upstream", "web"]),
    ("rustls", &["upstream", "web"]),
    ("axum", &["web", "gateway", "admin"]),
    ("serde_yaml", &["yaml"]),
    ("prometheus_client", &["metrics"]),
    ("drover_broker", &[]),
    ("anyhow", &[]),
    ("tokio", ABOVE_GROUND),
    ("tracing", ABOVE_GROUND),
];

/// What nobody writes, where it may stand all the same, and what to write instead.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("tokio::spawn(", &["bench"], "a task is waited for: keep its handle, or spawn it on a runtime that is"),
    ("std::process::exit", &["cli", "bench"], "only the command line ends the process"),
    ("process::abort", &[], "an error is a value, a bug is a panic"),
];

const LINES_MAX: usize = 500;
/// Files that were over the limit when the rule came. This list may only shrink.
const LONG_FILES: &[&str] = &[];

#[test]
fn imports_go_down_only() {
    let mut untidy = Vec::new();
    for (path, text) in sources("host/src") {
        let here = module_of(&path);
        let may_import = match MAY_IMPORT.iter().find(|(module, _)| *module == here) {
            Some((_, may_import)) => *may_import,
            None if ROOF.contains(&here.as_str()) => continue,
            None => {
                untidy.push(format!("{}: `{here}` has no floor yet", path.display()));
                continue;
            }
        };
        for there in paths_after(&text, "crate::") {
            if there.is_empty() {
                untidy.push(format!("{}: write one `use crate::` a line", path.display()));
            } else if there != here && !may_import.contains(&there.as_str()) {
                untidy.push(format!("{}: `{here}` imports `{there}`", path.display()));
            }
        }
        if text.contains("super::super::") {
            untidy.push(format!("{}: write `crate::` for `super::super::`", path.display()));
        }
    }
    assert!(untidy.is_empty(), "imports that go up or sideways:\n{}", untidy.join("\n"));
}

#[test]
fn the_floors_have_no_cycle() {
    let mut built = BTreeSet::new();
    for (module, may_import) in MAY_IMPORT {
        // Reading the table from the top, each module stands on what is already built.
        for below in *may_import {
            assert!(built.contains(below), "`{module}` stands on `{below}`, which comes later");
        }
        built.insert(*module);
    }
}

#[test]
fn each_crate_stays_at_home() {
    let mut untidy = Vec::new();
    for (path, text) in sources("host/src") {
        let here = module_of(&path);
        if ROOF.contains(&here.as_str()) {
            continue;
        }
        for (name, homes) in HOME_OF {
            let code = before_tests(&text);
            let named = code.lines().map(str::trim_start).any(|it| !it.starts_with("//") && names(it, name));
            if named && !homes.contains(&here.as_str()) {
                untidy.push(format!("{}: `{name}` lives in {homes:?}", path.display()));
            }
        }
    }
    assert!(untidy.is_empty(), "crates away from home:\n{}", untidy.join("\n"));
}

#[test]
fn nobody_writes_what_is_banned() {
    let mut untidy = Vec::new();
    for (path, text) in sources("host/src") {
        let here = module_of(&path);
        for (banned, homes, instead) in BANNED {
            let code = before_tests(&text).lines().filter(|it| !it.trim_start().starts_with("//"));
            if code.into_iter().any(|it| it.contains(banned)) && !homes.contains(&here.as_str()) {
                untidy.push(format!("{}: `{banned}`: {instead}", path.display()));
            }
        }
    }
    assert!(untidy.is_empty(), "banned:\n{}", untidy.join("\n"));
}

/// For every crate of the workspace, the tests too.
#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut untidy = Vec::new();
    let mut long = BTreeSet::new();
    for root in ["host", "broker", "guest-sdk", "plugins", "tests"] {
        for (path, text) in sources(root) {
            if LINES_MAX < text.lines().count() {
                long.insert(format!("{root}/{}", path.display()));
            }
            let first = text.lines().find(|it| !it.trim().is_empty()).unwrap_or_default();
            // What is generated says who made it.
            if !first.starts_with("//! ") && !first.contains("enerated by") && !first.contains("@generated") {
                untidy.push(format!("{root}/{}: the first line has to be a `//!` line", path.display()));
            }
        }
    }
    for path in sources("host/src").keys().filter(|it| 2 < it.components().count()) {
        untidy.push(format!("{}: folders are one level deep", path.display()));
    }
    let known: BTreeSet<String> = LONG_FILES.iter().map(|it| (*it).to_string()).collect();
    for path in long.symmetric_difference(&known) {
        untidy.push(format!("{path}: over {LINES_MAX} lines, or no longer (then strike it off)"));
    }
    assert!(untidy.is_empty(), "untidy files:\n{}", untidy.join("\n"));
}

/// Every Rust file below a folder of the workspace, by its path there.
pub fn sources(folder: &str) -> BTreeMap<PathBuf, String> {
    let root = workspace().join(folder);
    let mut res = BTreeMap::new();
    let mut todo = vec![root.clone()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                todo.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                res.insert(path.strip_prefix(&root).unwrap().to_path_buf(), text);
            }
        }
    }
    assert!(!res.is_empty(), "{folder} has no sources");
    res
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file's own tests may stand on more than its floor.
fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// `shard/handle.rs` and `shard.rs` are both of the module `shard`.
fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_string()
}

/// The first path segment after each `prefix` in the text, comments left out.
fn paths_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut res = BTreeSet::new();
    for line in before_tests(text).lines().filter(|it| !it.trim_start().starts_with("//")) {
        for tail in line.split(prefix).skip(1) {
            let end = tail.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tail.len());
            res.insert(tail[..end].to_string());
        }
    }
    res
}

/// Whether the line names a crate: `name::`, or `use name;`.
fn names(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
        || line == format!("use {name};")
}
