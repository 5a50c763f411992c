//! What is printed of apps that do not go together with the rest, word for word.

use super::tests::expect;

/// S171.
#[test]
fn unknown_plugin() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nhandler: forwrd\n")],
        "\
error: there is no plugin `forwrd`
 --> c/apps/a.yaml:3:10
  |
3 | handler: forwrd
  |          ^^^^^^
  = help: did you mean `forward`?
",
    );
}

/// S5: native twins are known by name, take settings, and have no limits.
#[test]
fn native_plugins() {
    let apps = "servers: [s:1]\ncommands: [a, {match: b, handler: mine}]\nhandler: native:forward\nselector: native:random\n";
    let main = "groups: [{name: g, topics: [orders]}]\nplugins:\n  - {name: native:forward, config: {path: /in}}\n  - {name: mine, use: native:json-rpc-errno}\n";
    expect(&[("apps/a.yaml", apps), ("drover.yaml", main)], "");
    let main = "groups: [{name: g, topics: [orders]}]\nplugins:\n  - {name: native:forward, limits: {cpu-ms: 5}}\n  - {name: native:mine, use: forward}\n";
    let apps = "servers: [s:1]\ncommands: [a]\nhandler: native:forwrd\n";
    expect(
        &[("apps/a.yaml", apps), ("drover.yaml", main)],
        "\
error: `limits` of `native:forward`, which is compiled into the host
 --> c/drover.yaml:3:28
  |
3 |   - {name: native:forward, limits: {cpu-ms: 5}}
  |                            ^^^^^^
  = help: remove `limits`, or take the component, without `native:`
error: `native:mine` is no native plugin
 --> c/drover.yaml:4:12
  |
4 |   - {name: native:mine, use: forward}
  |            ^^^^^^^^^^^
  = help: choose a name without `native:`
error: there is no plugin `native:forwrd`
 --> c/apps/a.yaml:3:10
  |
3 | handler: native:forwrd
  |          ^^^^^^^^^^^^^
  = help: did you mean `native:forward`?
",
    );
}

#[test]
fn unknown_plugin_of_a_command() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - match: a\n    selector: least-load\n")],
        "\
error: there is no plugin `least-load`
 --> c/apps/a.yaml:4:15
  |
4 |     selector: least-load
  |               ^^^^^^^^^^
  = help: did you mean `least-loaded`?
",
    );
}

#[test]
fn selector_as_handler() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nhandler: weighted\n")],
        "\
error: `weighted` is a selector, and here a handler is wanted
 --> c/apps/a.yaml:3:10
  |
3 | handler: weighted
  |          ^^^^^^^^
  = help: one of `forward`, `json-rpc-errno`, `cloudevents`, `webhook`, `reshape`, `native:forward`, `native:json-rpc-errno`
",
    );
}

#[test]
fn handler_as_selector() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nselector: mine\n"),
            ("drover.yaml", "groups: [{name: g, topics: [orders]}]\nplugins: [{name: mine, use: webhook}]\n"),
        ],
        "\
error: `mine` is a handler, and here a selector is wanted
 --> c/apps/a.yaml:3:11
  |
3 | selector: mine
  |           ^^^^
  = help: one of `round-robin`, `weighted`, `random`, `least-loaded`, `consistent-hash`, `native:round-robin`, `native:random`, `native:weighted`, `native:least-loaded`
",
    );
}

#[test]
fn unknown_group() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ngroups: [gg]\n")],
        "\
error: there is no group `gg`
 --> c/apps/a.yaml:3:10
  |
3 | groups: [gg]
  |          ^^
  = help: did you mean `g`?
",
    );
}

#[test]
fn unknown_topic() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ntopics: [order]\n")],
        "\
error: none of the app's groups reads the topic `order`
 --> c/apps/a.yaml:3:10
  |
3 | topics: [order]
  |          ^^^^^
  = help: did you mean `orders`?
",
    );
}

