//! A clock whose hands can be moved, for tests that pass hours in a moment. Left alone it goes with tokio's time, real or
//! paused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, Sleep, SystemClock};

/// The clock.
pub struct HandClock {
    begun: Instant,
    hands: watch::Sender<Hands>,
}

#[derive(Clone, Copy)]
struct Hands {
    /// How far its time is ahead of tokio's.
    ahead: Duration,
    /// What the calendar said when the clock began, or would have said as it was set later: milliseconds since the Unix
    /// epoch.
    epoch_ms: u64,
}

impl HandClock {
    /// Begins with the machine's time of the calendar.
    pub fn begin() -> Arc<Self> {
        Self::begin_at(SystemClock.now_ms())
    }

    /// Begins with a time of the calendar, in milliseconds since the Unix epoch.
    pub fn begin_at(epoch_ms: u64) -> Arc<Self> {
        let hands = watch::Sender::new(Hands { ahead: Duration::ZERO, epoch_ms });
        Arc::new(Self { begun: Instant::now(), hands })
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.hands.send_modify(|hands| hands.ahead += time);
    }

    /// Sets the calendar back, which lets no time pass.
    pub fn set_back(&self, time: Duration) {
        self.hands.send_modify(|hands| hands.epoch_ms = hands.epoch_ms.saturating_sub(milliseconds(time)));
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> u64 {
        let passed = milliseconds(self.now() - self.begun);
        self.hands.borrow().epoch_ms.saturating_add(passed)
    }

    fn now(&self) -> Instant {
        Instant::now() + self.hands.borrow().ahead
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let mut hands = self.hands.subscribe();
        Box::pin(async move {
            loop {
                let ahead = hands.borrow_and_update().ahead;
                let Some(at) = at.checked_sub(ahead) else { return };
                tokio::select! {
                    () = tokio::time::sleep_until(at) => return,
                    // Of a clock that is gone nobody moves the hands any more.
                    Ok(()) = hands.changed() => {}
                }
            }
        })
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_immediate;

    use super::*;
    use crate::clock::Alarm;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn waits_end_when_the_time_has_passed_however_it_did() {
        let clock = HandClock::begin_at(0);
        let mut sleep = clock.sleep(2 * HOUR);
        assert_eq!(poll_immediate(&mut sleep).await, None);
        clock.advance(HOUR);
        assert_eq!(poll_immediate(&mut sleep).await, None);
        tokio::time::advance(HOUR).await;
        assert_eq!(poll_immediate(&mut sleep).await, Some(()));
        assert_eq!(clock.now_ms(), 2 * milliseconds(HOUR));
    }

    #[tokio::test(start_paused = true)]
    async fn a_calendar_that_is_set_back_disturbs_no_wait() {
        let clock = HandClock::begin_at(milliseconds(10 * HOUR));
        let mut sleep = clock.sleep(HOUR);
        assert_eq!(poll_immediate(&mut sleep).await, None);
        clock.set_back(5 * HOUR);
        assert_eq!(clock.now_ms(), milliseconds(5 * HOUR));
        clock.advance(HOUR);
        assert_eq!(poll_immediate(&mut sleep).await, Some(()));
        assert_eq!(clock.now_ms(), milliseconds(6 * HOUR));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_rings_at_the_time_that_was_asked_for_last() {
        let clock = HandClock::begin();
        let mut alarm = Alarm::new(Arc::clone(&clock) as _);
        let begin = clock.now();
        assert_eq!(poll_immediate(Box::pin(alarm.wait::<()>(None))).await, None);
        assert_eq!(poll_immediate(Box::pin(alarm.wait(Some((begin + HOUR, ()))))).await, None);
        clock.advance(HOUR);
        // Put off before it rang.
        assert_eq!(poll_immediate(Box::pin(alarm.wait(Some((begin + 2 * HOUR, ()))))).await, None);
        assert_eq!(poll_immediate(Box::pin(alarm.wait(Some((begin + HOUR, ()))))).await, Some(()));
        alarm.wait(Some((begin + 3 * HOUR, ()))).await;
        assert_eq!(clock.now() - begin, 3 * HOUR);
    }
}
