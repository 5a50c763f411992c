//! Compiles plugins to components from a build script: `#[path = "../plugins/compile.rs"] mod compile;`.
//!
//! All packages in one nested cargo, in a target directory of its own: the outer cargo holds the lock of the
//! usual one. Used by `host/build.rs`, which embeds the standard plugins, and by the crate of the tests.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What plugins are compiled to.
const TARGET: &str = "wasm32-wasip2";

/// Compiles these packages of the workspace with the profile `plugin`; gives each one's `.wasm`, in this order.
///
/// Besides the folders of the SDK and the standard plugins, a change under `watched` (relative to the root of
/// the workspace) compiles again. Errors: what failed and what to do about it, for the build script to panic with.
pub fn components(packages: &[&str], watched: &[&str]) -> Result<Vec<PathBuf>, String> {
    let root = workspace_root()?;
    for path in
        ["guest-sdk", "plugins", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].iter().chain(watched)
    {
        // A folder stands for all that is in it; what is missing would compile again at each build.
        if root.join(path).exists() {
            println!("cargo:rerun-if-changed={}", root.join(path).display());
        }
    }
    println!("cargo:rerun-if-env-changed=RUSTUP_TOOLCHAIN");
    make_sure_of_target(&root)?;
    let target_dir = PathBuf::from(variable("OUT_DIR")?).join("plugins");
    let mut cargo = outside_of_cargo(variable("CARGO")?, &root);
    cargo.args(["build", "--profile", "plugin", "--target", TARGET, "--target-dir"]).arg(&target_dir);
    if root.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    for package in packages {
        cargo.args(["-p", package]);
    }
    let output = cargo.output().map_err(|error| format!("cannot run {cargo:?}: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("plugins do not compile ({}): {cargo:?}\n{said}", output.status));
    }
    let folder = target_dir.join(TARGET).join("plugin");
    let files = packages.iter().map(|package| folder.join(package.replace('-', "_") + ".wasm"));
    files
        .map(|file| if file.exists() { Ok(file) } else { Err(format!("{} was not made", file.display())) })
        .collect()
}

/// The folder above the building crate whose Cargo.toml has the workspace.
fn workspace_root() -> Result<PathBuf, String> {
    let crate_root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = crate_root.ancestors().find(|folder| folder.join("guest-sdk/wit").is_dir());
    root.map(Path::to_path_buf)
        .ok_or_else(|| format!("no folder above {} has guest-sdk/wit", crate_root.display()))
}

/// Installs the target's standard library where it is missing. `rust-toolchain.toml` lists it, but rustup
/// installs what is listed there only with the toolchain itself, and not at all with RUSTUP_AUTO_INSTALL=0.
fn make_sure_of_target(root: &Path) -> Result<(), String> {
    if has_target(root)? {
        return Ok(());
    }
    let by_hand = format!("install it by `rustup target add {TARGET}`, run in {}", root.display());
    let mut rustup = outside_of_cargo("rustup".to_string(), root);
    rustup.args(["target", "add", TARGET]);
    match rustup.output() {
        Err(error) => {
            Err(format!("plugins need Rust's {TARGET} target; there is no rustup ({error}): {by_hand}"))
        }
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!(
                "plugins need Rust's {TARGET} target, and rustup could not install it; {by_hand}\n{said}"
            ))
        }
        Ok(_) if has_target(root)? => Ok(()),
        Ok(_) => {
            Err(format!("plugins need Rust's {TARGET} target, and this rustc is not rustup's; {by_hand}"))
        }
    }
}

fn has_target(root: &Path) -> Result<bool, String> {
    let mut rustc = outside_of_cargo(variable("RUSTC")?, root);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc.output().map_err(|error| format!("cannot run {rustc:?}: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout);
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}

/// A command without what the outer cargo set for this build script: flags, wrappers (clippy is one), profile and
/// target of the host are not the plugins'. What finds registries, toolchains and free job slots stays.
fn outside_of_cargo(program: String, root: &Path) -> Command {
    const STAYS: &[&str] = &[
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const GOES: &[&str] =
        &["CARGO", "DEP_", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOCFLAGS"];
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let is_of = |list: &[&str]| list.iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
        if is_of(GOES) && !is_of(STAYS) {
            command.env_remove(name);
        }
    }
    for name in ["TARGET", "HOST", "OPT_LEVEL", "DEBUG", "PROFILE", "NUM_JOBS", "OUT_DIR"] {
        command.env_remove(name);
    }
    command
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: this runs in build scripts only"))
}