/// S171.
#[test]
fn two_apps_of_one_name() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nname: x\n"),
            ("apps/b.yaml", "name: x\nservers: [s:1]\ncommands: [b]\n"),
        ],
        "\
error: a second app `x`
 --> c/apps/b.yaml:1:7
  |
1 | name: x
  |       ^
  = note: the first one stands at c/apps/a.yaml:3:7
  = help: rename one of them
",
    );
}

#[test]
fn a_file_whose_name_is_no_name() {
    expect(
        &[("apps/a b.yaml", "servers: [s:1]\ncommands: [a]\n"), ("apps/.hidden.yaml", "x")],
        "\
error: the file's name is no name for an app
 --> c/apps/a b.yaml
  = help: add `name: …`, of letters, digits and `._-`
",
    );
}

#[test]
fn a_topic_that_no_app_takes() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ntopics: [orders]\n")],
        "\
warning: no app takes messages of the topic `mail` in the group `g`
 --> c/drover.yaml:1:37
  |
1 | groups: [{name: g, topics: [orders, mail]}]
  |                                     ^^^^
  = help: they go where `unmatched` says; add an app, or remove the topic
",
    );
}

#[test]
fn plugins() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\nplugins:\n  - name: mine\n  - {name: other, use: forward, file: x.wasm}\n  - {name: third, use: forwad}\n  - {name: forward, use: webhook}\n  - {name: webhook, file: x.wasm}\n  - {name: gone, file: gone.wasm}\n  - {use: forward}\n",
            ),
        ],
        "\
error: nothing says what the plugin `mine` is
 --> c/drover.yaml:3:11
  |
3 |   - name: mine
  |           ^^^^
  = help: add `file: …`, or `use: …` with a standard plugin
error: both `use` and `file`
 --> c/drover.yaml:4:33
  |
4 |   - {name: other, use: forward, file: x.wasm}
  |                                 ^^^^
  = help: `use` for a standard plugin, `file` for a component: one of them
error: `forwad` is no standard plugin
 --> c/drover.yaml:5:24
  |
5 |   - {name: third, use: forwad}
  |                        ^^^^^^
  = help: did you mean `forward`?
error: `forward` is another standard plugin's name
 --> c/drover.yaml:6:12
  |
6 |   - {name: forward, use: webhook}
  |            ^^^^^^^
  = help: choose a name of your own
error: `webhook` is a standard plugin's name
 --> c/drover.yaml:7:12
  |
7 |   - {name: webhook, file: x.wasm}
  |            ^^^^^^^
  = help: choose a name of your own
error: a plugin without `name`
 --> c/drover.yaml:9:5
  |
9 |   - {use: forward}
  |     ^
  = help: add `name: …`
error: there is no file c/x.wasm
 --> c/drover.yaml:4:39
  |
4 |   - {name: other, use: forward, file: x.wasm}
  |                                       ^^^^^^
  = help: the path leads from the folder of this file
error: there is no file c/x.wasm
 --> c/drover.yaml:7:27
  |
7 |   - {name: webhook, file: x.wasm}
  |                           ^^^^^^
  = help: the path leads from the folder of this file
error: there is no file c/gone.wasm
 --> c/drover.yaml:8:24
  |
8 |   - {name: gone, file: gone.wasm}
  |                        ^^^^^^^^^
  = help: the path leads from the folder of this file
",
    );
}

#[test]
fn servers_missing() {
    expect(
        &[("apps/a.yaml", "commands: [a]\n")],
        "\
error: nothing says where the servers are
 --> c/apps/a.yaml
  = help: add one of `servers`, `discover`, `url-from-message`
",
    );
}

/// S109.
#[test]
fn servers_empty_list() {
    expect(
        &[("apps/a.yaml", "servers: []\ncommands: [a]\n")],
        "\
error: the list of servers is empty
 --> c/apps/a.yaml:1:1
  |
1 | servers: []
  | ^^^^^^^
  = help: add one: `servers: [127.0.0.1:9001]`
",
    );
}

