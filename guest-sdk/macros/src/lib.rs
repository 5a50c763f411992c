//! The attributes of `drover-guest`. Each leaves its item as it is and adds the component's export after it.
//!
//! The items are read token by token, without a parser: all that is needed is a name, and every plugin build
//! is spared the compilation of one.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Makes a function the plugin's handler: `fn(Message) -> Result<Action>`.
///
/// It may also return an `Action`, a `Verdict`, or a `Result` of one of them with any error that can be shown:
/// such an error is a retry, never a success.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export(&arguments, item, "handler", function_name)
}

/// Makes a function the plugin's judge: `fn(&Judged, &Response) -> Verdict`, or a `Result` of it.
///
/// Beside a handler, in any module of the crate.
#[proc_macro_attribute]
pub fn judge(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export(&arguments, item, "judge", function_name)
}

/// Makes a function the start of each instance: `fn() -> Result<()>`, called before the first message.
///
/// Its error refuses the version at upload, so it is the place to look at the settings.
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export(&arguments, item, "init", function_name)
}

/// Makes a type the plugin's selector. Stands on `impl Select for Type` or on the type itself, which has to be
/// `Default`.
#[proc_macro_attribute]
pub fn selector(arguments: TokenStream, item: TokenStream) -> TokenStream {
    export(&arguments, item, "selector", type_name)
}

/// The item as it was, then `drover_guest`'s export of what it names.
fn export(
    arguments: &TokenStream,
    item: TokenStream,
    kind: &str,
    name_of: fn(&TokenStream) -> Option<String>,
) -> TokenStream {
    let added = if !arguments.is_empty() {
        format!("::core::compile_error!(\"#[{kind}] takes no arguments\");")
    } else {
        match name_of(&item) {
            Some(name) => format!("::drover_guest::__export_{kind}! {{ {name} }}"),
            None if kind == "selector" => {
                "::core::compile_error!(\"#[selector] stands on `impl Select for Type` or on the type\");"
                    .to_string()
            }
            None => format!("::core::compile_error!(\"#[{kind}] stands on a function\");"),
        }
    };
    let mut tokens = item;
    // The text is ours but for the name, which came from valid tokens: it always parses.
    tokens.extend(added.parse::<TokenStream>().unwrap_or_default());
    tokens
}

/// The identifier after `fn`.
fn function_name(item: &TokenStream) -> Option<String> {
    identifier_after(item, &["fn"])
}

/// The type after `for` in an impl, else the identifier after `struct` or `enum`.
fn type_name(item: &TokenStream) -> Option<String> {
    let mut tokens = item.clone().into_iter().skip_while(|token| !is_word(token, &["impl"]));
    if tokens.next().is_none() {
        return identifier_after(item, &["struct", "enum"]);
    }
    let name: TokenStream = tokens
        .skip_while(|token| !is_word(token, &["for"]))
        .skip(1)
        .take_while(|token| !is_body(token))
        .collect();
    (!name.is_empty()).then(|| name.to_string())
}

fn identifier_after(item: &TokenStream, words: &[&str]) -> Option<String> {
    let mut tokens = item.clone().into_iter().skip_while(|token| !is_word(token, words)).skip(1);
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Some(name.to_string()),
        _ => None,
    }
}

fn is_word(token: &TokenTree, words: &[&str]) -> bool {
    matches!(token, TokenTree::Ident(word) if words.contains(&word.to_string().as_str()))
}

fn is_body(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}
