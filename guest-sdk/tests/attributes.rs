//! The attributes, as an author's crate sees them: in any order, in any module, with every kind of result, and
//! the functions stay callable. What they export is seen by the host's tests, on compiled plugins.

use drover_guest::prelude::*;

mod judging {
    use drover_guest::prelude::*;

    #[judge]
    pub(super) fn answered(msg: &Judged, res: &Response) -> Result<Verdict, String> {
        match res.status {
            200 => Ok(done()),
            status => Err(format!("{} got {status}", msg.command)),
        }
    }
}

mod handling {
    use drover_guest::prelude::*;

    /// With a doc comment, and another attribute before and after.
    #[inline]
    #[handler]
    #[must_use]
    pub(super) fn handled(msg: Message) -> Verdict {
        skip(msg.topic)
    }
}

mod starting {
    #[drover_guest::init]
    pub(super) fn started() -> Result<(), std::num::ParseIntError> {
        "x".parse::<u32>().map(drop)
    }
}

/// Natively they do not clash; a component has a handler or a selector.
mod selecting {
    use drover_guest::prelude::*;

    #[derive(Default)]
    pub(super) struct First;

    #[selector]
    impl drover_guest::Select for First {
        fn update(&mut self, _app: App) -> Result<()> {
            Ok(())
        }

        fn select(&mut self, _pick: &Pick) -> Result<u32> {
            Ok(0)
        }
    }
}

#[test]
fn functions_stay_callable() {
    assert_eq!(handling::handled(Message::default()), skip("test"));
    let judged = Judged { command: "c".into(), log_id: String::new(), attempt: 1 };
    assert_eq!(judging::answered(&judged, &Response::default()), Ok(done()));
    assert!(judging::answered(&judged, &Response { status: 500, ..Response::default() }).is_err());
    assert!(starting::started().is_err());
    assert_eq!(selecting::First.select(&Pick::default()).unwrap(), 0);
}
