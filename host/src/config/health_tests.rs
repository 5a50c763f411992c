//! Breakers, slow start and checks: what becomes of good keys, and what is printed of bad ones.

use super::tests::{expect, good};
use crate::domain::app::{Breakers, Check};
use crate::domain::breaker::Rule;

/// S102, S111, S170: off unless written; bigpipe's numbers where only the key is.
#[test]
fn off_unless_written() {
    let loaded = good(&[
        ("apps/a.yaml", "servers: [s:1]\ncommands: [a]\n"),
        ("apps/b.yaml", "servers: [s:1]\ncommands: [b]\nbreaker: {}\ncheck: {every-ms: 1000}\n"),
    ]);
    let [plain, full] = &loaded.apps[..] else { panic!("two apps") };
    assert_eq!((plain.breaker, &plain.check, plain.slow_start_ms, plain.adaptive), (None, &None, 0, false));
    let rule =
        Rule { break_ms: 5_000, recover_ms: 20_000, window_ms: 30_000, min_stats: 50, health_rate: 0.9 };
    assert_eq!(full.breaker, Some(Breakers { rule, per_server: true, per_app: true }));
    let check =
        Check { path: "/".into(), every_ms: 1_000, timeout_ms: 1_000, healthy_after: 2, unhealthy_after: 3 };
    assert_eq!(full.check, Some(check));
}

/// S102.
#[test]
fn every_key() {
    let app = "\
servers: [s:1]
commands: [a]
breaker: {break-ms: 1, recover-ms: 2, window-s: 3, min-stats: 4, health-rate: 1, per: [app]}
slow-start-ms: 5
check: {path: /up, every-ms: 600, timeout-ms: 7, healthy-after: 8, unhealthy-after: 9}
eject: {after: 1}
adaptive: true
";
    let loaded = good(&[("apps/a.yaml", app)]);
    let app = &loaded.apps[0];
    let rule = Rule { break_ms: 1, recover_ms: 2, window_ms: 3_000, min_stats: 4, health_rate: 1.0 };
    assert_eq!(app.breaker, Some(Breakers { rule, per_server: false, per_app: true }));
    let check =
        Check { path: "/up".into(), every_ms: 600, timeout_ms: 7, healthy_after: 8, unhealthy_after: 9 };
    assert_eq!((app.check.as_ref(), app.slow_start_ms, app.adaptive), (Some(&check), 5, true));
}

/// S102, S171: 90 is no rate, as it was in bigpipe.
#[test]
fn health_rates() {
    for (rate, shown) in [("90", "90"), ("0", "0"), ("1.01", "1.01"), ("-0.5", "-0.5")] {
        let app = format!("servers: [s:1]\ncommands: [a]\nbreaker: {{health-rate: {rate}}}\n");
        let under = "^".repeat(rate.len());
        let expected = format!(
            "\
error: {shown} is out of range
 --> c/apps/a.yaml:3:24
  |
3 | breaker: {{health-rate: {rate}}}
  |                        {under}
  = help: over 0 and up to 1: 0.9 for nine of ten
"
        );
        expect(&[("apps/a.yaml", &app)], &expected);
    }
}

/// S171.
#[test]
fn what_does_not_go_together() {
    let app = "\
servers: [s:1]
commands: [a]
breaker: {per: []}
check: {every-ms: 100, timeout-ms: 200}
";
    expect(
        &[("apps/a.yaml", app)],
        "\
error: a breaker of nothing
 --> c/apps/a.yaml:3:11
  |
3 | breaker: {per: []}
  |           ^^^
  = help: `per: [server]`, `per: [app]` or `per: [server, app]`; no breaker: remove `breaker`
error: a check may take 200 ms, and the next one comes after 100 ms
 --> c/apps/a.yaml:4:36
  |
4 | check: {every-ms: 100, timeout-ms: 200}
  |                                    ^^^
  = help: make `timeout-ms` shorter, or `every-ms` longer
",
    );
    let app = "\
url-from-message: {allow: [a.example]}
commands: [a]
breaker: {}
eject: {after: 3}
check: {}
";
    expect(
        &[("apps/a.yaml", app)],
        "\
error: each message names its server: none is known before
 --> c/apps/a.yaml:5:1
  |
5 | check: {}
  | ^^^^^
  = help: remove `check`, or `url-from-message`
error: a breaker for each server stands in place of `eject`
 --> c/apps/a.yaml:4:1
  |
4 | eject: {after: 3}
  | ^^^^^
  = help: remove `eject`, or write `per: [app]` in `breaker`
",
    );
}
