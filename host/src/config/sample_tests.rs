//! The files that are published with the program agree with it.

use std::path::{Path, PathBuf};

use super::*;
use crate::domain::plugin;
use crate::yaml::Doc;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

#[test]
fn the_sample_is_good() {
    let loaded = load(&repository("config/drover.yaml"), &plugin::standard()).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.routes.entries().len(), 4);
}

/// S170.
#[test]
fn the_sample_equals_the_defaults() {
    let doc = Doc::parse(Path::new("drover.yaml"), text("config/drover.yaml").as_bytes()).unwrap();
    let sample: Config = doc.value().value.unwrap();
    let topics = ["orders", "payments"].map(|it| TopicName::new(it).unwrap()).to_vec();
    let example = Group { name: GroupName::new("drover").unwrap(), topics, ..Group::default() };
    assert_eq!(sample, Config { groups: vec![example], ..Config::default() });
}

#[test]
fn the_sample_has_every_key() {
    let text = text("config/drover.yaml");
    let page = keys_page();
    let main = page.split("###").nth(1).unwrap();
    let keys = main.lines().filter_map(|it| it.strip_prefix("|`")?.split('`').next());
    let missing: Vec<_> = keys
        .filter(|key| {
            let last = key.rsplit('.').next().unwrap_or(key);
            !text.contains(&format!("{last}:"))
        })
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// Tells the first line that differs: the whole is too long to look at.
fn same(committed: &str, made: &str, mend: &str) {
    let (mut left, mut right) = (committed.lines(), made.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => return,
            (left, right) => assert_eq!(left, right, "line {number}; to mend it: {mend}"),
        }
    }
}

#[test]
fn the_schemas_are_up_to_date() {
    let mend = |what, file| format!("drover check --print {what} > config/{file}");
    same(&text("config/schema.json"), &main_schema(), &mend("schema", "schema.json"));
    same(&text("config/schema-app.json"), &app_schema(), &mend("app-schema", "schema-app.json"));
}

#[test]
fn the_page_of_keys_is_up_to_date() {
    let page = text("docs/operators.md");
    let keys =
        page.split("<!-- keys: begin -->\n").nth(1).unwrap().split("<!-- keys: end -->").next().unwrap();
    same(keys, &keys_page(), "put what `drover check --print keys` prints between the two marks");
}
