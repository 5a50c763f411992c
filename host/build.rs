//! Compiles the standard plugins, and the one of `drover bench`, and writes the tables that embed them.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

#[path = "../plugins/compile.rs"]
mod compile;

/// Folders of `plugins/`; a package is called `drover-plugin-<name>`.
const STANDARD: &[&str] = &[
    "forward",
    "json-rpc-errno",
    "cloudevents",
    "webhook",
    "reshape",
    "round-robin",
    "weighted",
    "random",
    "least-loaded",
    "consistent-hash",
];

/// The handler of the row "drop all"; a component like any other, since what it costs is what is measured.
const BENCH_DROP: &str = "drover-bench-drop";

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    let packages: Vec<String> = STANDARD.iter().map(|it| format!("drover-plugin-{it}")).collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).chain([BENCH_DROP]).collect();
    let components = compile::components(&packages, &["bench/guests"])?;
    let mut table = String::from("pub const STANDARD: &[(&str, &[u8])] = &[\n");
    for (name, path) in STANDARD.iter().zip(&components) {
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table.push_str("];\n");
    let drop = components.last().ok_or("no component for the bench")?;
    write("bench_drop.rs", &format!("pub const DROP: &[u8] = include_bytes!({drop:?});\n"))?;
    write("standard.rs", &table)
}

fn write(name: &str, text: &str) -> Result<(), String> {
    let out = env::var("OUT_DIR").map_err(|it| it.to_string())?;
    fs::write(Path::new(&out).join(name), text).map_err(|it| it.to_string())
}
