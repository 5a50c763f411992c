//! `reshape`: makes a new JSON body with a jq program, which is compiled once for each instance.

mod json;

use std::fmt::Debug;

use drover_guest::prelude::*;
use jaq_core::compile::Filter;
use jaq_core::data::JustLut;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Exn, Native, Vars};
use jaq_json::{Val, read};

/// What the operator sets.
pub struct Settings {
    program: Program,
    method: Method,
    path: Option<String>,
}

impl Settings {
    /// From the plugin's configuration.
    ///
    /// Errors: an unknown key or method, no program, or one that does not compile.
    pub fn read() -> Result<Self> {
        refuse_unknown(&["program", "method", "path"])?;
        let program = config_get("program").ok_or(Error::retry("`program` has to be set"))?;
        Ok(Self {
            program: Program::compile(&program)?,
            method: config_get("method").map_or(Ok(Method::Post), |name| Method::from_name(&name))?,
            path: config_get("path"),
        })
    }

    /// What becomes of a message: the program's one output is sent, none (`empty`) skips it.
    ///
    /// Errors: rejections with the codes `bad-json` (value or output is no JSON), `reshape` (the program failed),
    /// `many-outputs`.
    pub fn handle(&self, message: &Message) -> Result<Action> {
        match self.program.run(message.bytes())? {
            None => finish(skip("the program gave no output")),
            Some(body) => {
                let request = Request { path: self.path.clone(), ..Request::new(self.method) };
                deliver(request.header("content-type", "application/json").bytes(body))
            }
        }
    }
}

/// A compiled program.
pub struct Program {
    filter: Filter<Native<JustLut<Val>>>,
}

impl Program {
    /// Compiles a program.
    ///
    /// Errors: what does not parse, or is not defined.
    pub fn compile(text: &str) -> Result<Self> {
        let arena = Arena::default();
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let modules = Loader::new(defs)
            .load(&arena, File { code: text, path: () })
            .map_err(|errors| Error::retry(format!("the program does not parse: {}", first_of(&errors))))?;
        let filter = Compiler::default()
            .with_funs(funs)
            .compile(modules)
            .map_err(|errors| Error::retry(format!("the program does not compile: {}", first_of(&errors))))?;
        Ok(Self { filter })
    }

    /// Its one output for this input, as JSON; none where it has none.
    ///
    /// Errors: see [`Settings::handle`].
    pub fn run(&self, input: &[u8]) -> Result<Option<Vec<u8>>> {
        let input =
            read::parse_single(input).map_err(|error| Error::reject("bad-json", error.to_string()))?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut outputs = self.filter.id.run((context, input));
        let Some(output) = outputs.next() else { return Ok(None) };
        let output = output.map_err(failed)?;
        match outputs.next() {
            None => json::bytes_of(&output).map(Some),
            Some(Err(exception)) => Err(failed(exception)),
            Some(Ok(_)) => Err(Error::reject("many-outputs", "the program gave more than one output")),
        }
    }
}

/// Why a program gave no value.
fn failed(exception: Exn<Val>) -> Error {
    match exception.get_err() {
        Ok(error) => Error::reject("reshape", error.to_string()),
        Err(_) => Error::reject("reshape", "the program stopped itself"),
    }
}

/// What the first error is about; the errors have no text of their own.
fn first_of<E: Debug>(errors: &[(File<&str, ()>, E)]) -> String {
    errors.first().map(|(_, error)| format!("{error:?}")).unwrap_or_default()
}

thread_local! {
    static SETTINGS: PerInstance<Settings> = const { PerInstance::new() };
}

#[init]
fn start() -> Result<()> {
    SETTINGS.with(|slot| slot.get(Settings::read, |_| Ok(())))
}

#[handler]
fn reshape(message: Message) -> Result<Action> {
    SETTINGS.with(|slot| slot.get(Settings::read, |settings| settings.handle(&message)))
}

#[cfg(test)]
mod tests {
    use drover_guest::mock::MockHost;

    use super::*;

    fn message(value: &str) -> Message {
        Message { value: value.into(), ..Message::default() }
    }

    fn handled(program: &str, value: &str) -> Result<Action> {
        let _host = MockHost::new().config("program", program).config("path", "/in");
        start()?;
        reshape(message(value))
    }

    #[test]
    fn one_output_is_the_new_body() {
        let check = |program: &str, value: &str, expected: &str| {
            let action = handled(program, value).unwrap();
            let expected = post("/in").header("content-type", "application/json").bytes(expected);
            assert_eq!(action.request(), Some(&expected), "{program}");
        };
        check(".", " {\"b\": 1, \"a\": [ 1.50, null ]} ", "{\"b\":1,\"a\":[1.50,null]}");
        check(".id", "{\"id\":12345678901234567890123}", "12345678901234567890123");
        check(
            "{x: .a|ascii_downcase, y: [.b[]|select(. > 1)]|add}",
            "{\"a\":\"AB\",\"b\":[1,2,3]}",
            "{\"x\":\"ab\",\"y\":5}",
        );
        check("select(test(\"^a\"))|@base64", "\"ab\"", "\"YWI=\"");
        check("todate", "0", "\"1970-01-01T00:00:00Z\"");
        check("\"\u{e4}\\n\\(.)\"", "7", "\"\u{e4}\\n7\"");
    }

    #[test]
    fn no_output_skips_the_message() {
        let action = handled("select(.kind == \"order\")", "{\"kind\":\"test\"}").unwrap();
        assert!(matches!(action.verdict(), Some(Verdict::Skip(_))));
    }

    // S6: whatever goes wrong is a rejection that says why.
    #[test]
    fn what_fails_is_rejected() {
        let check = |program: &str, value: &str, code: &str, why: &str| {
            let error = handled(program, value).unwrap_err();
            assert_eq!(error.code(), Some(code), "{program}: {error:?}");
            assert!(error.reason().contains(why), "{program}: {error:?}");
        };
        check(".", "{\"a\":", "bad-json", "byte offset");
        check(".", "", "bad-json", "byte offset");
        check(".a", "[1]", "reshape", "a");
        check("error(\"no such tenant\")", "1", "reshape", "no such tenant");
        check(".[]", "[1,2]", "many-outputs", "more than one");
        check("1, error(\"late\")", "1", "reshape", "late");
        check("halt", "1", "reshape", "stopped itself");
        check("nan", "1", "bad-json", "a number");
        check("[infinite]", "1", "bad-json", "a number");
        check("{a: tobytes}", "\"a\"", "bad-json", "bytes");
    }

    #[test]
    fn a_wrong_program_refuses_the_version() {
        for (program, why) in
            [("1 +", "does not parse"), (".a | nosuch", "nosuch"), ("$x", "$x"), ("import \"a\" as a; .", "")]
        {
            let error = handled(program, "1").unwrap_err();
            assert!(error.code().is_none() && error.reason().contains(why), "{program}: {error:?}");
        }
        let _host = MockHost::new();
        assert!(start().is_err());
    }
}
