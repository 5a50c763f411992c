//! The configuration that drover is measured with: the defaults, but for what a bare loop does not have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::bare::Bare;

mod component {
    include!(concat!(env!("OUT_DIR"), "/bench_drop.rs"));
}

/// Writes it into `folder`; gives the path of the main file.
pub fn write(folder: &Path, bare: &Bare, shards: u32, drops: bool) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder.join("apps")).with_context(|| format!("making {}", folder.display()))?;
    let mut plugins = "[]".to_owned();
    if drops {
        fs::write(folder.join("drop.wasm"), component::DROP)?;
        plugins = "[{name: drop-all, file: drop.wasm}]".to_owned();
    }
    let Bare { brokers, topic, group, sink, .. } = bare;
    let main = format!(
        "kafka: {{brokers: [{brokers:?}]}}\n\
         groups: [{{name: {group:?}, topics: [{topic:?}], format: raw, order: key}}]\n\
         plugins: {plugins}\n\
         shards: {shards}\n\
         gateway: {{listen: ~}}\n\
         admin: {{listen: ~}}\n"
    );
    let handler = if drops { "drop-all" } else { "forward" };
    let app = format!(
        "name: sink\n\
         servers: [{sink:?}]\n\
         handler: {handler}\n\
         selector: round-robin\n\
         concurrency: 128\n\
         commands: [{{any: true}}]\n"
    );
    fs::write(folder.join("apps/sink.yaml"), app)?;
    let path = folder.join("drover.yaml");
    fs::write(&path, main)?;
    Ok(path)
}
