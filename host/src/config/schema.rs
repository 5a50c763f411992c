//! What editors and people read of the keys: two JSON Schemas and a page, made from the types that
//! read the files.

use std::fmt::Write;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{AppFile, Config};

/// Of `drover.yaml`.
pub fn main_schema() -> String {
    text::<Config>("drover.yaml")
}

/// Of a file in `apps/`.
pub fn app_schema() -> String {
    text::<AppFile>("an app of drover")
}

fn text<T: JsonSchema>(title: &str) -> String {
    let mut schema = value::<T>();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".to_owned(), title.into());
    }
    format!("{schema:#}\n")
}

fn value<T: JsonSchema>() -> Value {
    // Editors know draft 7 best.
    SchemaGenerator::new(SchemaSettings::draft07()).into_root_schema_for::<T>().to_value()
}

/// Every key with its type, default and meaning, as Markdown.
pub fn keys_page() -> String {
    let (main, app) = (value::<Config>(), value::<AppFile>());
    let mut page = String::from("### `drover.yaml`\n\n");
    table(&mut page, rows(&main, &[]));
    page.push_str("\n### `apps/*.yaml`\n\n");
    // What an app and its commands have in common is told once.
    table(&mut page, rows(&app, &["commands[]."]));
    let _ = writeln!(
        page,
        "\nA command may also have these keys of its app; they count before those: {}.",
        in_common(&app)
    );
    page
}

fn in_common(app: &Value) -> String {
    let command = app.pointer("/definitions/Command").and_then(properties);
    let of_app = properties(app);
    let keys = command.into_iter().flatten().map(|it| it.0);
    let keys = keys.filter(|it| of_app.is_some_and(|of_app| of_app.contains_key(*it)));
    keys.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
}

struct Row {
    key: String,
    kind: String,
    default: String,
    meaning: String,
}

fn table(page: &mut String, rows: Vec<Row>) {
    page.push_str("|key|value|default|meaning|\n|-|-|-|-|\n");
    for Row { key, kind, default, meaning } in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "|`{key}`|{kind}|{default}|{meaning}|");
    }
}

/// A row for each key, in the order of the types; below a prefix of `once` those keys are left out that
/// the root has as well.
fn rows(root: &Value, once: &[&str]) -> Vec<Row> {
    let mut rows = Vec::new();
    walk(root, root, "", &mut rows);
    let at_root: Vec<String> = properties(root).map(|it| it.keys().cloned().collect()).unwrap_or_default();
    rows.retain(|row| {
        let below = once.iter().find_map(|it| row.key.strip_prefix(it));
        let first = below.map(|it| it.split('.').next().unwrap_or(it).to_owned());
        first.is_none_or(|it| !at_root.contains(&it))
    });
    rows
}

fn walk(root: &Value, schema: &Value, prefix: &str, rows: &mut Vec<Row>) {
    let Some(properties) = properties(schema) else { return };
    for (name, property) in properties {
        let target = resolve(root, property);
        let key = format!("{prefix}{name}");
        let (inner, inner_prefix) = match target.get("items") {
            Some(items) => (long_form(root, resolve(root, items)), format!("{key}[].")),
            None => (long_form(root, target), format!("{key}.")),
        };
        let has_keys = self::properties(inner).is_some() && !is_choice(target);
        let meaning = meaning(root, property, target);
        let default = match (property.get("default"), has_keys) {
            (None | Some(Value::Null), _) | (Some(Value::Object(_)), true) => String::new(),
            (Some(Value::String(it)), _) if it.is_empty() => String::new(),
            (Some(Value::String(it)), _) => format!("`{it}`"),
            (Some(it), _) => format!("`{it}`"),
        };
        rows.push(Row { key, kind: kind(root, target), default, meaning });
        if has_keys {
            walk(root, inner, &inner_prefix, rows);
        }
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Behind references and behind "or null".
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let pointer = name.trim_start_matches('#');
        return root.pointer(pointer).map_or(schema, |it| resolve(root, it));
    }
    for of in ["anyOf", "allOf"] {
        if let Some(choices) = schema.get(of).and_then(Value::as_array) {
            let mut real = choices.iter().filter(|it| it.get("type").and_then(Value::as_str) != Some("null"));
            if let (Some(one), None) = (real.next(), real.next()) {
                return resolve(root, one);
            }
        }
    }
    schema
}

/// Of a short and a long form: the long one.
fn long_form<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let mut choices = choices.into_iter().flatten().map(|it| resolve(root, it));
    choices.find(|it| properties(it).is_some()).unwrap_or(schema)
}

/// A value whose long form is explained in its meaning.
fn is_choice(schema: &Value) -> bool {
    schema.get("anyOf").is_some()
}

fn meaning(root: &Value, property: &Value, target: &Value) -> String {
    let described = |it: &Value| it.get("description").and_then(Value::as_str).map(str::to_owned);
    let mut meaning = described(property).or_else(|| described(target)).unwrap_or_default();
    let variants = target.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    for variant in variants.map(|it| resolve(root, it)) {
        if let (Some(word), Some(text)) = (variant.get("const").and_then(Value::as_str), described(variant)) {
            let _ = write!(meaning, "<br>`{word}`: {text}");
        }
    }
    meaning.replace('\n', " ").replace('|', "\\|")
}

/// What may stand there, in few words.
fn kind(root: &Value, schema: &Value) -> String {
    let words = |list: &Value| -> String {
        let words = list.as_array().into_iter().flatten().filter(|it| !it.is_null());
        let word = |it: &Value| format!("`{}`", it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let mut words: Vec<String> = words.map(word).collect();
        words.dedup();
        words.join(", ")
    };
    if let Some(list) = schema.get("enum") {
        return words(list);
    }
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let constants = variants.iter().filter_map(|it| it.get("const").cloned()).collect();
        return words(&Value::Array(constants));
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let mut kinds: Vec<String> = choices.iter().map(|it| kind(root, resolve(root, it))).collect();
        kinds.retain(|it| it != "nothing");
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(constant) = schema.get("const") {
        return format!("`{constant}`");
    }
    let bound = |name| schema.get(name).map(|it| it.to_string().trim_end_matches(".0").to_owned());
    let kinds = schema.get("type");
    let real = kinds.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let kind = kinds.and_then(Value::as_str).or_else(|| real.into_iter().find(|it| *it != "null"));
    match (kind.unwrap_or("any"), bound("minimum"), bound("maximum")) {
        ("integer", Some(from), Some(to)) if to == u32::MAX.to_string() => format!("{from} and up"),
        ("integer", Some(from), Some(to)) => format!("{from} to {to}"),
        ("integer", Some(from), None) => format!("{from} and up"),
        ("number", Some(from), Some(to)) => format!("{from} to {to}, also between"),
        ("array", ..) => match schema.get("items") {
            Some(items) => format!("list of {}", kind_of_item(root, items)),
            None => "list".to_owned(),
        },
        ("object", ..) => "keys".to_owned(),
        ("boolean", ..) => "`true`, `false`".to_owned(),
        ("string", ..) => "text".to_owned(),
        ("null", ..) => "nothing".to_owned(),
        (other, ..) => other.to_owned(),
    }
}

fn kind_of_item(root: &Value, items: &Value) -> String {
    kind(root, resolve(root, items))
}
