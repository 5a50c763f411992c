//! `drover check`: loads the configuration as `run` would, compiles and starts its plugins, and does nothing else.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::{self, Config, Disk, Files, Loaded};
use crate::control;
use crate::domain::plugin;
use crate::plugin::Engine;
use crate::upstream::Tls;
use crate::yaml::{Problem, Severity};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  drover check --config config/drover.yaml
  drover check --print schema > config/schema.json

Exit code 0 when it is good (there may be warnings), 1 when it is refused.")]
pub struct Check {
    /// The main file; apps are found from there.
    #[arg(long, short, value_name = "PATH", default_value = "config/drover.yaml")]
    config: PathBuf,
    /// A plugin that was uploaded, and that routes may therefore name. May be repeated.
    #[arg(long = "plugin", value_name = "NAME")]
    plugins: Vec<String>,
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
    /// Check nothing; print what describes the keys.
    #[arg(long, value_name = "WHAT")]
    print: Option<Print>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Print {
    /// JSON Schema of drover.yaml.
    Schema,
    /// JSON Schema of a file in apps/.
    AppSchema,
    /// Every key, as Markdown.
    Keys,
}

impl Check {
    pub fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        if let Some(print) = self.print {
            let text = match print {
                Print::Schema => config::main_schema(),
                Print::AppSchema => config::app_schema(),
                Print::Keys => config::keys_page(),
            };
            out.write_all(text.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(if self.check(&Disk, out)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Whether it is good.
    fn check(&self, files: &dyn Files, out: &mut dyn Write) -> anyhow::Result<bool> {
        let mut known = plugin::standard();
        let uploaded =
            self.plugins.iter().map(|it| plugin::KnownPlugin { name: it.as_str().into(), kind: None });
        known.extend(uploaded);
        let (good, problems) = match config::load_from(files, &self.config, &known) {
            Ok(mut loaded) => {
                let (warnings, summary) = (std::mem::take(&mut loaded.warnings), summary(&loaded));
                let mut refused = self.of_start(&loaded.config);
                refused.extend(self.of_plugins(loaded)?);
                (Some((summary, refused)), warnings)
            }
            Err(problems) => (None, problems),
        };
        for problem in &problems {
            writeln!(out, "{problem}")?;
        }
        let of_plugins = good.as_ref().map(|it| it.1.as_slice()).unwrap_or_default();
        for problem in of_plugins {
            writeln!(out, "error: {problem}")?;
        }
        let counted = counted(&problems, of_plugins.len());
        let path = self.config.display();
        match &good {
            Some((summary, refused)) if refused.is_empty() && (problems.is_empty() || !self.strict) => {
                let warned = if problems.is_empty() { String::new() } else { format!("; {counted}") };
                writeln!(out, "{path}: good, {summary}{warned}")?;
                Ok(true)
            }
            Some(_) | None => {
                writeln!(out, "{path}: refused, {counted}")?;
                Ok(false)
            }
        }
    }

    /// What a host would find only when it starts: that librdkafka refuses a property, and rustls the roots.
    fn of_start(&self, config: &Config) -> Vec<String> {
        let properties = config.client().check().err().map(|it| format!("`kafka.properties`: {it}"));
        let base = self.config.parent().unwrap_or(Path::new(""));
        let roots = config.services.roots.as_ref().map(|it| base.join(it));
        let roots = Tls::new(roots.as_deref()).err().map(|it| format!("`services.roots`: {it}"));
        properties.into_iter().chain(roots).collect()
    }

    /// What the plugins say of themselves and of their settings when they are started.
    fn of_plugins(&self, loaded: Loaded) -> anyhow::Result<Vec<String>> {
        let desired = match loaded.desired() {
            Ok(desired) => desired,
            Err(problems) => return Ok(problems),
        };
        let engine = Engine::new().map_err(|it| anyhow::anyhow!("the plugin engine: {it:#}"))?;
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            writeln!(terminal, "starting the plugins …")?;
        }
        Ok(control::try_out(&engine, &desired, &self.plugins))
    }
}

fn summary(Loaded { config, apps, routes, .. }: &Loaded) -> String {
    let parts = [(config.groups.len(), "group"), (apps.len(), "app"), (routes.entries().len(), "route")];
    parts.map(|(count, what)| number(count, what)).join(", ")
}

fn counted(problems: &[Problem], of_plugins: usize) -> String {
    let errors = problems.iter().filter(|it| it.severity == Severity::Error).count();
    let parts = [(errors + of_plugins, "error"), (problems.len() - errors, "warning")];
    let parts = parts.iter().filter(|it| it.0 > 0).map(|(count, what)| number(*count, what));
    parts.collect::<Vec<_>>().join(", ")
}

fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Memory;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        check: Check,
    }

    fn check(line: &str, app: &str) -> (bool, String) {
        check_with(line, "", app)
    }

    fn check_with(line: &str, main: &str, app: &str) -> (bool, String) {
        let files = Memory::default()
            .with("c/drover.yaml", format!("groups: [{{name: g, topics: [orders]}}]\n{main}"))
            .with("c/apps/a.yaml", app);
        let check = Line::parse_from(line.split(' ')).check;
        let mut out = Vec::new();
        let good = check.check(&files, &mut out).unwrap();
        (good, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_only_a_start_would_find() {
        let main = "services: {roots: none.pem}\nkafka: {properties: {sasl.passwrd: fern-3}}\n";
        let app = "servers: ['s:1']\ncommands: [a]\n";
        let (good, said) = check_with("check --config c/drover.yaml", main, app);
        assert!(!good);
        for part in ["error: `kafka.properties`: ", "`sasl.passwrd`", "error: `services.roots`: c/none.pem: "]
        {
            assert!(said.contains(part), "{said}");
        }
        assert!(said.ends_with("\nc/drover.yaml: refused, 2 errors\n") && !said.contains("fern-3"), "{said}");
    }

    #[test]
    fn what_it_says() {
        let line = "check --config c/drover.yaml";
        let (good, said) = check(line, "servers: ['s:1']\ncommands: [a, b]\n");
        assert!(good);
        assert_eq!(said, "c/drover.yaml: good, 1 group, 1 app, 2 routes\n");

        let (good, said) = check(line, "servers: ['s:1']\ncommands: [a, a]\nhandler: mine\n");
        assert!(!good);
        assert!(said.ends_with("\nc/drover.yaml: refused, 2 errors\n"), "{said}");

        let overlapping = "servers: ['s:1']\ncommands: [{regex: a.*}, {regex: .*b}]\n";
        let (good, said) = check(line, overlapping);
        assert!(good);
        assert!(said.ends_with("\nc/drover.yaml: good, 1 group, 1 app, 2 routes; 1 warning\n"), "{said}");
        assert!(!check(&format!("{line} --strict"), overlapping).0);

        let setting = "plugins: [{name: mine, use: forward, config: {methd: PUT}}]\n";
        let (good, said) = check_with(line, setting, "servers: ['s:1']\ncommands: [a]\nhandler: mine\n");
        assert!(!good);
        assert!(said.starts_with("error: plugin mine: ") && said.contains("methd"), "{said}");
        assert!(said.ends_with("\nc/drover.yaml: refused, 1 error\n"), "{said}");

        let uploaded = "servers: ['s:1']\ncommands: [a]\nhandler: mine\n";
        assert!(check(&format!("{line} --plugin mine"), uploaded).0);
    }
}
