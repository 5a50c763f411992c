//! Compiles the standard plugins and writes the table that embeds them.

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

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    let packages: Vec<String> = STANDARD.iter().map(|it| format!("drover-plugin-{it}")).collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let components = compile::components(&packages, &[])?;
    let mut table = String::from("pub const STANDARD: &[(&str, &[u8])] = &[\n");
    for (name, path) in STANDARD.iter().zip(&components) {
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table.push_str("];\n");
    let out = env::var("OUT_DIR").map_err(|it| it.to_string())?;
    fs::write(Path::new(&out).join("standard.rs"), table).map_err(|it| it.to_string())
}
