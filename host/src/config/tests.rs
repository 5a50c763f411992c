//! What `drover check` says of good and bad files.

use std::path::Path;

use super::*;
use crate::domain::plugin;

const MAIN: &str = "groups: [{name: g, topics: [orders, mail]}]\n";

/// `path: text` files, the main one among them or [`MAIN`]; what is printed, and whether it was refused.
fn check(files: &[(&str, &str)]) -> String {
    let mut memory = Memory::default().with("c/drover.yaml", MAIN);
    for (path, text) in files {
        memory = memory.with(format!("c/{path}"), *text);
    }
    let problems = match load_from(&memory, Path::new("c/drover.yaml"), &plugin::standard()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    problems.iter().map(|it| it.to_string()).collect()
}

#[test]
fn smoke() {
    println!(
        "{}",
        check(&[("apps/a.yaml", "servers: [127.0.0.1:1]\ncommands: [x, {match: y, rate: 0}]\nrte: 1\n")])
    );
    println!(
        "{}",
        check(&[
            (
                "apps/a.yaml",
                "servers: [127.0.0.1:1]\nhandler: forwrd\nselector: forward\ncommands: [x, {match: y, rate: 1}, {regex: 'a('}, {regex: 'order_.*'}, {regex: '.*_paid', handler: x}, 'a*']\n"
            ),
            ("apps/b.yaml", "discover: {dns: 'a:1'}\nservers: [a:1]\ncommands: [ x, y]"),
            ("apps/c.yaml", "discover: {dns: 'a:1'}\ncommands: [ x, y]\ntopics: [mial]\ngroups: [h]"),
        ])
    );
    println!(
        "{}",
        check(&[(
            "apps/a.yaml",
            "servers: [127.0.0.1:1]\ncommands: [{regex: 'order_.*'}, {regex: '.*_paid'}, {regex: order_made}, 'a*']\n"
        )])
    );
    println!(
        "{}",
        check(&[
            ("apps/a.yaml", "url-from-message: {}\ncommands: [any: true]"),
            (
                "drover.yaml",
                "kafka: {properties: {group.id: x, sasl.password: {env: NONE}}}\ngroups: [{name: g, topics: [orders, g.dead]}, {name: g, topics: a}]\nadmin: {listen: '0.0.0.0:8080'}\ngateway: {listen: ':80'}"
            )
        ])
    );
    println!("{}", check(&[]));
}
