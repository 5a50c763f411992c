//! Compiles the faulty plugins of the tests and says where they lie.

#[path = "../plugins/compile.rs"]
mod compile;

/// Folders of `guests/`; a package is called `drover-test-<name>`.
const GUESTS: &[&str] = &["echo", "faulty", "faulty-selector"];

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    let packages: Vec<String> = GUESTS.iter().map(|it| format!("drover-test-{it}")).collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    for (name, path) in GUESTS.iter().zip(compile::components(&packages, &["tests/guests"])?) {
        let name = name.to_uppercase().replace('-', "_");
        println!("cargo:rustc-env=GUEST_{name}={}", path.display());
    }
    Ok(())
}
