//! What is printed of a main file whose good values do not go together, word for word.

use super::tests::expect;

#[test]
fn groups_without_name_and_topics() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups:\n  - topics: [a]\n  - name: b\n"),
        ],
        "\
error: a group without `name`
 --> c/drover.yaml:2:5
  |
2 |   - topics: [a]
  |     ^
  = help: add `name: …`
error: a group without `topics`
 --> c/drover.yaml:3:5
  |
3 |   - name: b
  |     ^
  = help: add `topics: …`
",
    );
}

#[test]
fn groups_twice() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups:\n  - {name: g, topics: [a]}\n  - {name: g, topics: [b]}\n"),
        ],
        "\
error: a second group `g`
 --> c/drover.yaml:3:12
  |
3 |   - {name: g, topics: [b]}
  |            ^
  = note: the first one stands at c/drover.yaml:2:12
  = help: put the topics of both into one group, or rename one
",
    );
}

#[test]
fn groups_a_loop() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups:\n  - name: g\n    topics: [a, g.dead, p, g.a.retry.1s, a]\n    park: {topic: p}\n",
            ),
        ],
        "\
error: the group writes to `g.dead` itself: its messages would go round for ever
 --> c/drover.yaml:3:17
  |
3 |     topics: [a, g.dead, p, g.a.retry.1s, a]
  |                 ^^^^^^
  = help: read it by a group of its own, whose dead letters go elsewhere
error: the group writes to `p` itself: its messages would go round for ever
 --> c/drover.yaml:3:25
  |
3 |     topics: [a, g.dead, p, g.a.retry.1s, a]
  |                         ^
  = help: read it by a group of its own, whose dead letters go elsewhere
error: the group writes to `g.a.retry.1s` itself: its messages would go round for ever
 --> c/drover.yaml:3:28
  |
3 |     topics: [a, g.dead, p, g.a.retry.1s, a]
  |                            ^^^^^^^^^^^^
  = help: read it by a group of its own, whose dead letters go elsewhere
error: the topic `a` stands here twice
 --> c/drover.yaml:3:42
  |
3 |     topics: [a, g.dead, p, g.a.retry.1s, a]
  |                                          ^
  = help: remove one of them
",
    );
}

#[test]
fn groups_one_topic_for_both() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups:\n  - name: g\n    topics: [a]\n    dead-letters: {topic: x}\n    park: {topic: x}\n",
            ),
        ],
        "\
error: dead letters and parked messages both go to `x`
 --> c/drover.yaml:5:19
  |
5 |     park: {topic: x}
  |                   ^
  = help: name two topics
",
    );
}

#[test]
fn groups_no_names() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups:\n  - {name: a b, topics: [grün, ..]}\n"),
        ],
        "\
error: ` ` cannot stand in a name
 --> c/drover.yaml:2:12
  |
2 |   - {name: a b, topics: [grün, ..]}
  |            ^^^
  = help: letters, digits and `._-:`, at most 200 of them
error: `ü` cannot stand in a name
 --> c/drover.yaml:2:26
  |
2 |   - {name: a b, topics: [grün, ..]}
  |                          ^^^^
  = help: letters, digits and `._-`, at most 249 of them
error: `..` is no name for a topic
 --> c/drover.yaml:2:32
  |
2 |   - {name: a b, topics: [grün, ..]}
  |                                ^^
",
    );
}

#[test]
fn beyond_this_machine() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\ngateway: {listen: 0.0.0.0:8080}\nadmin:\n  listen: '[::]:8081'\n",
            ),
        ],
        "\
error: whoever reaches 0.0.0.0:8080 could publish
 --> c/drover.yaml:2:19
  |
2 | gateway: {listen: 0.0.0.0:8080}
  |                   ^^^^^^^^^^^^
  = help: add `credentials`, or listen on `127.0.0.1:8080`
