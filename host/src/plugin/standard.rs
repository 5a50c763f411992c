//! The standard plugins, compiled to components by the build and embedded.

include!(concat!(env!("OUT_DIR"), "/standard.rs"));

/// The component of a standard plugin.
pub fn component(name: &str) -> Option<&'static [u8]> {
    STANDARD.iter().find(|it| it.0 == name).map(|it| it.1)
}
