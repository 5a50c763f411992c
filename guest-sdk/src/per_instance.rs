//! What an instance makes once and keeps: settings, compiled programs.

use std::cell::RefCell;

use crate::Result;

/// A value that is made at its first use.
///
/// ```
/// use drover_guest::prelude::*;
///
/// thread_local! {
///     static TENANT: PerInstance<String> = const { PerInstance::new() };
/// }
///
/// #[handler]
/// fn tenant(_msg: Message) -> Result<Action> {
///     let read = || config_get("tenant").ok_or(Error::retry("`tenant` is not set"));
///     TENANT.with(|slot| slot.get(read, |tenant| deliver(post("/v1").header("x-tenant", tenant))))
/// }
/// ```
pub struct PerInstance<T> {
    /// The value, and in native tests the mock host it belongs to.
    slot: RefCell<Option<(u64, T)>>,
}

impl<T> PerInstance<T> {
    /// Not made yet.
    pub const fn new() -> Self {
        Self { slot: RefCell::new(None) }
    }

    /// Makes the value if need be, and uses it.
    ///
    /// Errors: of `make`, which is then tried again next time, and of `use_it`.
    pub fn get<R>(
        &self,
        make: impl FnOnce() -> Result<T>,
        use_it: impl FnOnce(&T) -> Result<R>,
    ) -> Result<R> {
        let now = generation();
        let slot = self.slot.borrow();
        if let Some((_, value)) = slot.as_ref().filter(|(made, _)| *made == now) {
            return use_it(value);
        }
        drop(slot);
        let made = make()?;
        *self.slot.borrow_mut() = Some((now, made));
        match self.slot.borrow().as_ref() {
            Some((_, value)) => use_it(value),
            None => unreachable!("it was just made"),
        }
    }
}

impl<T> Default for PerInstance<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// A component's instance has its settings for life; a test's thread sees several mock hosts.
fn generation() -> u64 {
    #[cfg(target_family = "wasm")]
    return 0;
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.generation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::MockHost;
    use crate::prelude::config_get;

    #[test]
    fn it_is_made_once_for_each_host() {
        thread_local! {
            static SLOT: PerInstance<Option<String>> = const { PerInstance::new() };
        }
        let read = || SLOT.with(|slot| slot.get(|| Ok(config_get("a")), |value| Ok(value.clone()))).unwrap();
        for value in ["1", "2"] {
            let _host = MockHost::new().config("a", value);
            assert_eq!(read().as_deref(), Some(value));
            assert_eq!(read().as_deref(), Some(value));
        }
    }
}
