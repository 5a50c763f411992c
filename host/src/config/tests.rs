//! What becomes of good files, and the harness for bad ones.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::domain::app::{HostPattern, OnPluginFailure, Order, Protocol, Server, ServerSource};
use crate::domain::outcome::SuccessRule;
use crate::domain::plugin::{self, KnownPlugin};
use crate::domain::retry::RetryPolicy;
use crate::yaml::{FILE_BYTES_MAX, Problem};

/// The main file where a test has none of its own.
const MAIN: &str = "groups: [{name: g, topics: [orders, mail]}]\n";

fn loaded(files: &[(&str, &str)], known: &[KnownPlugin]) -> Result<Loaded, Vec<Problem>> {
    let memory = Memory::default().with("c/drover.yaml", MAIN);
    let mut memory = files.iter().fold(memory, |memory, (path, text)| {
        // `\xfc` stands for a byte that no text has.
        let bytes = text.split("\\xfc").map(str::as_bytes).collect::<Vec<_>>().join(&0xfc);
        memory.with(format!("c/{path}"), bytes)
    });
    memory.variables.insert("TOKEN".to_owned(), "fern-3".to_owned());
    load_from(&memory, Path::new("c/drover.yaml"), known)
}

pub(super) fn good(files: &[(&str, &str)]) -> Loaded {
    loaded(files, &plugin::standard()).unwrap_or_else(|it| panic!("{}", printed(&it)))
}

fn printed(problems: &[Problem]) -> String {
    problems.iter().map(|it| it.to_string()).collect()
}

/// Holds what is printed of the files, warnings too, word for word.
pub(super) fn expect(files: &[(&str, &str)], expected: &str) {
    let problems = match loaded(files, &plugin::standard()) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    };
    let found = printed(&problems);
    assert!(found == expected, "expected:\n{expected}\nfound:\n{found}");
}

/// S170.
#[test]
fn an_app_of_few_words_has_the_defaults() {
    let loaded = good(&[("apps/few.yaml", "servers: [s:1]\ncommands: [paid]\n")]);
    assert_eq!(loaded.warnings, []);
    let [app] = &loaded.apps[..] else { panic!("one app") };
    let route = loaded.routes.find("g", "mail", "paid").unwrap();
    assert_eq!((&*app.name, app.protocol, app.path.as_str()), ("few", Protocol::Http, "/"));
    let server =
        Server { address: "s:1".into(), name: None, weight: 1, zone: String::new(), labels: Vec::new() };
    assert_eq!(app.servers, ServerSource::Listed(vec![server]));
    assert_eq!((&*app.selector, &app.success), ("round-robin", &SuccessRule::Any2xx));
    assert_eq!((app.server_concurrency, app.response_bytes_max), (1_024, 1 << 20));
    assert_eq!((app.eject_after, app.eject_ms), (5, 5_000));
    assert!(Arc::ptr_eq(&route.app, app));
    assert_eq!((&*route.name, &*route.handler, &*route.selector), ("few/paid", "forward", "round-robin"));
    assert_eq!((route.path.as_deref(), route.order, route.timeout_ms), (None, Order::Key, 10_000));
    assert_eq!((route.concurrency, route.rate), (128, None));
    assert_eq!(route.retry, RetryPolicy::default());
    assert_eq!(route.on_plugin_failure, OnPluginFailure::Retry);
}

/// S1, S2, S69, S79.
#[test]
fn a_command_counts_before_its_app_and_key_by_key() {
    let app = "\
servers: [{address: s:1, zone: a, labels: {rack: 07}}, s:1, {address: s:2, weight: 3}]
path: /a
success: errno
rate: 100
retry: {attempts: 3, most-ms: 500}
commands:
  - plain
  - match: own
    path: /own
    handler: webhook
    selector: random
    success: {json: /ok, equals: 1}
    rate: 7
    concurrency: 2
    order: none
    timeout-ms: 50
    on-plugin-failure: dead
    retry: {attempts: -1}
  - 007
";
    let main = "groups: [{name: g, topics: [t], order: partition}, {name: h, topics: [t]}]\n";
    let loaded = good(&[("drover.yaml", main), ("apps/a.yml", app)]);
    let find = |group, command| loaded.routes.find(group, "t", command).unwrap();
    let (plain, own) = (find("g", "plain"), find("g", "own"));
    assert_eq!((plain.rate, &plain.success, plain.order), (Some(100), &SuccessRule::Errno, Order::Partition));
    assert_eq!(find("h", "plain").order, Order::Key);
    assert_eq!(find("g", "007").retry, RetryPolicy { attempts: 3, most_ms: 500, ..RetryPolicy::default() });
    assert_eq!(own.retry, RetryPolicy { attempts: -1, most_ms: 500, ..RetryPolicy::default() });
    assert_eq!((own.path.as_deref(), &*own.handler, &*own.selector), (Some("/own"), "webhook", "random"));
    assert_eq!(own.success, SuccessRule::Json { pointer: "/ok".into(), equals: 1.into() });
    assert_eq!((own.rate, own.concurrency, own.order), (Some(7), 2, Order::None));
    assert_eq!((own.timeout_ms, own.on_plugin_failure), (50, OnPluginFailure::Dead));
    let ServerSource::Listed(servers) = &own.app.servers else { panic!("listed") };
    let seen: Vec<_> = servers.iter().map(|it| (&*it.address, it.weight, it.zone.as_str())).collect();
    assert_eq!(seen, [("s:1", 2, "a"), ("s:2", 3, "")]);
    assert_eq!(servers[0].labels, [("rack".to_owned(), "07".to_owned())]);
}

