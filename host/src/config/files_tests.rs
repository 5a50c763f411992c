//! What is printed of bad files and commands, word for word.

use super::tests::expect;

#[test]
fn tabs() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\nretry:\n\tattempts: 1\n")],
        "\
error: tabs disallowed within this context (block indentation)
 --> c/apps/a.yaml:3:2
  |
3 |  attempts: 1
  |  ^
  = help: indent with spaces
",
    );
}

#[test]
fn no_yaml() {
    expect(
        &[("apps/a.yaml", "servers: [s:1\ncommands: [a]\n")],
        "\
error: illegal placement of ':' indicator
 --> c/apps/a.yaml:2:9
  |
2 | commands: [a]
  |         ^
",
    );
}

#[test]
fn empty() {
    expect(
        &[("apps/a.yaml", "")],
        "\
error: the file is empty
 --> c/apps/a.yaml
  = help: remove it, or fill it
",
    );
}

#[test]
fn not_utf_8() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\npath: /gr\\xfc\n")],
        "\
error: the file is not UTF-8: byte 25 of it, in line 2
 --> c/apps/a.yaml
  = help: save it as UTF-8
",
    );
}

#[test]
fn apps_folder_missing() {
    expect(
        &[],
        "\
error: cannot read the apps' folder c/apps: entity not found
 --> c/drover.yaml
  = help: make it, with a file for each app
",
    );
}

#[test]
fn apps_folder_missing_by_name() {
    expect(
        &[("drover.yaml", "groups: [{name: g, topics: [orders]}]\napps: aps\n")],
        "\
error: cannot read the apps' folder c/aps: entity not found
 --> c/drover.yaml:2:7
  |
2 | apps: aps
  |       ^^^
  = help: make it, with a file for each app
",
    );
}

#[test]
fn all_files_are_told_of() {
    expect(
        &[("apps/a.yaml", "x: 1\nservers: [s:1]\ncommands: [a]\n"), ("apps/b.yaml", "y: 1\nservers: [s:1]\ncommands: [a]\n"), ("drover.yaml", "groups: [{name: g, topics: [orders], z: 1}]\n")],
        "\
error: unknown key `z`
 --> c/drover.yaml:1:38
  |
1 | groups: [{name: g, topics: [orders], z: 1}]
  |                                      ^
  = help: one of `name`, `topics`, `start`, `format`, `order`, `order-header`, `unmatched`, `window`, `session-timeout-ms`, `commit-every-ms`, `dead-letters`, `park`, `ladder`, `drain-ms`
error: unknown key `x`
 --> c/apps/a.yaml:1:1
  |
1 | x: 1
  | ^
  = help: one of `name`, `protocol`, `servers`, `discover`, `url-from-message`, `server-type`, `on-selector-failure`, `server-concurrency`, `response-kb`, `eject`, `breaker`, `slow-start-ms`, `check`, `adaptive`, `commands`, `groups`, `topics`, `path`, `handler`, `selector`, `success`, `retry`, `timeout-ms`, `concurrency`, `rate`, `order`, `on-retry`, `ttl-ms`, `delays`, `on-plugin-failure`
error: unknown key `y`
 --> c/apps/b.yaml:1:1
  |
1 | y: 1
  | ^
  = help: one of `name`, `protocol`, `servers`, `discover`, `url-from-message`, `server-type`, `on-selector-failure`, `server-concurrency`, `response-kb`, `eject`, `breaker`, `slow-start-ms`, `check`, `adaptive`, `commands`, `groups`, `topics`, `path`, `handler`, `selector`, `success`, `retry`, `timeout-ms`, `concurrency`, `rate`, `order`, `on-retry`, `ttl-ms`, `delays`, `on-plugin-failure`
",
    );
}

#[test]
fn the_same_in_one_file() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - a\n  - match: a\n")],
        "\
error: `a` has a route already: `a/a`
 --> c/apps/a.yaml:4:12
  |
4 |   - match: a
  |            ^
  = note: the first one stands at c/apps/a.yaml:3:5
  = help: remove one of them, or give them different `groups` or `topics`
",
    );
}

/// S15.
#[test]
fn the_same_in_two_files() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [paid, regex: x.*, any: true]\n"),
            ("apps/b.yaml", "servers: [s:1]\ncommands:\n  - regex: x.*\n  - any: true\n  - paid\n"),
        ],
        "\
error: `regex: x.*` has a route already: `a/~x.*`
 --> c/apps/b.yaml:3:12
  |
3 |   - regex: x.*
  |            ^^^
  = note: the first one stands at c/apps/a.yaml:2:25
  = help: remove one of them, or give them different `groups` or `topics`
error: `any: true` has a route already: `a/*`
 --> c/apps/b.yaml:4:10
  |
