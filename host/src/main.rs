//! The `drover` binary.

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let path = std::env::args().nth(1).unwrap_or_else(|| "config/drover.yaml".to_owned());
    drover::cli::run::run(std::path::Path::new(&path))
}