#[test]
fn servers_servers_and_discover() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ndiscover: {dns: s:1}\ncommands: [a]\n")],
        "\
error: the servers are given in two ways
 --> c/apps/a.yaml:2:1
  |
2 | discover: {dns: s:1}
  | ^^^^^^^^
  = help: one of `servers`, `discover`, `url-from-message`
",
    );
}

#[test]
fn servers_wrong_addresses() {
    expect(
        &[(
            "apps/a.yaml",
            "servers:\n  - http://s:1\n  - s\n  - {address: s:99999}\n  - s:0\n  - {adress: s:1}\ncommands: [a]\n",
        )],
        "\
error: `http://s:1` is a URL
 --> c/apps/a.yaml:2:5
  |
2 |   - http://s:1
  |     ^^^^^^^^^^
  = help: write `host:port`, as in `127.0.0.1:9001`
error: `s` has no port
 --> c/apps/a.yaml:3:5
  |
3 |   - s
  |     ^
  = help: write `host:port`, as in `127.0.0.1:9001`
error: `99999` is no port
 --> c/apps/a.yaml:4:15
  |
4 |   - {address: s:99999}
  |               ^^^^^^^
  = help: from 1 to 65535
error: unknown key `adress`
 --> c/apps/a.yaml:6:6
  |
6 |   - {adress: s:1}
  |      ^^^^^^
  = help: did you mean `address`?
",
    );
}

/// S166.
#[test]
fn servers_no_allow_list() {
    expect(
        &[("apps/a.yaml", "url-from-message: {}\ncommands: [a]\n")],
        "\
error: a message could name any address: the list of hosts that are allowed is missing
 --> c/apps/a.yaml:1:1
  |
1 | url-from-message: {}
  | ^^^^^^^^^^^^^^^^
  = help: add `allow: [host, \"*.domain\"]`
",
    );
}

#[test]
fn servers_allow_list_too_wide_and_a_selector() {
    expect(
        &[
            ("apps/a.yaml", "url-from-message: {allow: ['*', 'a*.example']}\ncommands: [a]\n"),
            ("apps/b.yaml", "url-from-message: {allow: [a.example]}\nselector: random\ncommands: [b]\n"),
        ],
        "\
error: `*` would let a message name any address
 --> c/apps/a.yaml:1:28
  |
1 | url-from-message: {allow: ['*', 'a*.example']}
  |                            ^^^
  = help: write `host`, `host:port`, `*.domain` or `*.domain:port`
error: `a*.example` is no host
 --> c/apps/a.yaml:1:33
  |
1 | url-from-message: {allow: ['*', 'a*.example']}
  |                                 ^^^^^^^^^^^^
  = help: write `host`, `host:port`, `*.domain` or `*.domain:port`
error: each message names its server: there is nothing for a selector to choose
 --> c/apps/b.yaml:2:1
  |
2 | selector: random
  | ^^^^^^^^
  = help: remove `selector`, or `url-from-message`
",
    );
}

#[test]
fn servers_discover() {
    expect(
        &[
            ("apps/a.yaml", "discover: {}\ncommands: [a]\n"),
            ("apps/b.yaml", "discover: {file: b.txt, every-ms: 500}\ncommands: [b]\n"),
        ],
        "\
error: one of `dns` and `file` is wanted
 --> c/apps/a.yaml:1:1
  |
1 | discover: {}
  | ^^^^^^^^
  = help: as in `dns: service.local:8080`
error: there is no file c/apps/b.txt
 --> c/apps/b.yaml:1:18
  |
1 | discover: {file: b.txt, every-ms: 500}
  |                  ^^^^^
  = help: the path leads from the folder of this file
error: a file is watched: it is not looked up every so often
 --> c/apps/b.yaml:1:25
  |
1 | discover: {file: b.txt, every-ms: 500}
  |                         ^^^^^^^^
  = help: remove `every-ms`
",
    );
}
