//! What an app's file says of how its servers do: breakers, slow start, checks.

use super::app_file::{AppFile, Breaker, Check, Per};
use super::build::Builder;
use super::types::Millis;
use crate::domain::app;
use crate::domain::breaker::Rule;
use crate::yaml::Cursor;

#[derive(Default)]
pub(super) struct Health {
    pub(super) breaker: Option<app::Breakers>,
    pub(super) check: Option<app::Check>,
}

impl Builder<'_, '_> {
    pub(super) fn health(&mut self, file: &AppFile, at: Cursor<'_>) -> Health {
        if file.url_from_message.is_some() {
            for key in ["check", "slow-start-ms"].into_iter().filter(|it| at.has(it)) {
                let message = "each message names its server: none is known before";
                self.error(
                    at.key(key).key_place(),
                    message,
                    format!("remove `{key}`, or `url-from-message`"),
                );
            }
        }
        let breaker = file.breaker.as_ref().map(|it| self.breakers(it, at.key("breaker")));
        if breaker.is_some_and(|it| it.per_server) && at.has("eject") {
            let message = "a breaker for each server stands in place of `eject`";
            let help = "remove `eject`, or write `per: [app]` in `breaker`";
            self.error(at.key("eject").key_place(), message, help);
        }
        Health { breaker, check: file.check.as_ref().map(|it| self.check(it, at.key("check"))) }
    }

    fn breakers(&mut self, it: &Breaker, at: Cursor<'_>) -> app::Breakers {
        let per = it.per.as_deref().unwrap_or(&[Per::Server, Per::App]);
        if per.is_empty() {
            let help = "`per: [server]`, `per: [app]` or `per: [server, app]`; no breaker: remove `breaker`";
            self.error(at.key("per").place(), "a breaker of nothing", help);
        }
        let rule = Rule {
            break_ms: it.break_ms.map_or(5_000, Millis::get),
            recover_ms: it.recover_ms.map_or(20_000, Millis::get),
            window_ms: it.window_s.map_or(30, |it| it.get()) * 1_000,
            min_stats: it.min_stats.map_or(50, |it| it.get()),
            health_rate: it.health_rate.map_or(0.9, |it| it.0),
        };
        app::Breakers { rule, per_server: per.contains(&Per::Server), per_app: per.contains(&Per::App) }
    }

    fn check(&mut self, it: &Check, at: Cursor<'_>) -> app::Check {
        let every_ms = it.every_ms.map_or(5_000, |it| it.get());
        let timeout_ms = it.timeout_ms.map_or(every_ms.min(2_000), Millis::get);
        if timeout_ms > every_ms {
            let message =
                format!("a check may take {timeout_ms} ms, and the next one comes after {every_ms} ms");
            self.error(
                at.key("timeout-ms").place(),
                message,
                "make `timeout-ms` shorter, or `every-ms` longer",
            );
        }
        app::Check {
            path: it.path.as_ref().map_or("/", |it| it.as_str()).to_owned(),
            every_ms,
            timeout_ms,
            healthy_after: it.healthy_after.map_or(2, |it| it.get()) as u32,
            unhealthy_after: it.unhealthy_after.map_or(3, |it| it.get()) as u32,
        }
    }
}
