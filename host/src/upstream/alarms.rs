//! Deadlines of requests. Setting and taking back a timer for each request costs more than its deadline is worth,
//! as nearly none is reached: so an alarm stays set when its request ends, and the next one to use it moves it
//! only when it rings too late, or has rung for somebody who is gone.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Alarms that are not in use. One for each request under way at most.
#[derive(Default)]
pub struct Alarms(RefCell<Vec<Pin<Box<Sleep>>>>);

impl Alarms {
    /// What `work` ends with; none when the deadline came first.
    pub async fn within<F: Future>(&self, deadline: Instant, mut work: Pin<&mut F>) -> Option<F::Output> {
        let mut alarm = None;
        let ended = poll_fn(|cx| {
            // Many are through before they have to wait.
            if let Poll::Ready(it) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(it));
            }
            let alarm = alarm.get_or_insert_with(|| self.take(deadline));
            loop {
                ready!(alarm.as_mut().poll(cx));
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(deadline);
            }
        })
        .await;
        if let Some(alarm) = alarm {
            self.0.borrow_mut().push(alarm);
        }
        ended
    }

    fn take(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        match self.0.borrow_mut().pop() {
            Some(mut alarm) => {
                if alarm.deadline() > deadline {
                    alarm.as_mut().reset(deadline);
                }
                alarm
            }
            None => Box::pin(sleep_until(deadline)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn each_has_its_own_deadline_though_they_share_an_alarm() {
        let alarms = Alarms::default();
        let within = async |limit: Duration, work: bool| {
            let work = pin!(async {
                // Once not ready, so that the alarm is set.
                tokio::task::yield_now().await;
                if !work {
                    pending().await
                }
            });
            alarms.within(Instant::now() + limit, work).await.is_some()
        };
        let (soon, late) = (Duration::from_millis(5), Duration::from_secs(600));
        // Set late, then sooner, then after it has rung, then late while it is set soon.
        for (limit, ends) in [(late, true), (soon, false), (late, true), (soon, false), (late, true)] {
            assert_eq!(within(limit, ends).await, ends);
            assert_eq!(alarms.0.borrow().len(), 1);
        }
    }
}