4 |   - any: true
  |          ^^^^
  = note: the first one stands at c/apps/a.yaml:2:35
  = help: remove one of them, or give them different `groups` or `topics`
error: `paid` has a route already: `a/paid`
 --> c/apps/b.yaml:5:5
  |
5 |   - paid
  |     ^^^^
  = note: the first one stands at c/apps/a.yaml:2:12
  = help: remove one of them, or give them different `groups` or `topics`
",
    );
}

#[test]
fn the_same_for_other_topics_is_not_the_same() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ntopics: [orders]\n"),
            ("apps/b.yaml", "servers: [s:1]\ncommands: [a]\ntopics: [mail]\n"),
        ],
        "",
    );
}

#[test]
fn the_same_for_some_topics_is() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ntopics: [orders]\n"),
            ("apps/b.yaml", "servers: [s:1]\ncommands: [a]\n"),
        ],
        "\
error: `a` has a route already: `a/a`
 --> c/apps/b.yaml:2:12
  |
2 | commands: [a]
  |            ^
  = note: the first one stands at c/apps/a.yaml:2:12
  = help: remove one of them, or give them different `groups` or `topics`
",
    );
}

/// S43.
#[test]
fn bad_regex() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - regex: \"order_(.*\"\n  - regex: \"a)|(b\"\n")],
        "\
error: `order_(.*` is no regular expression: unclosed group
 --> c/apps/a.yaml:3:12
  |
3 |   - regex: \"order_(.*\"
  |            ^^^^^^^^^^^
  = help: a command as it stands is written `match: …`
error: `a)|(b` is no regular expression: unopened group
 --> c/apps/a.yaml:4:12
  |
4 |   - regex: \"a)|(b\"
  |            ^^^^^^^
  = help: a command as it stands is written `match: …`
",
    );
}

/// S44.
#[test]
fn overlapping_regexes() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - regex: order_.*\n  - regex: .*_paid\n")],
        "\
warning: `a/~order_.*` takes some of it, `order_paid` for one
 --> c/apps/a.yaml:4:12
  |
4 |   - regex: .*_paid
  |            ^^^^^^^
  = note: the first one stands at c/apps/a.yaml:3:12
  = help: the first in file order takes it: is that meant?
",
    );
}

#[test]
fn covered_regex() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands:\n  - regex: order_.*\n"),
            ("apps/b.yaml", "servers: [s:1]\ncommands:\n  - regex: order_[a-z]+\n"),
        ],
        "\
warning: never reached: `a/~order_.*` takes all of it
 --> c/apps/b.yaml:3:12
  |
3 |   - regex: order_[a-z]+
  |            ^^^^^^^^^^^^
  = note: the first one stands at c/apps/a.yaml:3:12
  = help: put it before the other one, or remove it
",
    );
}

#[test]
fn beyond_comparison() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - regex: '\\bgrün\\b'\n  - regex: order_.*\n")],
        "\
warning: not all regular expressions could be compared: some overlaps may go unreported
 --> c/drover.yaml
  = help: there are very many, or some have `\\b`; all of them work as they are written
",
    );
}

#[test]
fn looks_like_a_pattern() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [order.*, '*']\n")],
        "\
warning: `order.*` is taken as it stands, with its `*`
 --> c/apps/a.yaml:2:12
  |
2 | commands: [order.*, '*']
  |            ^^^^^^^
  = help: for a pattern write `regex: \"order\\..*\"`, for everything `any: true`
warning: `*` is taken as it stands, with its `*`
 --> c/apps/a.yaml:2:21
  |
2 | commands: [order.*, '*']
  |                     ^^^
  = help: for a pattern write `regex: \".*\"`, for everything `any: true`
",
    );
}

#[test]
fn none() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\n")],
        "\
error: an app without commands takes no message
 --> c/apps/a.yaml
  = help: add `commands: [{any: true}]`, or name them
",
    );
}

#[test]
fn nothing_several_false() {
    expect(
        &[(
            "apps/a.yaml",
            "servers: [s:1]\ncommands:\n  - path: /a\n  - {match: a, any: true}\n  - any: false\n  - ''\n",
        )],
        "\
error: nothing says which commands are meant
 --> c/apps/a.yaml:3:5
  |
3 |   - path: /a
  |     ^
  = help: one of `match: …`, `regex: …`, `any: true`
error: several of `match`, `regex` and `any`
 --> c/apps/a.yaml:4:5
  |
4 |   - {match: a, any: true}
  |     ^
  = help: make an entry of each
error: `any: false` matches nothing
 --> c/apps/a.yaml:5:10
  |
5 |   - any: false
  |          ^^^^^
  = help: one of `match: …`, `regex: …`, `any: true`
error: the command is empty
 --> c/apps/a.yaml:6:5
  |
6 |   - ''
  |     ^^
  = help: one of `match: …`, `regex: …`, `any: true`
",
    );
}
