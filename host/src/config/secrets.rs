//! Secrets from files and the environment, and paths from where they are written to where they lead.

use std::path::{Path, PathBuf};

use super::types::SecretText;
use super::{Config, Files};
use crate::domain::secret::Secret;
use crate::yaml::{Cursor, Problem};

const SECRET_BYTES_MAX: usize = 64 << 10;

/// Fills in every secret of the configuration, and tells which files they came from.
pub(super) fn resolve(
    config: &mut Config,
    files: &dyn Files,
    base: &Path,
    at: Cursor<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<PathBuf> {
    let mut read_files = Vec::new();
    let mut one = |secret: &mut SecretText, at: Cursor<'_>| {
        read_files.extend(secret.file.as_ref().map(|it| base.join(it)));
        if let Err(problem) = read(secret, files, base, at) {
            problems.push(problem);
        }
    };
    for (name, property) in &mut config.kafka.properties {
        one(&mut property.0.0, at.key("kafka").key("properties").key(name));
    }
    for (index, credential) in config.gateway.credentials.iter_mut().enumerate() {
        if let Some(secret) = &mut credential.secret {
            one(&mut secret.0, at.key("gateway").key("credentials").item(index).key("secret"));
        }
    }
    let acl = config.gateway.bigpipe.iter_mut().flat_map(|it| &mut it.acl).enumerate();
    for (index, entry) in acl {
        if let Some(secret) = &mut entry.secret {
            let at = at.key("gateway").key("bigpipe").key("acl").item(index);
            one(&mut secret.0, at.key("secret"));
        }
    }
    if let Some(token) = &mut config.admin.token {
        one(&mut token.0, at.key("admin").key("token"));
    }
    read_files
}

fn read(secret: &mut SecretText, files: &dyn Files, base: &Path, at: Cursor<'_>) -> Result<(), Problem> {
    let wrong = |message: String, help: &str| Err(Problem::error(at.place(), message).help(help));
    let text = match (&secret.env, &secret.file) {
        (None, None) if !at.is_keys() => return Ok(()),
        (None, None) => {
            return wrong("nothing says where the secret is".to_owned(), "add `env: NAME` or `file: PATH`");
        }
        (Some(_), Some(_)) => return wrong("both `env` and `file`".to_owned(), "one of them"),
        (Some(name), None) => match files.variable(name) {
            Some(text) => text,
            None => {
                return wrong(format!("the environment has no `{name}`"), "set it before the host starts");
            }
        },
        (None, Some(path)) => {
            let path = base.join(path);
            let bytes = files.read(&path, SECRET_BYTES_MAX);
            let text = bytes.map_err(|it| it.to_string()).and_then(|bytes| {
                let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
                if text.len() > SECRET_BYTES_MAX { Err("it is too long".to_owned()) } else { Ok(text) }
            });
            match text {
                Ok(text) => text.trim_end().to_owned(),
                Err(error) => {
                    return wrong(format!("cannot read {}: {error}", path.display()), "is the path right?");
                }
            }
        }
    };
    if text.is_empty() {
        return wrong("the secret is empty".to_owned(), "fill it, or leave the key out for none");
    }
    secret.value = Secret::new(text);
    Ok(())
}