error: whoever reaches [::]:8081 could change everything
 --> c/drover.yaml:4:11
  |
4 |   listen: '[::]:8081'
  |           ^^^^^^^^^^^
  = help: add `token`, or listen on `127.0.0.1:8081`
",
    );
}

#[test]
fn wrong_address_one_port() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups: [{name: g, topics: [orders]}]\ngateway: {listen: ':8080'}\n"),
        ],
        "\
error: the host is missing
 --> c/drover.yaml:2:19
  |
2 | gateway: {listen: ':8080'}
  |                   ^^^^^^^
  = help: write `host:port`, as in `127.0.0.1:9001`
",
    );
}

#[test]
fn one_port() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            ("drover.yaml", "groups: [{name: g, topics: [orders]}]\nadmin: {listen: localhost:8080}\n"),
        ],
        "\
error: gateway and admin both listen on port 8080
 --> c/drover.yaml:2:17
  |
2 | admin: {listen: localhost:8080}
  |                 ^^^^^^^^^^^^^^
  = help: choose another port for one of them
",
    );
}

/// S159, S171.
#[test]
fn credentials() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\ngateway:\n  default-topic: order\n  credentials:\n    - {name: a, secret: x, topics: [mail]}\n    - {name: a}\n",
            ),
        ],
        "\
error: `order` is not among the gateway's topics
 --> c/drover.yaml:3:18
  |
3 |   default-topic: order
  |                  ^^^^^
  = help: did you mean `orders`?
error: `mail` is not among the gateway's topics
 --> c/drover.yaml:5:37
  |
5 |     - {name: a, secret: ***
  |                                     ^
  = help: one of `orders`
error: a credential without `secret`
 --> c/drover.yaml:6:7
  |
6 |     - {name: a}
  |       ^
  = help: add `secret: …`
error: a second credential `a`
 --> c/drover.yaml:6:14
  |
6 |     - {name: a}
  |              ^
  = note: the first one stands at c/drover.yaml:5:14
  = help: rename one of them
",
    );
}

#[test]
fn secrets() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\nkafka:\n  properties:\n    sasl.password: {env: NONE}\nadmin:\n  token: {}\ngateway:\n  credentials:\n    - {name: a, secret: ''}\n    - {name: b, secret: {file: none}}\n",
            ),
        ],
        "\
error: a secret cannot be empty
 --> c/drover.yaml:9:25
  |
9 |     - {name: a, secret: ***
  |                         ^^
  = help: leave the key out for none
",
    );
}

#[test]
fn secrets_that_are_not_there() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\nkafka:\n  properties:\n    sasl.password: {env: NONE}\nadmin:\n  token: {}\ngateway:\n  credentials:\n    - {name: b, secret: {file: none}}\n",
            ),
        ],
        "\
error: the environment has no `NONE`
 --> c/drover.yaml:4:5
  |
4 |     sasl.password: {env: NONE}
  |     ^^^^^^^^^^^^^
  = help: set it before the host starts
error: cannot read c/none: entity not found
 --> c/drover.yaml:9:17
  |
9 |     - {name: b, secret: {file: none}}
  |                 ^^^^^^
  = help: is the path right?
error: nothing says where the secret is
 --> c/drover.yaml:6:3
  |
6 |   token: {}
  |   ^^^^^
  = help: add `env: NAME` or `file: PATH`
",
    );
}

#[test]
fn properties() {
    expect(
        &[
            ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
            (
                "drover.yaml",
                "groups: [{name: g, topics: [orders]}]\nkafka:\n  brokers: []\n  properties:\n    group.id: x\n    enable.auto.commit: true\n    sasl_mechanism: PLAIN\n    ssl.key.password: [a]\n",
            ),
        ],
        "\
error: expected text, or keys with values, found a list
 --> c/drover.yaml:8:5
  |
8 |     ssl.key.password: ***
  |     ^^^^^^^^^^^^^^^^
",
    );
}
