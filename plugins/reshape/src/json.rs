//! A program's output as JSON. jq's values know more than JSON does: those are refused, not sent.

use drover_guest::{Error, Result};
use jaq_json::{Num, Val};

/// The value's JSON, without spaces. Numbers keep their digits, however many.
///
/// Errors: a rejection with the code `bad-json` for NaN, infinity, bytes, and names that are no text.
pub fn bytes_of(output: &Val) -> Result<Vec<u8>> {
    match what_is_no_json(output) {
        Some(what) => {
            Err(Error::reject("bad-json", format!("the program gave {what}, which JSON does not have")))
        }
        None => Ok(output.to_string().into_bytes()),
    }
}

fn what_is_no_json(value: &Val) -> Option<&'static str> {
    match value {
        Val::Null | Val::Bool(_) | Val::TStr(_) | Val::Num(Num::Int(_) | Num::BigInt(_)) => None,
        Val::Num(Num::Float(number)) => (!number.is_finite()).then_some("a number without a value"),
        Val::Num(Num::Dec(digits)) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            (!is_number).then_some("a number without a value")
        }
        Val::BStr(_) => Some("bytes"),
        Val::Arr(items) => items.iter().find_map(what_is_no_json),
        Val::Obj(members) => members.iter().find_map(|(name, value)| match name {
            Val::TStr(_) => what_is_no_json(value),
            _ => Some("a name that is no text"),
        }),
    }
}