/// S10, S112, S166.
#[test]
fn servers_that_are_found() {
    let loaded = good(&[
        ("apps/a.yaml", "url-from-message: {allow: [A.example, '*.b:81']}\ncommands: [a]\n"),
        ("apps/b.yaml", "discover: {dns: 'name:80'}\ncommands: [b]\n"),
        ("apps/c.yaml", "discover: {file: servers.txt}\ncommands: [c]\n"),
        ("apps/servers.txt", "s:1\n"),
    ]);
    let pattern = |host: &str, port| HostPattern { host: host.to_owned(), port };
    let allow = vec![pattern("a.example", None), pattern(".b", Some(81))];
    let file = Path::new("c/apps/servers.txt");
    let expected = [
        ServerSource::Message { allow },
        ServerSource::Dns { host: "name".into(), port: 80, every_ms: 10_000 },
        ServerSource::File(file.to_owned()),
    ];
    assert!(loaded.apps.iter().map(|it| &it.servers).eq(&expected));
    assert!(loaded.files.iter().any(|it| it == file));
}

/// S161: secrets come from elsewhere, their files are watched. S145: nothing shows them.
#[test]
fn secrets() {
    let main = "\
groups: [{name: g, topics: [orders]}]
kafka: {properties: {sasl.password: fern-1, socket.keepalive.enable: true, linger: 5}}
gateway:
  listen: 0.0.0.0:8080
  credentials: [{name: shop, secret: {file: s/shop}}, {name: b, secret: 007}]
admin: {token: {env: TOKEN}}
";
    let app = ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n");
    let loaded = good(&[("drover.yaml", main), app, ("s/shop", "fern-2\n")]);
    let config = &loaded.config;
    assert_eq!(config.gateway.credentials[0].secret.as_ref().unwrap().0.value.expose(), "fern-2");
    assert_eq!(config.gateway.credentials[1].secret.as_ref().unwrap().0.value.expose(), "007");
    assert_eq!(config.admin.token.as_ref().unwrap().0.value.expose(), "fern-3");
    let properties: Vec<_> = config.kafka.revealed().into_values().collect();
    assert_eq!(properties, ["5", "fern-1", "true"]);
    assert!(loaded.files.contains(&"c/s/shop".into()));
    let shown = format!("{loaded:?} {}", serde_json::to_string(config).unwrap());
    assert!(!shown.contains("fern"), "{shown}");
}

#[test]
fn paths_lead_from_their_own_file() {
    let main =
        "groups: [{name: g, topics: [orders]}]\napps: services\nplugins: [{name: mine, file: p/x.wasm}]\n";
    let app = ("services/a.yaml", "servers: [s:1]\ncommands: [a]\nhandler: mine\n");
    let loaded = good(&[("drover.yaml", main), app, ("p/x.wasm", ""), ("services/notes.txt", "no app")]);
    assert_eq!(loaded.config.store.dir, Path::new("c/data"));
    assert_eq!(loaded.config.plugins[0].file.as_deref(), Some(Path::new("c/p/x.wasm")));
    let files = ["c/drover.yaml", "c/p/x.wasm", "c/services", "c/services/a.yaml"];
    assert_eq!(loaded.files, files.map(PathBuf::from));
}

/// An uploaded plugin may be named as either kind: only its component can tell.
#[test]
fn uploaded_plugins_are_known() {
    let app = [("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nhandler: up\nselector: up\n")];
    assert!(loaded(&app, &plugin::standard()).is_err());
    let known = [KnownPlugin { name: "up".into(), kind: None }];
    assert!(loaded(&app, &known).is_ok());
}

/// S52: a group called `group:topic` has side topics whose names Kafka takes.
#[test]
fn side_topics() {
    let group = |name| Group { name: GroupName::new(name).unwrap(), ..Group::default() };
    assert_eq!(group("g").dead_topic(), "g.dead");
    assert_eq!(group("g:t").park_topic(), "g-t.park");
}

#[test]
fn files_that_are_too_much() {
    let refused = |text: &str| {
        let problems = loaded(&[("apps/a.yaml", text)], &plugin::standard()).unwrap_err();
        printed(&problems).lines().next().unwrap_or_default().to_owned()
    };
    let long = "#".repeat(FILE_BYTES_MAX + 1);
    assert_eq!(refused(&long), "error: the file is too long: 1048577 bytes, at most 1048576");
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in ["ab", "bc", "cd", "de", "ef", "fg"].map(|it| it.split_at(1)) {
        bomb += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 10].join(", "));
    }
    assert_eq!(refused(&bomb), "error: the file unfolds to too much, or is nested too deep");
}
