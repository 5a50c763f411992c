//! The configuration that drover is measured with: the defaults, but for what a bare loop does not have.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::bare::Bare;

mod component {
    include!(concat!(env!("OUT_DIR"), "/bench_drop.rs"));
}

/// What differs from one measurement to another.
#[derive(Clone, Debug)]
pub struct Setting {
    pub shards: u32,
    /// The handler's name; `forward` is the standard one, any other one is the component that drops.
    pub handler: String,
    /// Address of the operators' door.
    pub admin: Option<String>,
}

/// Writes it into `folder`; gives the path of the main file.
pub fn write(folder: &Path, bare: &Bare, setting: &Setting) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder.join("apps")).with_context(|| format!("making {}", folder.display()))?;
    let Setting { shards, handler, admin } = setting;
    let mut plugins = "[]".to_owned();
    if handler != "forward" {
        fs::write(folder.join("drop.wasm"), component::DROP)?;
        plugins = format!("[{{name: {handler}, file: drop.wasm}}]");
    }
    let admin = admin.as_deref().unwrap_or("~");
    let Bare { brokers, topic, group, sink, .. } = bare;
    let brokers: Vec<&str> = brokers.split(',').collect();
    let main = format!(
        "kafka: {{brokers: {brokers:?}}}\n\
         groups: [{{name: {group:?}, topics: [{topic:?}], format: raw, order: key}}]\n\
         plugins: {plugins}\n\
         shards: {shards}\n\
         gateway: {{listen: ~}}\n\
         admin: {{listen: {admin}}}\n"
    );
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
