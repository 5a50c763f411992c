//! What is printed of bad keys and values, word for word.

use super::tests::expect;

#[test]
fn unknown_key() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncomands: [a]\ncommands: [b]\n")],
        "\
error: unknown key `comands`
 --> c/apps/a.yaml:2:1
  |
2 | comands: [a]
  | ^^^^^^^
  = help: did you mean `commands`?
",
    );
}

#[test]
fn a_key_of_an_ancestor() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncmd: make_invoice\ncommands: [a]\n")],
        "\
error: unknown key `cmd`
 --> c/apps/a.yaml:2:1
  |
2 | cmd: make_invoice
  | ^^^
  = help: here it is `commands: [ … ]`
",
    );
}

#[test]
fn misspelt_word() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups:\n  - name: g\n    topics: [orders, mail]\n    start: oldes\n"),
        ],
        "\
error: `oldes` is not known here
 --> c/drover.yaml:4:12
  |
4 |     start: oldes
  |            ^^^^^
  = help: did you mean `oldest`?
",
    );
}

#[test]
fn duplicate_key() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\npath: /a\npath: /b\n")],
        "\
error: the key `path` stands here twice
 --> c/apps/a.yaml:4:1
  |
4 | path: /b
  | ^^^^
  = help: remove one of them
",
    );
}

/// S92.
#[test]
fn rate_0() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands:\n  - match: a\n    rate: 0\n")],
        "\
error: 0 would let nothing through
 --> c/apps/a.yaml:4:11
  |
4 |     rate: 0
  |           ^
  = help: leave the key out for no limit
",
    );
}

#[test]
fn negative_fraction_text() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nrate: -1\nconcurrency: 1.5\ntimeout-ms: soon\n")],
        "\
error: -1 is out of range
 --> c/apps/a.yaml:3:7
  |
3 | rate: -1
  |       ^^
  = help: from 1 to 4294967295
error: expected a whole number, found `1.5`
 --> c/apps/a.yaml:4:14
  |
4 | concurrency: 1.5
  |              ^^^
error: expected a whole number, found text `soon`
 --> c/apps/a.yaml:5:13
  |
5 | timeout-ms: soon
  |             ^^^^
",
    );
}

#[test]
fn out_of_range() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups: [{name: g, topics: [orders, mail], window: 20000}]\nshards: -1\n"),
        ],
        "\
error: 20000 is out of range
 --> c/drover.yaml:1:52
  |
1 | groups: [{name: g, topics: [orders, mail], window: 20000}]
  |                                                    ^^^^^
  = help: from 1 to 16384
error: -1 is out of range
 --> c/drover.yaml:2:9
  |
2 | shards: -1
  |         ^^
  = help: from 0 to 1024
",
    );
}

#[test]
fn attempts_and_factor() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nretry:\n  attempts: 0\n  factor: 0.5\n")],
        "\
error: 0 is no number of attempts
 --> c/apps/a.yaml:4:13
  |
4 |   attempts: 0
  |             ^
  = help: 1 for a single one, -1 for no end
error: 0.5 is out of range
 --> c/apps/a.yaml:5:11
  |
5 |   factor: 0.5
  |           ^^^
  = help: from 1 (equal pauses) to 100
",
    );
}

#[test]
fn pauses_that_contradict_each_other() {
    expect(
        &[(
            "apps/a.yaml",
            "servers: [s:1]\nretry: {most-ms: 1000}\ncommands:\n  - match: a\n    retry: {first-ms: 2000}\n",
        )],
        "\
error: the first pause, 2000 ms, is longer than the longest, 1000 ms
 --> c/apps/a.yaml:5:5
  |
5 |     retry: {first-ms: 2000}
  |     ^^^^^
  = help: make `first-ms` shorter, or `most-ms` longer
",
    );
}

#[test]
fn yes_for_true() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [any: yes]\n")],
        "\
error: expected `true` or `false`, found text `yes`
 --> c/apps/a.yaml:2:17
  |
2 | commands: [any: yes]
  |                 ^^^
",
    );
}

#[test]
fn one_word_for_a_list() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\ntopics: orders\n")],
        "\
error: expected a list, found text `orders`
 --> c/apps/a.yaml:3:9
  |
3 | topics: orders
  |         ^^^^^^
  = help: in brackets: `[orders]`
",
    );
}

#[test]
fn success() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nsuccess: 2x\n")],
        "\
error: `2x` is no rule for success
 --> c/apps/a.yaml:3:10
  |
3 | success: 2x
  |          ^^
  = help: one of `2xx`, `200`, `errno`, `{json: /pointer, equals: value}`
",
    );
}

#[test]
fn success_by_json() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nsuccess: {json: result.ok}\n")],
        "\
error: the key `equals` is missing
 --> c/apps/a.yaml:3:1
  |
3 | success: {json: result.ok}
  | ^^^^^^^
  = help: add `equals: …`
",
    );
}

#[test]
fn no_pointer() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\nsuccess: {json: result.ok, equals: 1}\n")],
        "\
error: `result.ok` is no JSON pointer
 --> c/apps/a.yaml:3:1
  |
3 | success: {json: result.ok, equals: 1}
  | ^^^^^^^
  = help: write `/result/ok`
",
    );
}

#[test]
fn path() {
    expect(
        &[("apps/a.yaml", "servers: [s:1]\ncommands: [a]\npath: orders\n")],
        "\
error: a path begins with `/`
 --> c/apps/a.yaml:3:7
  |
3 | path: orders
  |       ^^^^^^
  = help: write `/orders`
",
    );
}

#[test]
fn no_level_of_the_log() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups: []\nlog: info,plugin=verbose\n"),
        ],
        "\
error: `verbose` is no level
 --> c/drover.yaml:2:6
  |
2 | log: info,plugin=verbose
  |      ^^^^^^^^^^^^^^^^^^^
  = help: off, error, warn, info, debug or trace; for one part too, as in `info,plugin=debug`
",
    );
}
