//! Compiles the handler that is uploaded during a storm and says where it lies.

#[path = "../../plugins/compile.rs"]
mod compile;

fn main() -> Result<(), String> {
    println!("cargo:rerun-if-changed=build.rs");
    for path in compile::components(&["drover-plugin-forward"], &[])? {
        println!("cargo:rustc-env=HANDLER={}", path.display());
    }
    Ok(())
}
